"""The line between a leader and its workers: real calls over gRPC, no training."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager

import pytest

from tfapp.config import load_config
from tfapp.errors import ExitCode, Interrupted, MissingError, UsageError
from tfapp.runs import Run
from tfapp.trials import read_journal, read_search
from tfapp.tuning import wire
from tfapp.tuning.leader import Leader, Outcome
from tfapp.tuning.search import begin_search
from tfapp.tuning.wire import Line, Office, check_same_search, serve

CONFIG = load_config(
    overrides={
        "data.source": "iris",
        "model.options": {"hidden": [4]},
        "tune.trials": 3,
        "tune.space": {"train.optimizer.learning_rate": {"float": [1e-3, 1e-1]}},
    }
)
# A value that 32 bits would shorten.
SCORE = 0.1 + 0.2


@pytest.fixture(autouse=True)
def _quick(monkeypatch) -> None:
    monkeypatch.setattr(wire, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(wire, "_WAIT_SECONDS", 0.02)
    monkeypatch.setattr(wire, "_RETRY_SECONDS", 0.05)


@pytest.fixture
def run(tmp_path) -> Run:
    """A search that has not begun."""
    return begin_search(CONFIG, runs=tmp_path / "runs", name="search")


@pytest.fixture
def lines():
    """Opens lines of workers, and closes them."""
    opened = []

    def line(port: int, worker: str = "tuner0", patience: float = 20.0, **more) -> Line:
        opened.append(Line(worker, "127.0.0.1", port, patience=patience, **more))
        return opened[-1]

    yield line
    for each in opened:
        each.close()


@contextmanager
def leading(run: Run, port: int = 0, **more):
    """Leads a search at a port for the time of the block; gives leader, office and port."""
    leader = Leader(run, CONFIG, **more)
    office = Office(leader, run)
    with serve(office, "127.0.0.1", port) as bound:
        yield leader, office, bound


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.01)


def told(run: Run) -> list[tuple[str, int]]:
    """What happened to which trial."""
    return [(x["event"], x["trial"]) for x in read_journal(run) if "trial" in x]


def test_workers_share_the_trials_and_hear_the_end(run, lines):
    with leading(run) as (leader, office, port):
        one, two = lines(port), lines(port, "tuner1")
        answers = [one.join(), two.join()]
        for answer in answers:
            assert answer["run"] == "search"
            check_same_search(run, answer["search"])
        first, second = one.next(), two.next()
        one.finish(first, Outcome("done", (SCORE, 1.0), best_epoch=3))
        third = one.next()
        assert [first.number, second.number, third.number] == [0, 1, 2]
        two.finish(second, Outcome("failed", reason="no luck"))
        one.finish(third, Outcome("diverged", reason="inf"))
        assert (one.next(), two.next()) == (None, None)
        assert office.workers == []
        assert leader.is_over()
    search = read_search(run)
    done, failed, diverged = search.trials
    assert (done.scores, done.best_epoch, done.worker) == ((SCORE, 1.0), 3, "tuner0")
    assert (failed.state, failed.reason, failed.worker) == ("failed", "no luck", "tuner1")
    assert (diverged.state, diverged.reason) == ("diverged", "inf")


def test_the_trial_of_a_silent_worker_goes_to_another(run, lines, monkeypatch):
    monkeypatch.setenv("TFAPP_WAIT_SECONDS", "1")
    with leading(run) as (_, office, port):
        lost, other = lines(port), lines(port, "tuner1")
        lost.join()
        other.join()
        begun = lost.next()
        assert other.next().number == 1
        until(lambda: office.drop_lost() or "tuner0" not in office.workers)
        other.join()  # it has been silent for as long
        again = other.next()
        assert (begun.number, begun.attempt) == (0, 1)
        assert (again.number, again.attempt, again.values) == (0, 2, begun.values)
        lost.finish(begun, Outcome("done", (9.0,)))
        assert read_search(run).trials[0].scores == (), "what the lost one says does not count"
        with lost.alive(begun) as goes_on:
            until(lambda: not goes_on())
        other.finish(again, Outcome("done", (SCORE,)))
        assert read_search(run).trials[0].scores == (SCORE,)


def test_signs_of_life_keep_a_trial(run, lines, monkeypatch):
    monkeypatch.setenv("TFAPP_WAIT_SECONDS", "1")
    with leading(run) as (_, office, port):
        worker = lines(port)
        worker.join()
        begun = worker.next()
        with worker.alive(begun) as goes_on:
            ends = time.monotonic() + 1.5
            while time.monotonic() < ends:
                office.drop_lost()
                time.sleep(0.02)
            assert goes_on()
        assert office.workers == ["tuner0"]


def test_a_trial_outlives_its_chief(run, lines):
    """Two trials run when the chief is gone: one is in its middle when the next comes, one ends."""
    with leading(run) as (_, _, port):
        one, two = lines(port), lines(port, "tuner1")
        one.join()
        two.join()
        first, second = one.next(), two.next()
    time.sleep(0.3)  # which they have to be seen to have lasted
    with one.alive(first) as goes_on, leading(run, port, grace=30.0) as (leader, office, _):
        until(lambda: office.workers == ["tuner0"])
        assert goes_on()
        two.finish(second, Outcome("done", (SCORE,)))
        third = two.next()
        assert third.number == 2, "none is begun again"
        assert goes_on()
        one.finish(first, Outcome("done", (1.0,)))
        two.finish(third, Outcome("done", (2.0,)))
        assert leader.search.state == "done"
    trials = read_search(run).trials
    assert [trial.scores for trial in trials] == [(1.0,), (SCORE,), (2.0,)]
    begun, ended = (
        {x["trial"]: x["at"] for x in read_journal(run) if x["event"] == event}
        for event in ("begin", "end")
    )
    for trial in trials:
        assert trial.seconds == pytest.approx(ended[trial.number] - begun[trial.number], abs=0.1)
    assert sorted(told(run)) == [
        *(("begin", number) for number in range(3)),
        *(("end", number) for number in range(3)),
    ]


def test_a_trial_that_nobody_claims_is_begun_again(run, lines):
    with leading(run) as (_, _, port):
        gone = lines(port)
        gone.join()
        gone.next()
    with leading(run, port, grace=0.2) as (_, _, _):
        worker = lines(port, "tuner1")
        worker.join()
        taken = [worker.next()]
        assert taken[0].number == 1, "the other may come back yet"
        until(lambda: taken.append(worker.next()) or taken[-1].number == 0)
        assert taken[-1].attempt == 2


def test_the_chief_of_another_search_gets_nothing(run, lines, tmp_path):
    with leading(run) as (_, _, port):
        worker = lines(port)
        worker.join()
        begun = worker.next()
    other = begin_search(CONFIG, runs=tmp_path / "others", name="search")
    with leading(other, port) as (leader, _, _):
        new = lines(port)
        assert new.join()["search"]
        assert new.next().number == begun.number, "the same name, trial and attempt"
        with worker.alive(begun) as goes_on:
            until(lambda: not goes_on())
        worker.finish(begun, Outcome("done", (SCORE,)))
        assert leader.trial(0).scores == ()
        with pytest.raises(MissingError, match="leads another search now"):
            worker.next()
        with pytest.raises(MissingError, match="leads another search now"):
            worker.join()
    assert read_search(run).trials[0].scores == ()


def test_two_processes_of_one_name_do_not_share_it(run, lines):
    with leading(run) as (_, _, port):
        first, second = lines(port), lines(port)
        first.join()
        begun = first.next()
        second.join()
        with first.alive(begun) as goes_on:
            until(lambda: not goes_on())
        with pytest.raises(UsageError, match=r"joined the search as tuner0. Give each a KERAS"):
            first.next()
        again = second.next()
        assert (again.number, again.attempt) == (begun.number, 2)


def test_a_stop_ends_all_waiting(run, lines):
    asked = []

    def stop() -> ExitCode | None:
        asked.append(time.monotonic())
        return ExitCode.TERMINATED if asked[-1] > asked[0] + 0.3 else None

    with leading(run) as (_, _, port):
        for number in range(3):
            busy = lines(port, f"tuner{number + 1}")
            busy.join()
            assert busy.next().number == number
        waiting = lines(port, stop=stop, patience=300.0)
        waiting.join()
        with pytest.raises(Interrupted, match="tuner0 was stopped; the others go on") as caught:
            waiting.next()  # there is no trial for it
        assert caught.value.exit_code == ExitCode.TERMINATED
        assert len(asked) > 2, "it has waited"
    asked.clear()
    with pytest.raises(Interrupted):
        waiting.join()  # there is no chief any more
    assert len(asked) > 2


def test_a_chief_that_does_not_answer_is_named(lines, run):
    with leading(run) as (_, _, port):
        pass
    line = lines(port, patience=0.2)
    with pytest.raises(MissingError, match=f"no chief has answered at 127.0.0.1:{port} for 0 s"):
        line.join()


def test_a_worker_finds_a_chief_that_comes_later(run, lines):
    with leading(run) as (_, _, port):
        pass
    line, answers = lines(port), []
    thread = threading.Thread(target=lambda: answers.append(line.join()))
    thread.start()
    with leading(run, port):
        thread.join(timeout=30)
    assert answers
    assert answers[0]["run"] == "search"


def test_a_proxy_for_the_web_is_not_asked(run, lines, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with leading(run) as (_, _, port):
        assert lines(port, patience=2.0).join()["run"] == "search"


def test_a_folder_that_is_not_the_chiefs_is_refused(run, tmp_path):
    with leading(run) as (_, office, _):
        identity = office.join({"worker": "tuner0", "instance": "x"})["search"]
    other = begin_search(CONFIG, runs=tmp_path / "others", name="search")
    for elsewhere in (other, Run(tmp_path / "nowhere")):
        with pytest.raises(MissingError, match="Put the runs where all machines see them"):
            check_same_search(elsewhere, identity)


def test_a_port_has_one_chief(run):
    with (
        leading(run) as (_, office, port),
        pytest.raises(UsageError, match=f"127.0.0.1:{port}: the port is in use.*ORACLE_PORT"),
        serve(office, "127.0.0.1", port),
    ):
        pass
