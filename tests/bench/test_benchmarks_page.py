"""The page about benchmarks names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tfapp.bench.roster import BEST_FIT, ROSTER
from tfapp.bench.serving import files, points
from tfapp.bench.serving import roster as servers
from tfapp.bench.serving import targets as serving_targets
from tfapp.bench.suite import CHECK_STEPS, CNN_TOLERANCE, TOLERANCE
from tfapp.bench.targets import TARGETS
from tfapp.bench.workloads import WORKLOADS

PAGE = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*ROSTER, BEST_FIT])
def test_every_contender_is_explained(name):
    assert f"`{name}`" in PAGE.split("## Who takes part")[1].split("\n## ")[0]


@pytest.mark.parametrize("workload", WORKLOADS.values(), ids=lambda w: w.name)
def test_every_workload_is_described(workload):
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{workload.name}` |"))
    assert f"| {workload.batch_size} of {workload.examples:,} |" in row


def test_how_it_is_checked_is_what_the_code_does():
    text = " ".join(PAGE.split())
    assert f"it trains {CHECK_STEPS} steps" in text
    assert f"relative deviations up to {TOLERANCE:g} are" in text
    assert re.search(rf"compared with the first contender[^.]*, up to {CNN_TOLERANCE:g}\.", text)


def test_every_target_is_stated():
    section = PAGE.split("## Targets")[1].split("\n## ")[0]
    for target in TARGETS:
        (row,) = (x for x in section.splitlines() if x.startswith(f"| `{target.contender}` |"))
        assert f" {target.value:g} " in row, target


def test_servers_what_they_are_asked_and_what_is_wanted_are_told():
    section = PAGE.split("## How fast servers answer")[1].split("\n## ")[0]
    section = " ".join(section.split())
    for name in (*servers.ROSTER, *points.WORKLOADS):
        assert f"`{name}`" in section
    for target in serving_targets.TARGETS:
        assert f"{target.bound} {target.value:g}" in section
    assert f"up to {files.TOLERANCE:.0e}".replace("e-0", "e-") in section
