from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfapp.errors import ExitCode, MissingError, UsageError
from tfapp.locks import hold
from tfapp.runs import Run
from tfapp.space import Hyperparameter
from tfapp.trials import (
    Search,
    Trial,
    config_file,
    has_search,
    journal_of,
    read_journal,
    read_search,
    search_lock,
)

Line = dict[str, Any]
Write = Callable[..., Run]

SEARCH: Line = {
    "event": "search",
    "at": 0,
    "format": 1,
    "algorithm": "random",
    "objective": "val_loss",
    "direction": "min",
    "seed": 7,
    "trials": 20,
    "executions": 2,
    "space": {"train.epochs": {"int": [1, 3]}, "model.options.x": {"choice": [[1], "a"]}},
}


def session(trials: int | None = 20, *, at: float = 0) -> Line:
    return {"event": "session", "at": at, "trials": trials}


def begin(trial: int, *, at: float = 0, **rest: Any) -> Line:
    plain = {
        "values": {"train.epochs": 2},
        "epochs": 2,
        "first_epoch": 0,
        "parent": None,
        "bracket": None,
        "worker": "tuner0",
        "attempt": 1,
    }
    return {"event": "begin", "at": at, "trial": trial, **plain, **rest}


def end(trial: int, *scores: float, at: float = 0, **rest: Any) -> Line:
    plain = {"state": "done", "best_epoch": 1, "seconds": 2.5, "reason": ""}
    return {"event": "end", "at": at, "trial": trial, "scores": list(scores), **plain, **rest}


