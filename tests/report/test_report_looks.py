"""Whole pages, as people will see them: on a desk and on a phone."""

from __future__ import annotations

import pytest
from browser import DESKTOP, PHONE, complaints, look, needs_browser

from tfapp.errors import ExitCode
from tfapp.report.reports import write_report

pytestmark = needs_browser
both_widths = pytest.mark.parametrize("width", [DESKTOP, PHONE])


def check(path, folder, width):
    """Returns a page that nobody would complain of, as it is seen."""
    seen = look(path.read_text(encoding="utf-8"), folder, width)
    assert complaints(seen) == []
    assert seen.window == width
    return seen


@both_widths
def test_a_classifier_of_images(digits_report, tmp_path, width):
    seen = check(digits_report.report.path, tmp_path, width)
    assert seen.headings == ["digits", *digits_report.page.headings]
    assert [figure.label for figure in seen.figures] == list(digits_report.page.figures)
    images = {figure.label: len(figure.images) for figure in seen.figures}
    assert images["Examples of digits, train"] == 20
    assert images["Examples of digits, train, continued"] == 20
    mistakes = sum(count for label, count in images.items() if "mistakes" in label)
    assert mistakes == 16


@both_widths
def test_a_classifier_of_rows(iris_report, tmp_path, width):
    seen = check(iris_report.report.path, tmp_path, width)
    assert seen.headings == ["iris", *iris_report.page.headings]
    words = {text.words for figure in seen.figures for text in figure.texts}
    assert {"setosa", "versicolor", "virginica"} <= words


@both_widths
def test_a_regression(linear_report, tmp_path, width):
    seen = check(linear_report.report.path, tmp_path, width)
    assert len(seen.figures) == 6
    # On a phone one under the other, else side by side.
    first, second = (figure.box for figure in seen.figures[:2])
    assert (first[0] == second[0]) == (width == PHONE)


@both_widths
def test_several_runs(digits_report, iris_report, linear_report, tmp_path, width):
    runs = [reported.run for reported in (digits_report, iris_report, linear_report)]
    seen = check(write_report(runs, tmp_path / "three.html").path, tmp_path, width)
    assert seen.headings == [
        "3 runs",
        "Side by side",
        "Learning curves",
        "Differences of configuration",
    ]
    assert len(seen.figures) == 6, "loss, accuracy and error, each of two splits"


def test_a_comparison_of_engines(cli, tmp_path):
    path = tmp_path / "page.html"
    options = ("--engines", "numpy", "--steps", "3", "--rounds", "1", "--report", path)
    assert cli("compare", "quadratic", *options).code == ExitCode.DONE
    for width in (DESKTOP, PHONE):
        seen = check(path, tmp_path, width)
        assert seen.headings[0] == "tfapp compare"
        assert len(seen.figures) == 5
