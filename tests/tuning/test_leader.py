from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from leader_for_tests import SMALL, SPACE, Make, done, events, maker, score_of, take, work

from tfapp.config import load_config
from tfapp.errors import TfappError, UnknownName, UsageError
from tfapp.locks import hold
from tfapp.trials import Search, read_search, search_lock
from tfapp.tuning.leader import Assignment, Leader, Moment, Outcome
from tfapp.tuning.search import begin_search, searched_config


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return maker(tmp_path)


def test_a_search_from_begin_to_end(make: Make):
    run, config = make(trials=4, seed=5)
    moments: list[Moment] = []
    leader = Leader(run, config, watch=moments.append)
    taken = []
    for number in range(4):
        assignment = take(leader)
        taken.append(assignment)
        assert (assignment.number, assignment.attempt, assignment.root) == (number, 1, number)
        assert (assignment.until, assignment.parent) == (None, None)
        assert leader.trial(number).state == "running"
        assert leader.finish(number, 1, done(score_of(assignment)))
    assert leader.is_over()
    assert leader.next("tuner0") == "stop"

    search = read_search(run)
    assert (search.state, search.reason, search.wanted) == ("done", "", 4)
    for trial, assignment in zip(search.trials, taken, strict=True):
        assert trial.values == assignment.values
        assert (trial.state, trial.scores) == ("done", (score_of(assignment),))
        assert (trial.best_epoch, trial.epochs, trial.worker) == (3, 9, "tuner0")
    rounded = [replace(t, seconds=round(t.seconds, 3)) for t in leader.search.trials]
    assert rounded == list(search.trials)
    told = [(m.trial and m.trial.number, m.trial and m.trial.state, m.total) for m in moments]
    per_trial = [(n, state, 4) for n in range(4) for state in ("running", "done")]
    assert told == [*per_trial, (None, None, 4)]


def test_failures_are_recorded_with_their_reason_and_passed_over(make: Make):
    run, config = make("grid", space=SMALL)
    leader = Leader(run, config)
    outcomes = [
        done(0.5),
        Outcome("failed", reason="ValueError: no"),
        Outcome("diverged", reason="step 3: loss is not finite"),
        done(0.75),
        done(0.25),
        Outcome("failed", reason="out of memory"),
    ]
    for outcome in outcomes:
        assignment = take(leader)
        assert leader.finish(assignment.number, assignment.attempt, outcome)
    search = read_search(run)
    assert search.state == "done"
    assert [(t.state, t.scores, t.reason) for t in search.trials] == [
        (o.state, o.scores, o.reason) for o in outcomes
    ]
    assert search.best is not None
    assert search.best.number == 3


def test_hyperband_says_where_to_begin_and_to_end(make: Make):
    run, config = make("hyperband")
    leader = Leader(run, config)
    roots: dict[int, int] = {}
    while isinstance(assignment := leader.next("tuner0"), Assignment):
        trial = leader.trial(assignment.number)
        assert trial.bracket is not None
        halvings = trial.bracket[0] - trial.bracket[1]
        assert assignment.until == trial.epochs == 9 // 3**halvings
        if trial.parent is None:
            roots[trial.number] = trial.number
            assert trial.first_epoch == 0
        else:
            roots[trial.number] = roots[trial.parent]
            assert trial.first_epoch == leader.trial(trial.parent).epochs
        assert assignment.parent == trial.parent
        assert assignment.root == roots[trial.number]  # whose seed and first weights it has
        leader.finish(assignment.number, 1, done(score_of(assignment)))
    assert leader.search.state == "done"
    assert len(roots) == 23  # 9 + 3 + 1, 5 + 2 and 3


@pytest.mark.parametrize(
    ("algorithm", "tune", "trials"), [("random", {"trials": 60}, 60), ("hyperband", {}, 23)]
)
def test_many_workers_at_once_have_each_trial_once(
    make: Make, algorithm: str, tune: dict[str, Any], trials: int
):
    run, config = make(algorithm, **tune)
    leader = Leader(run, config, workers=8)
    start = threading.Barrier(8)
    failures: list[BaseException] = []

    def run_trials(worker: str) -> None:
        try:
            start.wait()
            work(leader, worker)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run_trials, args=(f"w{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    search = read_search(run)
    assert search.state == "done"
    assert [t.number for t in search.trials] == list(range(trials))
    assert all(t.state == "done" and t.attempts == 1 for t in search.trials)
    assert Counter(line["trial"] for line in events(run, "begin")) == dict.fromkeys(
        range(trials), 1
    )
    assert Counter(line["trial"] for line in events(run, "end")) == dict.fromkeys(range(trials), 1)
    for trial in search.trials:
        assignment = Assignment(
            trial.number, 1, trial.values, 0, trial.epochs if trial.bracket else None, None
        )
        assert trial.scores == (score_of(assignment),)  # handed in for the right one
        if trial.parent is not None:
            assert trial.values == search.trials[trial.parent].values


def test_a_search_says_whether_somebody_leads_it(make: Make):
    run, config = make(trials=2)
    with hold(search_lock(run)):
        take(Leader(run, config))
        assert read_search(run).state == "running"
    assert read_search(run).state == "killed"


def test_begin_search_writes_what_the_search_is(tmp_path: Path):
    config = load_config(
        overrides={
            "data.source": "iris",
            "seed": 4,
            "tune": {"trials": 3, "executions": 2, "space": SPACE},
        }
    )
    run = begin_search(config, runs=tmp_path, name="mine")
    search = read_search(run)
    assert isinstance(search, Search)
    facts = (search.algorithm, search.objective, search.direction, search.seed)
    assert facts == ("random", "val_accuracy", "max", 4)
    assert (search.wanted, search.executions, search.trials) == (3, 2, ())
    assert config.tune is not None
    assert search.space == config.tune.space
    assert searched_config(run) == config
    work(Leader(run, config))
    assert [t.number for t in read_search(run).trials] == [0, 1, 2]


def test_a_search_that_cannot_begin_writes_nothing(tmp_path: Path):
    space = {"tune.space": SPACE, "data.source": "iris"}
    wrong: list[tuple[type[TfappError], str, dict[str, Any]]] = [
        (UsageError, "tune.space is empty", {"data.source": "iris"}),
        (UnknownName, "no objective named 'val_f1'", {**space, "tune.objective": "val_f1"}),
        (UnknownName, "no data set named 'irris'", {**space, "data.source": "irris"}),
    ]
    for kind, told, values in wrong:
        with pytest.raises(kind, match=told):
            begin_search(load_config(overrides=values), runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