def over(state: str = "done", reason: str = "", *, at: float = 0) -> Line:
    return {"event": "over", "at": at, "state": state, "reason": reason}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a journal of these lines, behind the first one."""

    def write_lines(*lines: Line | str, **search: Any) -> Run:
        run = Run(tmp_path / "mine")
        journal_of(run).parent.mkdir(parents=True, exist_ok=True)
        texts = [
            x if isinstance(x, str) else json.dumps(x) + "\n" for x in (SEARCH | search, *lines)
        ]
        journal_of(run).write_text("".join(texts), encoding="utf-8")
        return run

    return write_lines


def scored(direction: str, *scores: float | None) -> Search:
    return Search(
        path=Path("runs/mine"),
        state="done",
        algorithm="random",
        objective="value",
        direction=direction,  # type: ignore[arg-type]
        seed=0,
        wanted=None,
        executions=1,
        space={},
        trials=tuple(
            Trial(
                n,
                {},
                state="failed" if score is None else "done",
                scores=() if score is None else (score,),
            )
            for n, score in enumerate(scores)
        ),
    )


def test_what_a_journal_says_is_read(write: Write):
    run = write(
        session(),
        begin(0, values={"train.epochs": 3, "model.options.x": [1]}, epochs=3),
        end(0, 0.25, 0.5, best_epoch=2, seconds=7.5),
        begin(1, bracket=[2, 1], parent=0, first_epoch=1, worker="tuner1", attempt=2),
        end(1, state="failed", reason="ValueError: no", best_epoch=0),
        over("done"),
    )
    search = read_search(run)
    assert search.path == run.path
    assert search.run == run
    facts = (search.state, search.algorithm, search.objective, search.direction)
    assert facts == ("done", "random", "val_loss", "min")
    assert (search.seed, search.wanted, search.executions) == (7, 20, 2)
    assert search.space == {
        "train.epochs": Hyperparameter.model_validate({"int": [1, 3]}),
        "model.options.x": Hyperparameter.model_validate({"choice": [[1], "a"]}),
    }
    assert search.trials == (
        Trial(
            number=0,
            values={"train.epochs": 3, "model.options.x": [1]},
            state="done",
            scores=(0.25, 0.5),
            epochs=3,
            best_epoch=2,
            seconds=7.5,
            worker="tuner0",
        ),
        Trial(
            number=1,
            values={"train.epochs": 2},
            state="failed",
            epochs=2,
            first_epoch=1,
            parent=0,
            bracket=(2, 1),
            seconds=2.5,
            worker="tuner1",
            attempts=2,
            reason="ValueError: no",
        ),
    )


@pytest.mark.parametrize("state", ["done", "out of time", "interrupted", "failed"])
def test_the_last_line_says_where_the_search_stands(write: Write, state: str):
    search = read_search(write(session(), over(state, "so it was")))
    assert (search.state, search.reason) == (state, "so it was")


def test_states_of_trials(write: Write):
    run = write(
        session(),
        *(begin(n) for n in range(5)),
        end(0, 0.5),
        end(1, state="failed", reason="no"),
        end(2, state="diverged", reason="NaN"),
        end(3, state="stopped", reason="Ctrl-C"),
    )
    search = read_search(run)
    states = [trial.state for trial in search.trials]
    assert states == ["done", "failed", "diverged", "stopped", "running"]
    assert search.count("done") == 1
    assert search.count("failed", "diverged", "running") == 3
    assert search.count() == 0


def test_a_trial_that_is_begun_again_is_as_it_was_begun_last(write: Write):
    run = write(
        session(),
        begin(0),
        begin(1),
        end(0, state="stopped", reason="Ctrl-C"),
        session(),
        begin(0, worker="tuner1", attempt=2),
        begin(1, attempt=2),
        end(1, 0.5),
    )
    first, second = read_search(run).trials
    assert (first.state, first.reason, first.worker, first.attempts) == ("running", "", "tuner1", 2)
    assert (second.state, second.scores, second.attempts) == ("done", (0.5,), 2)


def test_trials_stand_in_the_order_of_their_numbers(write: Write):
    run = write(session(), begin(2), begin(0), begin(1), end(1, 0.5))
    assert [trial.number for trial in read_search(run).trials] == [0, 1, 2]


def test_who_says_running_but_holds_no_lock_was_killed(write: Write):
    run = write(session(), begin(0))
    assert read_search(run).state == "killed"
    with hold(search_lock(run)):
        assert read_search(run).state == "running"
    assert read_search(run).state == "killed"


def test_a_search_that_has_ended_was_not_killed(write: Write):
    assert read_search(write(session(), over())).state == "done"


def test_a_search_that_goes_on_runs_again_with_its_new_number_of_trials(write: Write):
    run = write(session(3), over("interrupted", "Ctrl-C"), session(None))
    with hold(search_lock(run)):
        search = read_search(run)
    assert (search.state, search.reason, search.wanted) == ("running", "", None)


def test_time_is_that_of_the_sessions(write: Write):
    run = write(
        session(at=10),
        begin(0, at=11),
        end(0, 0.5, at=31),
        begin(1, at=31.5),  # and then it was killed
        session(at=1000),
        begin(1, at=1002, attempt=2),
        end(1, 0.5, at=1012.25),
        over(at=1013),
    )
    assert read_search(run).seconds == pytest.approx((31.5 - 10) + (1013 - 1000))


def test_the_best_is_the_greatest_or_the_least():
    assert scored("max", 0.25, 0.75, 0.5).best == scored("max", 0.25, 0.75, 0.5).trials[1]
    assert scored("min", 0.5, 0.75, 0.25).best == scored("min", 0.5, 0.75, 0.25).trials[2]
    negative = scored("max", -3.0, -1.0, None, -2.0).best
    assert negative is not None
    assert negative.number == 1
    zero = scored("min", 0.0, -1.0, 1.0).best
    assert zero is not None
    assert zero.number == 1


def test_without_a_score_nothing_is_best():
    assert scored("max").best is None
    assert scored("max", None, None).best is None


@pytest.mark.parametrize(
    ("direction", "order"), [("max", [1, 4, 3, 0, 2, 5]), ("min", [0, 3, 1, 4, 2, 5])]
)
def test_of_equal_trials_the_earlier_is_better(direction: str, order: list[int]):
    search = scored(direction, 0.25, 0.75, None, 0.5, 0.75, None)
    assert [trial.number for trial in search.ranked()] == order
    assert search.best == search.trials[order[0]]


def test_score_and_spread_of_several_executions(write: Write):
    scores = [0.91, 0.87, 0.89]
    run = write(session(), begin(0), end(0, *scores), begin(1), end(1, 0.9), begin(2))
    several, one, none = read_search(run).trials
    assert several.score == pytest.approx(statistics.mean(scores))
    assert several.spread == pytest.approx(statistics.stdev(scores))
    assert (one.score, one.spread) == (0.9, None)
    assert (none.score, none.spread) == (None, None)


def test_where_the_run_of_a_trial_is():
    search = scored("max", *[0.5] * 12)
    assert search.run_of(search.trials[11]).path == Path("runs/mine/tune/0011")
    assert search.run_of(search.trials[11], 1).path == Path("runs/mine/tune/0011-2")
    assert search.trials[11].name == "0011"


def test_a_run_without_a_search(tmp_path: Path):
    run = Run(tmp_path / "mine")
    assert not has_search(run)
    with pytest.raises(MissingError) as caught:
        read_search(run)
    assert str(caught.value) == (
        f"run mine has no search: there is no {journal_of(run)}. Make one with tfapp tune, or with"
        " tfapp train --tune."
    )
    assert caught.value.exit_code == ExitCode.MISSING


def test_a_run_with_a_search(write: Write):
    run = write()
    assert has_search(run)
    assert config_file(run).parent == journal_of(run).parent
    search = read_search(run)
    assert (search.state, search.trials, search.seconds) == ("killed", (), 0)


@pytest.mark.parametrize(
    "rest", ["{", '{"event": "end", "trial": 0, "sco', '{"event": "over"', "\x00" * 20, "12"]
)
def test_half_a_last_line_is_left_out(write: Write, rest: str):
    run = write(session(), begin(0), rest)
    assert [line["event"] for line in read_journal(run)] == ["search", "session", "begin"]
    assert read_search(run).trials[0].state == "running"


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["{nonsense}\n", session()], "line 2 is damaged"),
        ([session(), "\n", begin(0), end(0, 0.5)], "line 3 is damaged"),
        ([session(), "\x00\x00\n", begin(0)], "line 3 is damaged"),
        ([session(), "[1, 2]\n", begin(0)], "line 3 is damaged"),
        ([session(), end(3, 0.5)], "a line lacks what belongs there, KeyError(3)"),
        (
            [session(), {"event": "begin", "at": 0, "trial": 0}],
            "a line lacks what belongs there, KeyError('parent')",
        ),
        ([session(), {"at": 0}], "a line lacks what belongs there, KeyError('event')"),
    ],
)
def test_a_damaged_journal_is_refused(write: Write, lines: list[Line | str], why: str):
    run = write(*lines)
    with pytest.raises(UsageError) as caught:
        read_search(run)
    assert str(caught.value) == (
        f"{journal_of(run)} is no journal of a search that this version of tfapp can read: {why}."
        " Restore it from a copy, or search into another folder, with --run NAME."
    )
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    "text",
    ["", "\n", "words\n", "{}\n", "[]\n", '{"event": "session", "at": 0, "trials": 1}\n', "\xff"],
)
def test_a_foreign_file_is_refused(write: Write, text: str):
    run = write()
    journal_of(run).write_text(text, encoding="latin-1")
    with pytest.raises(UsageError, match="it does not begin as this version's do"):
        read_search(run)


def test_a_journal_of_a_later_version_is_refused(write: Write):
    with pytest.raises(UsageError, match="it does not begin as this version's do"):
        read_search(write(session(), format=2))


def test_the_command_says_so(write: Write, cli: Callable[..., Any]):
    run = write(session(), format=2)
    (run.path / "config.toml").touch()
    result = cli("tune", "--resume", run.path)
    assert (result.code, result.out) == (ExitCode.USAGE, "")
    assert result.err.startswith(f"error: {journal_of(run)} is no journal of a search that")
