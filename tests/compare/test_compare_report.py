"""`tfapp compare --report`, and the studies as a user asks for them."""

from __future__ import annotations

import json
import re

import pytest

from tfapp.compare.frameworks.roster import PROGRAMS
from tfapp.compare.notes.rows import ROWS
from tfapp.errors import ExitCode


@pytest.fixture
def keep():
    """Leaves some entries of a table; afterwards all are there again, in their order."""
    restored = []

    def leave(table, *names):
        restored.append((table, dict(table)))
        for name in set(table) - set(names):
            del table[name]

    yield leave
    for table, every in restored:
        table.clear()
        table.update(every)


def words(page: str) -> str:
    """The page without its marks, spaces made one."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def test_the_page_holds_the_tables_and_draws_them(cli, tmp_path):
    path = tmp_path / "new" / "page.html"
    options = ("--engines", "eager,numpy", "--steps", "3", "--rounds", "1", "--report", path)
    result = cli("compare", "quadratic", *options)
    assert result.code == ExitCode.DONE, result.err
    assert result.err.splitlines()[-1] == f"report: {path}"
    page = path.read_text(encoding="utf-8")
    shown = words(page)
    for cell in (line for line in result.out.splitlines() if line.startswith("numpy ")):
        assert " ".join(cell.split()) in shown
    assert "everything agrees" in shown
    assert "tfapp compare quadratic --engines eager,numpy --steps 3 --rounds 1 --report" in shown
    pictures = re.findall(r'<svg[^>]*aria-label="([^"]*)"', page)
    assert pictures == [
        "The loss of 3 engines over 3 steps, quadratic",
        "Difference of loss from tf1, quadratic",
        "Difference of gradients from tf1, quadratic",
        "Difference of weights from tf1, quadratic",
        "Microseconds a step of 3 engines, quadratic",
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [("", "is a folder"), ("page.txt", "a page is an HTML file; give a name such as")],
)
def test_a_page_that_cannot_be_written_is_refused_before_anything_is_computed(
    cli, tmp_path, name, said
):
    result = cli("compare", "quadratic", "--report", tmp_path / name)
    assert result.code == ExitCode.USAGE
    assert said in result.err
    assert result.out == ""
    assert "comparing" not in result.err


def test_the_notes_are_rows_of_a_table_and_of_the_page(cli, keep, tmp_path):
    keep(ROWS, 7, 23, 24)
    path = tmp_path / "notes.html"
    result = cli("compare", "notes", "--report", path)
    assert result.code == ExitCode.DONE, result.err
    numbers = dict(re.findall(r"^ *(\d+) .* (reproduced|no numbers) ", result.out, re.MULTILINE))
    assert numbers == {"7": "reproduced", "23": "no numbers", "24": "reproduced"}
    assert "23: A table of words without a program" in result.out
    page = words(path.read_text(encoding="utf-8"))
    assert "A table of words without a program" in page
    # c = sum(x y + z) of NumPy's seed 0, one of the checks that the short table does not show
    assert "6.717008" in page
    told = json.loads(cli("compare", "notes", "--json", "--quiet").out)
    assert told["agrees"] is True
    assert [note["number"] for note in told["notes"]] == [7, 23, 24]
    assert told["programs"] == []


def test_a_number_of_the_notes_that_does_not_come_out_ends_with_exit_code_3(cli, keep, monkeypatch):
    from tfapp.compare.notes import numpy_programs

    keep(ROWS, 7)
    name = ROWS[7].function.partition(":")[2]
    monkeypatch.setattr(numpy_programs, name, lambda record: record.exactly("c", 3, 2))
    result = cli("compare", "notes")
    assert result.code == ExitCode.DIFFERS
    assert "DIFFERS" in result.out
    assert "notes: 7 differs: 1 of 1 checks do not hold, first c: expected 3, found 2" in result.err


def test_frameworks_are_compared_and_shown_side_by_side(cli, keep, tmp_path):
    keep(PROGRAMS, "by_hand", "tape")
    path = tmp_path / "frameworks.html"
    result = cli("compare", "frameworks", "--rounds", "0", "--report", path)
    assert result.code == ExitCode.DONE, result.err
    (row,) = [line.split() for line in result.out.splitlines() if line.startswith("tape ")]
    assert row[1] == "agrees"
    assert re.search(r"^Theano +2017 ", result.out, re.MULTILINE)
    page = path.read_text(encoding="utf-8")
    assert "with tf.GradientTape() as tape:" in page
    assert page.count("<pre") == 2


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("note",), "no program named 'note'. Did you mean 'notes'?"),
        (("notes", "--exact"), "notes has nothing to be compared bit by bit with --exact."),
        (("graphs", "--steps", "3"), "engines, reference and steps are for programs; graphs has"),
        (("frameworks", "--engines", "eager"), "are for programs; frameworks has its own."),
        (("notes", "--data", "."), "--data is for mnist-mlp, which is not among the programs."),
        (("quadratic", "--rounds", "-1"), "-1 is not in the range x>=0"),
    ],
)
def test_what_a_study_cannot_take_is_said(cli, typed, said):
    result = cli("compare", *typed)
    assert result.code == ExitCode.USAGE
    assert said in result.err


def test_a_study_that_fails_ends_no_other(cli, keep, monkeypatch, tmp_path):
    from tfapp.compare import graphs

    def breaks(*given, **options):
        raise RuntimeError("no such luck")

    keep(ROWS, 24)
    monkeypatch.setattr(graphs, "study_graphs", breaks, raising=False)
    path = tmp_path / "page.html"
    result = cli("compare", "notes", "graphs", "--rounds", "0", "--report", path)
    assert result.code == ExitCode.DIFFERS
    assert "reproduced" in result.out
    assert "graphs failed: RuntimeError: no such luck" in result.err
    assert "graphs failed: RuntimeError: no such luck" in words(path.read_text(encoding="utf-8"))


def test_a_folder_that_takes_no_page_is_told_before_anything_is_computed(cli, tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = cli("compare", "quadratic", "--report", tmp_path / "file" / "page.html")
    assert result.code != ExitCode.DONE
    assert str(tmp_path / "file") in result.err
    assert "comparing" not in result.err
