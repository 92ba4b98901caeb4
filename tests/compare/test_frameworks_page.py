"""What `docs/frameworks.md` says of the programs is what their files say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfapp.compare.frameworks.history import ENDED, UNMEASURED
from tfapp.compare.frameworks.roster import PROGRAMS, Step
from tfapp.compare.frameworks.study import count_program

PAGE = (Path(__file__).parents[2] / "docs" / "frameworks.md").read_text(encoding="utf-8")
LINES = [count_program(program) for program in PROGRAMS.values()]


def row(title, cells):
    return "| " + " | ".join([title, *map(str, cells)]) + " |\n"


def told(step: Step) -> str:
    if step.doer == "user":
        return "written"
    return f"`{step.how}`" if step.doer == "call" else f"inside `{step.how}`"


@pytest.mark.parametrize("step", PROGRAMS["by_hand"].steps)
def test_who_does_a_step(step):
    assert row(step, [told(program.steps[step]) for program in PROGRAMS.values()]) in PAGE


@pytest.mark.parametrize("step", PROGRAMS["by_hand"].steps)
def test_lines_of_a_step(step):
    assert row(step, [count.steps[step] for count in LINES]) in PAGE


def test_lines_of_a_program():
    rest = "the rest: batches, putting parts together"
    assert row(rest, [count.rest for count in LINES]) in PAGE
    assert row("**together**", [f"**{count.own}**" for count in LINES]) in PAGE
    weights = "besides: handing weights in and out"
    assert row(weights, [count.exchange for count in LINES]) in PAGE
    assert row("besides: imports", [count.imports for count in LINES]) in PAGE


@pytest.mark.parametrize("ended", ENDED, ids=lambda ended: ended.name)
def test_what_ended(ended):
    assert row(ended.name, [ended.year, f"[{ended.fact}]({ended.source})"]) in PAGE


@pytest.mark.parametrize("framework", UNMEASURED, ids=lambda framework: framework.name)
def test_what_goes_on(framework):
    assert f"[{framework.name}]({framework.source})" in PAGE
    assert framework.reason.removeprefix("it ") in " ".join(PAGE.split())
