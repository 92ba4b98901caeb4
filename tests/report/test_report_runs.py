"""The report of several runs, and what a report refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from page_reading import ReadPage

import tfapp
from tfapp.errors import MissingError, UsageError
from tfapp.evaluation import evaluate_run
from tfapp.report.reports import write_report
from tfapp.runs import Run


@pytest.fixture
def two(iris_run):
    """The run of flowers, measured, and a copy with other numbers."""
    other = Run(iris_run.path.with_name("other"))
    shutil.copytree(iris_run.path, other.path)
    evaluate_run(iris_run)
    rows = [row | {"loss": 2 * row["loss"]} for row in other.metrics()]
    other.metrics_file.write_text("".join(json.dumps(row) + "\n" for row in rows[:-2]))
    config = other.path / "config.toml"
    config.write_text(config.read_text().replace("epochs = 3", "epochs = 2"))
    return [iris_run, other]


def test_runs_are_put_side_by_side(two, tmp_path):
    report = write_report(two, tmp_path / "two.html")
    assert report.path == tmp_path / "two.html"
    assert report.runs == tuple(run.path for run in two)
    page = ReadPage(report.path)
    first, second = page.rows("2 runs")
    status = two[0].read_json("status.json")
    assert first["run"] == "iris"
    assert first["state"] == "done"
    assert float(first["best val_accuracy"]) == pytest.approx(status["best"]["value"], rel=1e-3)
    assert first["parameters"] == "15"  # 4 * 3 + 3
    measured = two[0].read_json("evaluation.json")["metrics"]["accuracy"]
    assert float(first["test accuracy"]) == pytest.approx(measured, rel=1e-3)
    assert second["test accuracy"] == "-"
    assert "tfapp evaluate RUN" in page.words
    assert page.rows("Keys that are not the same in all") == [
        {"key": "train.epochs", "iris": "3", "other": "2"}
    ]


def test_each_value_has_curves_of_every_run_over_epochs(two, tmp_path):
    page = ReadPage(write_report(two, tmp_path / "two.html").path)
    assert set(page.figures) == {
        f"{value} of 2 runs over epochs, {split}"
        for value in ("loss", "accuracy")
        for split in ("validation", "train")
    }
    for texts in page.figures.values():
        assert {"iris", "other", "epoch", "1", "2", "3"} <= set(texts)


def test_runs_of_one_name_are_told_apart_and_those_without_epochs_named(two, tmp_path):
    twin = Run(tmp_path / "elsewhere" / "iris")
    shutil.copytree(two[0].path, twin.path)
    twin.metrics_file.unlink()
    page = ReadPage(write_report([*two, twin], tmp_path / "three.html").path)
    names = [row["run"] for row in page.rows("3 runs")]
    assert len(set(names)) == 3
    assert "other" in names
    assert f"{names[2]} has no finished epoch, so no curve." in page.words


def test_equal_configurations_are_said_to_be_equal(two, tmp_path):
    shutil.copy(two[0].path / "config.toml", two[1].path)
    page = ReadPage(write_report(two, tmp_path / "two.html").path)
    assert "Their configurations are the same." in page.words


def test_without_a_path_several_runs_have_their_report_in_the_working_folder(
    two, tmp_path, monkeypatch
):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert write_report(two).path.resolve() == tmp_path / "here" / "report.html"
    assert write_report(two).path.exists(), "our own is replaced"


def test_a_file_that_is_not_ours_is_not_replaced(iris_run):
    mine = iris_run.path / "report.html"
    mine.write_text("<title>my own thoughts</title>")
    with pytest.raises(UsageError, match=r"report.html is there and is no page of tfapp"):
        write_report(iris_run)
    assert mine.read_text() == "<title>my own thoughts</title>"
    assert not iris_run.plots.joinpath("confusion-test.svg").exists(), "nothing was measured"


def test_an_empty_file_is_nobodys(two, tmp_path):
    (tmp_path / "new.html").touch()
    assert write_report(two, tmp_path / "new.html").path.stat().st_size > 1000


def test_what_is_no_set_of_runs_is_refused(iris_run):
    with pytest.raises(UsageError, match="a report needs a run"):
        write_report([])
    with pytest.raises(UsageError, match="run iris is given twice"):
        write_report([iris_run, iris_run.path])
    with pytest.raises(MissingError, match="no run 'nothing'"):
        write_report(["nothing"])


def test_it_is_a_name_of_the_package():
    assert tfapp.write_report is write_report


def test_tensorflow_is_loaded_only_to_measure(two, tmp_path):
    fresh = Run(tmp_path / "fresh")
    fresh.path.mkdir()
    shutil.copy(two[0].path / "config.toml", fresh.path)
    script = (
        "import sys; from tfapp.cli import main\n"
        f"print(main(['report', {str(two[0].path)!r}, {str(two[1].path)!r},"
        f" '--output', {str(tmp_path / 'two.html')!r}, '-q']))\n"
        f"print(main(['report', {str(fresh.path)!r}, '-q']))\n"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    said = [line for line in done.stdout.splitlines() if line in ("0", "True", "False")]
    assert said == ["0", "0", "False"], done.stderr
    assert (fresh.path / "report.html").exists()
