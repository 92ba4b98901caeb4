from __future__ import annotations

import json
import random
import statistics
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfapp.config import Config, load_config
from tfapp.errors import TfappError, UnknownName, UsageError
from tfapp.locks import hold
from tfapp.runs import Run
from tfapp.trials import Search, journal_of, read_journal, read_search, search_lock
from tfapp.tuning.journal import Journal
from tfapp.tuning.leader import Assignment, Leader, Moment, Outcome
from tfapp.tuning.search import begin_search, searched_config

RATE = "train.optimizer.learning_rate"
SPACE = {
    RATE: {"float": [1e-4, 1e-1], "log": True},
    "model.options.hidden": {"choice": [[8], [16, 8]]},
}
SMALL = {"model.options.depth": {"int": [1, 3]}, "model.options.flag": {"boolean": True}}
Make = Callable[..., tuple[Run, Config]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a run with a search that has not begun, and the config that it searches."""

    def make_search(
        algorithm: str = "random",
        *,
        space: Mapping[str, Any] = SPACE,
        name: str = "mine",
        direction: str = "max",
        seed: int = 0,
        **tune: Any,
    ) -> tuple[Run, Config]:
        made = {"algorithm": algorithm, "space": space, **tune}
        config = Config.model_validate({"seed": seed, "train": {"epochs": 9}, "tune": made})
        assert config.tune is not None
        run = Run(tmp_path / name)
        journal_of(run).parent.mkdir(parents=True)
        Journal(run).search(
            algorithm=algorithm,
            objective="val_accuracy",
            direction=direction,
            seed=seed,
            trials=config.tune.most_trials,
            executions=config.tune.executions,
            space={key: h.model_dump(mode="json") for key, h in config.tune.space.items()},
        )
        return run, config

    return make_search


def changed(config: Config, **tune: Any) -> Config:
    assert config.tune is not None
    return config.model_copy(update={"tune": config.tune.model_copy(update=tune)})


def score_of(assignment: Assignment) -> float:
    """A score that follows from what is trained, without any order."""
    text = json.dumps([dict(assignment.values), assignment.until], sort_keys=True)
    return random.Random(text).random()


def done(score: float) -> Outcome:
    return Outcome("done", (score,), best_epoch=3)


def take(leader: Leader, worker: str = "tuner0") -> Assignment:
    assignment = leader.next(worker)
    assert isinstance(assignment, Assignment)
    return assignment


def work(leader: Leader, worker: str = "tuner0", *, most: int = 1000) -> None:
    """Runs trials to the end of the search, or so many."""
    for _ in range(most):
        while (assignment := leader.next(worker)) == "wait":
            pass
        if assignment == "stop":
            return
        assert isinstance(assignment, Assignment)
        assert leader.finish(assignment.number, assignment.attempt, done(score_of(assignment)))


def results(run: Run) -> list[tuple[Any, ...]]:
    """What the journal says of all trials, without times, workers and attempts."""
    return [
        (t.number, dict(t.values), t.state, t.scores, t.epochs, t.first_epoch, t.parent, t.bracket)
        for t in read_search(run).trials
    ]


def events(run: Run, *names: str) -> list[dict[str, Any]]:
    return [line for line in read_journal(run) if line["event"] in names]


def set_clock(run: Run, seconds: Sequence[float]) -> None:
    """Has the lines of the journal written at these times."""
    lines = read_journal(run)
    timed = [{**line, "at": at} for line, at in zip(lines, seconds, strict=True)]
    journal_of(run).write_text("".join(json.dumps(line) + "\n" for line in timed))


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
