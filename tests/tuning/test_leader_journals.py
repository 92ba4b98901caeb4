"""Journals that are cut, damaged or of another program: what goes on with them, what is refused."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from leader_for_tests import RATE, SMALL, SPACE, Make, events, maker, results, work

from tfapp.errors import TfappError, UsageError
from tfapp.runs import Run
from tfapp.trials import journal_of, read_search
from tfapp.tuning.leader import Leader


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return maker(tmp_path)


CUT = [
    ("random", SPACE, {"trials": 6}),
    ("grid", SMALL, {}),
    ("hyperband", SPACE, {}),
    ("bayesian", {RATE: SPACE[RATE]}, {"trials": 5}),
]


@pytest.mark.parametrize(("algorithm", "space", "tune"), CUT)
def test_a_journal_cut_anywhere_is_gone_on_with(
    make: Make, algorithm: str, space: Mapping[str, Any], tune: dict[str, Any]
):
    whole, config = make(algorithm, space=space, name="whole", **tune)
    work(Leader(whole, config))
    text = journal_of(whole).read_bytes()
    expected = results(whole)
    first = text.index(b"\n")
    ends = [i + 1 for i, byte in enumerate(text) if byte == ord("\n")]
    cuts = {
        "random": [first, *ends, *(end - 1 for end in ends[1:]), *(end + 1 for end in ends[:-1])],
        "grid": random.Random(0).sample(range(first, len(text)), 12),
        "hyperband": random.Random(1).sample(range(first, len(text)), 12),
        "bayesian": random.Random(2).sample(range(len(text) // 2, len(text)), 2),
    }[algorithm]
    if algorithm == "random":
        cuts += random.Random(3).sample(range(first, len(text)), 20)
    for cut in cuts:
        run = Run(whole.path.parent / f"cut-{cut}")
        journal_of(run).parent.mkdir(parents=True, exist_ok=True)
        journal_of(run).write_bytes(text[:cut])
        begun = {line["trial"] for line in events(run, "begin")}
        ended = {line["trial"] for line in events(run, "end")}
        work(Leader(run, config))
        assert results(run) == expected, cut
        again = Counter(line["trial"] for line in events(run, "begin"))
        assert again == {n: 2 if n in begun - ended else 1 for n, *_ in expected}, cut
        assert len(events(run, "end")) == len(expected), cut
        assert read_search(run).state == "done"


def test_a_journal_without_its_first_line_is_refused(make: Make):
    run, config = make(trials=2)
    text = journal_of(run).read_bytes()
    for cut in (0, 1, len(text) // 2, len(text) - 2):
        journal_of(run).write_bytes(text[:cut])
        with pytest.raises(UsageError, match="is no journal of a search"):
            Leader(run, config)
        assert journal_of(run).read_bytes() == text[:cut]  # nothing of it is lost


def test_a_journal_damaged_in_the_middle_is_refused_and_left_alone(make: Make):
    run, config = make(trials=3)
    work(Leader(run, config))
    lines = journal_of(run).read_bytes().splitlines(keepends=True)
    damaged = b"".join([*lines[:3], b"\x00" * 40 + b"\n", *lines[4:]])
    journal_of(run).write_bytes(damaged)
    with pytest.raises(UsageError, match="line 4 is damaged"):
        Leader(run, config)
    assert journal_of(run).read_bytes() == damaged


def test_an_algorithm_that_would_go_another_way_is_refused(make: Make):
    run, config = make(trials=3)
    work(Leader(run, config), most=2)
    text = journal_of(run).read_text()
    changed_text = text.replace("[16, 8]", "[16, 9]").replace("[8]", "[9]")
    assert changed_text != text
    head, _, rest = changed_text.partition("\n")
    journal_of(run).write_text(text.partition("\n")[0] + "\n" + rest)
    assert head != text.partition("\n")[0]
    with pytest.raises(TfappError, match=r"cannot go on: its trial 0 has .*Install the versions"):
        Leader(run, config)
