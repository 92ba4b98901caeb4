"""`tfapp report` as it is typed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tfapp.errors import ExitCode


def test_a_run_by_name_gets_its_report(cli, digits_run):
    result = cli("report", "digits")
    assert result.code == ExitCode.DONE, result.err
    lines = [line.split() for line in result.out.splitlines()]
    assert lines[0] == ["report", "runs/digits/report.html"]
    assert [kind for kind, _ in lines[1:]] == ["plot"] * 6
    assert all(Path(path).exists() for _, path in lines)
    again = json.loads(cli("report", digits_run.path, "--output", "new/mine.html", "--json").out)
    assert again["schema_version"] == 1
    assert again["path"] == "new/mine.html"
    assert again["runs"] == [str(digits_run.path)]
    assert Path(again["plots"][0]).name == "curves.svg"
    assert again["missing"] == []
    assert Path("new/mine.html").exists()


def test_several_runs_of_another_folder_are_laid_over_each_other(cli, digits_run):
    shutil.move(digits_run.path.parent, "elsewhere")
    shutil.copytree("elsewhere/digits", "elsewhere/second")
    result = cli("report", "digits", "second", "--runs", "elsewhere")
    assert result.code == ExitCode.DONE, result.err
    assert result.out.split() == ["report", "report.html"]
    assert "<h1>2 runs</h1>" in Path("report.html").read_text()


def test_what_could_not_be_measured_is_said_on_stderr(cli, digits_run):
    config = digits_run.path / "config.toml"
    config.write_text(config.read_text().replace('source = "digits"', 'source = "./gone.csv"'))
    result = cli("report", "digits")
    assert result.code == ExitCode.DONE
    assert "note: Nothing was measured on its data" in result.err
    assert "gone.csv" in result.err
    assert "note:" not in cli("report", "digits", "--quiet").err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("digit",), ExitCode.MISSING, "no run 'digit'"),
        (("digits", "runs/digits"), ExitCode.USAGE, "run digits is given twice"),
        (("digits", "--output", "page.pdf"), ExitCode.USAGE, "give a name such as page.html"),
        (("digits", "--output", "runs"), ExitCode.USAGE, "runs is a folder; name a file in it"),
        (("digits", "--output", "mine.html"), ExitCode.USAGE, "mine.html is there and is no page"),
        (("digits", "--output", "mine.html/x.html"), ExitCode.FAILED, "cannot write mine.html/x"),
        ((), ExitCode.USAGE, "Missing argument 'RUN...'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_reported_is_told_before_anything_is_measured(
    cli, digits_run, words, code, said
):
    Path("mine.html").write_text("mine")
    before = sorted(path for path in Path().rglob("*"))
    result = cli("report", *words)
    assert result.code == code
    assert said in result.err
    assert "Traceback" not in result.err
    assert result.out == ""
    assert Path("mine.html").read_text() == "mine"
    assert sorted(path for path in Path().rglob("*")) == before
