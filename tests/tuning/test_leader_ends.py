"""When a search ends, why, and how much time it has left."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from leader_for_tests import RATE, SMALL, SPACE, Make, done, maker, results, take, work

from tfapp.config import Config
from tfapp.runs import Run
from tfapp.trials import journal_of, read_journal, read_search
from tfapp.tuning.leader import Leader, Moment, Outcome


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return maker(tmp_path)


def changed(config: Config, **tune: Any) -> Config:
    assert config.tune is not None
    return config.model_copy(update={"tune": config.tune.model_copy(update=tune)})


def set_clock(run: Run, seconds: Sequence[float]) -> None:
    """Has the lines of the journal written at these times."""
    lines = read_journal(run)
    timed = [{**line, "at": at} for line, at in zip(lines, seconds, strict=True)]
    journal_of(run).write_text("".join(json.dumps(line) + "\n" for line in timed))


def test_a_budget_that_is_used_up_begins_no_trial(make: Make):
    run, config = make(trials=10)
    work(Leader(run, config), most=2)
    # The search, a session, and two trials of 20 s with 5 s before each; none of it is to sleep.
    set_clock(run, [0, 1000, 1005, 1025, 1030, 1050])
    assert read_search(run).seconds == 50
    leader = Leader(run, changed(config, budget="50s"))
    assert leader.next("tuner0") == "stop"
    search = read_search(run)
    assert (search.state, len(search.trials)) == ("out of time", 2)
    assert search.reason == "its budget of 50 s is used up"
    assert take(Leader(run, changed(config, budget="10m"))).number == 2


def test_a_budget_ends_the_trial_that_runs(make: Make):
    run, config = make(trials=10)
    work(Leader(run, config), most=1)
    set_clock(run, [0, 0, 0, 59.9])
    leader = Leader(run, changed(config, budget="1m"))
    first = take(leader)
    while not leader.is_over():  # for a tenth of a second
        pass
    assert not leader.finish(first.number, first.attempt, done(0.5))
    search = read_search(run)
    assert (search.state, search.trials[1].state) == ("out of time", "stopped")
    again = take(Leader(run, changed(config, budget="1h")))
    assert (again.number, again.values) == (first.number, first.values)


def test_first_trials_that_all_fail_end_the_search(make: Make):
    run, config = make(trials=20)
    leader = Leader(run, config)
    for number in range(5):
        assignment = take(leader)
        assert not leader.is_over()
        leader.finish(number, assignment.attempt, Outcome("failed", reason=f"no {number}"))
    assert leader.next("tuner0") == "stop"
    search = read_search(run)
    assert (search.state, len(search.trials)) == ("failed", 5)
    assert search.reason == "its first trials all failed, the last one because: no 4"


@pytest.mark.parametrize("first", [done(0.1), Outcome("diverged", reason="NaN")])
def test_failures_after_a_trial_that_trained_do_not_end_the_search(make: Make, first: Outcome):
    run, config = make(trials=8)
    leader = Leader(run, config)
    take(leader)
    leader.finish(0, 1, first)
    failures = 7 if first.state == "done" else 4
    for number in range(1, 1 + failures):
        assert take(leader).number == number
        leader.finish(number, 1, Outcome("failed", reason="no"))
    assert read_search(run).state == ("done" if first.state == "done" else "killed")
    if first.state == "diverged":
        take(leader)
        leader.finish(5, 1, Outcome("failed", reason="no"))
        assert read_search(run).state == "failed"  # five raised, and nothing ever trained


def test_what_the_algorithm_raises_ends_the_search(make: Make):
    run, config = make("bayesian", space={RATE: SPACE[RATE]})
    leader = Leader(run, config)
    with np.errstate(all="ignore"):
        for number, score in enumerate([1e308, -1e308, 1e308]):  # whose differences are no floats
            take(leader)
            leader.finish(number, 1, done(score))
        assert leader.next("tuner0") == "stop"
    search = read_search(run)
    assert search.state == "failed"
    assert search.reason == "the algorithm failed: Input X contains NaN"
    assert len(search.trials) == 3


def test_a_small_space_ends_the_search(make: Make):
    run, config = make(space=SMALL, trials=100)
    work(Leader(run, config))
    search = read_search(run)
    assert (search.state, len(search.trials)) == ("done", 6)


def test_a_search_can_be_made_longer(make: Make):
    whole, config = make(trials=5, name="whole")
    work(Leader(whole, config))
    run, shorter = make(trials=3)
    work(Leader(run, shorter))
    assert read_search(run).state == "done"
    work(Leader(run, config))
    assert results(run) == results(whole)
    assert read_search(run).wanted == 5


def test_the_time_left_is_that_of_the_trials_left(make: Make):
    run, config = make(trials=10)
    leader = Leader(run, config)
    for number, outcome in enumerate([done(0.1), Outcome("failed", reason="no"), done(0.3)]):
        take(leader)
        leader.finish(number, 1, outcome)
    lines = read_journal(run)
    seconds = iter([10.0, 4.0, 16.0])
    timed = [
        {**line, "seconds": next(seconds)} if line["event"] == "end" else line for line in lines
    ]
    journal_of(run).write_text("".join(json.dumps(line) + "\n" for line in timed))

    def left(**rest: Any) -> float | None:
        moments: list[Moment] = []
        budget = rest.pop("budget", None)
        leader = Leader(run, changed(config, budget=budget), watch=moments.append, **rest)
        take(leader)
        leader.end("interrupted")  # the stopped trial is still to be run
        assert [m.total for m in moments] == [10, 10, 10]
        assert moments[0].seconds_left == pytest.approx(moments[-1].seconds_left, abs=2)
        return moments[0].seconds_left

    mean = statistics.fmean([10.0, 4.0, 16.0])
    assert left() == pytest.approx(7 * mean)
    assert left(workers=2) == pytest.approx(7 * mean / 2)
    assert left(budget="30s") == pytest.approx(30, abs=5)


def test_before_any_trial_has_ended_the_time_left_is_not_known(make: Make):
    run, config = make(trials=10)
    moments: list[Moment] = []
    take(Leader(run, config, watch=moments.append))
    assert [m.seconds_left for m in moments] == [None]
