"""The inventory of the notes, without running any of it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from legacy_tf1 import programs
from tfapp.compare.notes.rows import ROWS, find_rows
from tfapp.errors import ExitCode, UsageError


def test_there_are_32_rows_in_order_and_one_has_no_program():
    assert list(ROWS) == [row.number for row in ROWS.values()] == list(range(1, 33))
    assert [number for number, row in ROWS.items() if row.function is None] == [23]
    assert ROWS[23].remark


def test_sources_have_the_words_of_the_tf1_programs():
    words = (programs.DEMONSTRATION, programs.RAW, programs.LECTURE, programs.COURSE)
    for row in ROWS.values():
        assert row.source.startswith((*words, "why frameworks"))
    # In the notes' own order: 1-5, 6, 7-22, 23, 24-32.
    starts = {1: words[0], 6: words[1], 7: words[2], 23: "why", 24: words[3]}
    for number, start in starts.items():
        assert ROWS[number].source.startswith(start)


def test_a_framework_that_tfapp_does_not_bring_is_named():
    assert {n for n, row in ROWS.items() if row.needs == "torch"} == {3, 9, *range(17, 22)}
    assert {n for n, row in ROWS.items() if row.framework == "PyTorch"} == {3, 9, *range(17, 22)}
    assert {n for n, row in ROWS.items() if row.needs == "legacy"} == {15}


@pytest.mark.parametrize(
    ("asked", "given"), [((), range(1, 33)), ((5, 2, 5), (5, 2)), (iter([7]), (7,))]
)
def test_rows_are_found_by_number_each_once(asked, given):
    assert [row.number for row in find_rows(asked)] == list(given)


@pytest.mark.parametrize("number", [0, 33, 99, -1])
def test_an_unknown_number_is_refused_with_the_range(number):
    with pytest.raises(UsageError, match=f"found {number}, allowed 1 to 32") as refusal:
        find_rows([1, number])
    assert refusal.value.exit_code == ExitCode.USAGE


def test_the_inventory_loads_nothing_heavy():
    script = "import sys; import tfapp.compare.notes.rows; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert "tfapp.compare.notes.rows" in loaded
    assert not loaded & {"numpy", "tensorflow", "keras", "torch", "legacy_tf1"}
