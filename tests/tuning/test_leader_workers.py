"""Workers that are lost, stop or come back: who gets their trials, and whose outcomes count."""

from __future__ import annotations

from pathlib import Path

import pytest
from leader_for_tests import Make, done, events, maker, results, take

from tfapp.trials import read_search
from tfapp.tuning.leader import Leader, Outcome


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return maker(tmp_path)


@pytest.mark.parametrize("how", ["released", "asked again"])
def test_the_trial_of_a_lost_worker_is_given_again(make: Make, how: str):
    run, config = make(trials=2)
    leader = Leader(run, config)
    lost, other = take(leader, "a"), take(leader, "b")
    assert (lost.number, other.number) == (0, 1)
    if how == "released":
        assert leader.next("c") == "wait"  # there are only two, and both are being run
        leader.release("a", "its process is gone")
        again = take(leader, "c")
    else:
        again = take(leader, "a")  # it has begun anew
    assert (again.number, again.attempt, again.values) == (0, 2, lost.values)

    assert not leader.finish(0, 1, done(0.1))  # the first one was not gone after all
    assert leader.trial(0).state == "running"
    assert leader.finish(0, 2, done(0.2))
    assert not leader.finish(0, 2, done(0.3))
    assert leader.finish(1, 1, done(0.4))
    assert [t.scores for t in read_search(run).trials] == [(0.2,), (0.4,)]
    assert len(events(run, "end")) == 2


def test_a_trial_that_was_never_begun_is_not_finished(make: Make):
    run, config = make(trials=2)
    assert not Leader(run, config).finish(0, 1, done(0.1))
    assert read_search(run).trials == ()


def test_a_trial_whose_process_is_lost_three_times_has_failed(make: Make):
    run, config = make(trials=2)
    leader = Leader(run, config)
    for attempt in (1, 2, 3):
        assert take(leader, f"w{attempt}").attempt == attempt
        leader.release(f"w{attempt}", "signal 9")
    following = take(leader)
    assert following.number == 1
    trial = read_search(run).trials[0]
    assert (trial.state, trial.attempts, trial.scores) == ("failed", 3, ())
    assert trial.reason == (
        "begun 3 times, and each time its process was lost, at last because signal 9; it may need"
        " more memory than there is"
    )


def test_a_trial_that_ends_three_leaders_has_failed(make: Make):
    run, config = make(trials=2)
    for attempt in (1, 2, 3):
        assignment = take(Leader(run, config))  # and nothing is heard of either again
        assert (assignment.number, assignment.attempt) == (0, attempt)
    assert take(Leader(run, config)).number == 1
    trial = read_search(run).trials[0]
    assert (trial.state, trial.reason) == (
        "failed",
        "begun 3 times, and each time its process was lost",
    )


def test_a_stopped_trial_begins_again_as_often_as_it_is_stopped(make: Make):
    run, config = make(trials=1)
    values = []
    for attempt in range(1, 6):
        leader = Leader(run, config)
        assignment = take(leader)
        assert assignment.attempt == attempt  # so that no late outcome of an earlier one counts
        values.append(assignment.values)
        leader.end("interrupted", "Ctrl-C")
        assert leader.next("tuner0") == "stop"
        assert not leader.finish(0, attempt, done(0.5))
        trial = read_search(run).trials[0]
        assert (trial.state, trial.reason) == ("stopped", "Ctrl-C")
    assert all(v == values[0] for v in values)
    leader = Leader(run, config)
    assert take(leader).attempt == 6
    assert not leader.finish(0, 1, done(0.1))
    assert leader.finish(0, 6, done(0.2))
    assert results(run)[0][2:4] == ("done", (0.2,))


def test_a_worker_that_stops_gives_its_trial_back(make: Make):
    run, config = make(trials=1)
    leader = Leader(run, config)
    first = take(leader, "a")
    assert leader.finish(0, 1, Outcome("stopped"))
    assert not leader.is_over()
    again = take(leader, "b")
    assert (again.number, again.attempt, again.values) == (0, 2, first.values)
    assert leader.finish(0, 2, done(0.5))
    assert leader.is_over()


def test_a_worker_keeps_its_trial_through_a_change_of_leaders(make: Make):
    run, config = make(trials=2)
    first = take(Leader(run, config), "a")
    leader = Leader(run, config, grace=3600)  # the first one's process has died
    assert take(leader, "b").number == 1  # the first trial waits for its worker
    assert leader.next("c") == "wait"
    assert leader.claim("a", first.number, first.attempt)
    assert leader.finish(first.number, first.attempt, done(0.5))
    assert leader.trial(0).scores == (0.5,)
    assert not leader.claim("a", first.number, first.attempt)  # it has ended


def test_without_grace_the_trial_goes_to_the_next_who_asks(make: Make):
    run, config = make(trials=2)
    first = take(Leader(run, config), "a")
    leader = Leader(run, config)
    again = take(leader, "b")
    assert (again.number, again.attempt) == (0, 2)
    assert not leader.claim("a", first.number, first.attempt)
    assert not leader.finish(first.number, first.attempt, done(0.5))
    assert leader.claim("b", 0, 2)
    assert not leader.claim("b", 7, 1)
