from __future__ import annotations

import json
import subprocess
import sys

import pytest

from legacy_tf1.__main__ import main
from legacy_tf1.program import PRINTED, Check, Outcome, Program
from legacy_tf1.programs import PROGRAMS


def broken(steps: int) -> Outcome:
    checks = (
        Check("w", "0.1", "0.2", False, PRINTED),
        Check("v", "1", "1", True, PRINTED),
    )
    return Outcome({"w": float("nan"), "path": [0.5] * steps}, checks, ("u (needs 9 steps)",))


@pytest.fixture
def with_broken(monkeypatch):
    program = Program("broken", "a test", "what a mismatch looks like", 8, f"{__name__}:broken")
    monkeypatch.setitem(PROGRAMS, "broken", program)


def test_list_names_every_program_its_source_and_what_it_teaches(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    for program in PROGRAMS.values():
        assert f"{program.name} " in out
        assert program.teaches in out
        assert f"[{program.source}]" in out


def test_list_as_json(capsys):
    assert main(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema_version"] == 1
    assert [row["name"] for row in found["programs"]] == list(PROGRAMS)
    assert set(found["programs"][0]) == {"name", "source", "teaches", "steps"}


def test_run_shows_the_printed_numbers_beside_what_came_out(capsys):
    assert main(["run", "coefficients-moved"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "coefficients-moved [Ng course 3.10/3.11, In[14]-In[16]], steps: 1001"
    said = "  ok  w after step 1001: expected 9.99998, found 9.99998 (printed in the notes)"
    assert said in lines
    assert lines[-1] == "all 5 that were checked match"


def test_run_as_json(capsys):
    assert main(["run", "quadratic-with", "--steps", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["name"], found["steps"], found["holds"]) == ("quadratic-with", 3, True)
    assert found["values"]["w"] == pytest.approx([0, 0.1, 0.198, 0.29404], rel=1e-6)
    assert found["checks"][1] == {
        "name": "w after step 1",
        "expected": "0.1",
        "found": "0.1",
        "holds": True,
        "origin": "printed in the notes",
    }
    assert found["unchecked"] == ["w after step 1001 (needs 1001 steps)"]


def test_run_with_fewer_steps_says_what_was_not_checked(capsys):
    assert main(["run", "coefficients", "--steps", "5"]) == 0
    out = capsys.readouterr().out
    assert "not checked: w after step 1001 (needs 1001 steps)" in out


@pytest.mark.usefixtures("with_broken")
def test_a_number_that_does_not_match_is_named_and_exits_with_three(capsys):
    assert main(["run", "broken"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "broken [a test], steps: 8",
        "  w: nan",
        "  path: 0.5, 0.5, 0.5, ..., 0.5, 0.5",
        "  NOT w: expected 0.1, found 0.2 (printed in the notes)",
        "  ok  v: expected 1, found 1 (printed in the notes)",
        "  not checked: u (needs 9 steps)",
        "1 of 2 do not match: w",
    ]


@pytest.mark.usefixtures("with_broken")
def test_json_of_a_mismatch_is_json_even_with_nan(capsys):
    assert main(["run", "broken", "--steps", "2", "--json"]) == 3
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found["holds"] is False
    assert found["values"] == {"w": None, "path": [0.5, 0.5]}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("quadratc", "quadratic"), ("Raw_MLP", "raw-mlp"), ("two-layer-groups", "two-layer-group")],
)
def test_a_wrong_name_is_answered_with_the_nearest(typed, meant, capsys):
    assert main(["run", typed]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    names = ", ".join(PROGRAMS)
    assert err == f"error: NAME: found {typed!r}, allowed {names}, did you mean {meant!r}?\n"


@pytest.mark.parametrize("typed", ["0", "-1", "1.5", "many", ""])
def test_steps_that_cannot_be_are_refused(typed, capsys):
    assert main(["run", "quadratic", f"--steps={typed}"]) == 2
    said = f"error: --steps: found {typed!r}, allowed whole numbers from 1 up\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "COMMAND"),
        (["run"], "NAME"),
        (["walk"], "'walk'"),
        (["list", "--yaml"], "--yaml"),
        (["run", "quadratic", "--steps"], "--steps"),
    ],
)
def test_other_words_are_refused_in_one_line(words, reason, capsys):
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("error: ")
    assert reason in err
    assert "--help" in err


def test_help_is_not_a_mistake(capsys):
    assert main(["run", "--help"]) == 0
    assert "--steps N" in capsys.readouterr().out


def test_list_imports_neither_tensorflow_nor_tfapp():
    code = (
        "import sys; from legacy_tf1.__main__ import main; main(['list']);"
        "sys.exit(str([m for m in ('tensorflow', 'keras', 'numpy', 'tfapp') if m in sys.modules]))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stderr == "[]\n"
    assert "quadratic" in found.stdout
