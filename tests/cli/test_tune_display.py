"""How a search is shown: lines in a pipe, one moving line on a terminal, JSON, nothing."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from tfapp.cli.tune_display import MovingLine, PlainLines, format_time
from tfapp.runs import Run
from tfapp.trials import Search, Trial, read_search
from tfapp.tuning.leader import Moment

RATE = "train.optimizer.learning_rate"
TRAINED = (
    *("--data", "iris", "--epochs", "1", "--optimizer", "sgd", "--batch-size", "36"),
    *("--set", "model.options.hidden=[4]", "--run", "mine"),
)
WORDS = (
    *("tune", "--algorithm", "grid", *TRAINED),
    *("--set", f"tune.space.{RATE}={{choice=[0.05,1e30,0.01]}}"),
)


@pytest.fixture
def moments() -> list[Moment]:
    """A search of four trials: two that end well, one that fails, one that runs."""
    search = Search(
        path=Path("runs/mine"),
        state="running",
        algorithm="random",
        objective="val_accuracy",
        direction="max",
        seed=0,
        wanted=4,
        executions=1,
        space={},
        trials=(),
    )
    trials = [Trial(number, {RATE: 0.5 / (number + 1), "model.hidden": [8]}) for number in range(4)]
    ends = [
        replace(trials[0], state="done", scores=(0.75,), seconds=1.25),
        replace(trials[1], state="done", scores=(0.9, 0.8), seconds=100.0),
        replace(trials[2], state="failed", reason="boom " * 50, seconds=0.5),
    ]
    steps = [
        (trials[0], (trials[0],), None),
        (ends[0], (ends[0], trials[1], trials[2]), 75.0),
        (ends[1], (ends[0], ends[1], trials[2]), 150.0),
        (ends[2], (*ends, trials[3]), 7200.0),
        (None, (*ends, trials[3]), None),
    ]
    return [Moment(replace(search, trials=told), trial, 4, left) for trial, told, left in steps]


def without_codes(text: str) -> list[str]:
    """The lines of what was drawn on a terminal."""
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text).replace("\r", "\n").splitlines()


def told(pairs: str, name: str) -> str:
    """What the list of `name  value` lines at the end says of a name."""
    return re.findall(rf"^{re.escape(name)} +(.*?) *$", pairs, re.MULTILINE)[-1]


def test_in_a_pipe_each_trial_that_ends_is_a_line(moments):
    console = Console(file=io.StringIO(), width=40, highlight=False, markup=False)
    show = PlainLines(console)
    for moment in moments:
        show(moment)
    show.note("a worker has ended")
    show.close()
    assert console.file.getvalue().splitlines() == [
        "trial 0000 done  val_accuracy 0.75  1.2 s  learning_rate=0.5 hidden=[8]"
        "  1/4 trials, 2 running  75 s left  best val_accuracy 0.75 (trial 0000)",
        "trial 0001 done  val_accuracy 0.85 ± 0.071  100.0 s  learning_rate=0.25 hidden=[8]"
        "  2/4 trials, 1 running  2 min left  best val_accuracy 0.85 ± 0.071 (trial 0001)",
        f"trial 0002 failed  {('boom ' * 50)[:117]}...  0.5 s  learning_rate=0.1667 hidden=[8]"
        "  3/4 trials, 1 running, 1 failed  2.0 h left"
        "  best val_accuracy 0.85 ± 0.071 (trial 0001)",
        "a worker has ended",
    ]


def test_on_a_terminal_one_line_moves_and_trials_stay_above_it(moments):
    console = Console(file=io.StringIO(), force_terminal=True, width=150, color_system=None)
    show = MovingLine(console)
    for moment in moments:
        show(moment)
    show.note("a worker has ended")
    show.close()
    written = console.file.getvalue()
    assert "\x1b[2K" in written, "a line is drawn over"
    drawn = without_codes(written)
    above = [line for line in drawn if line.startswith("trial ")]
    assert [line.split()[1] for line in above] == ["0000", "0001", "0002"]
    assert any(line.startswith("a worker has ended") for line in drawn)
    last = [line for line in drawn if line.strip()][-1]
    assert last.startswith("3/4 trials, 1 running, 1 failed")
    assert "best val_accuracy 0.85 ± 0.071 (trial 0001: learning_rate=0.25 hidden=[8])" in last


def test_the_moving_line_tells_the_time_left_and_is_never_longer_than_the_terminal(moments):
    console = Console(file=io.StringIO(), force_terminal=True, width=70, color_system=None)
    show = MovingLine(console)
    show(moments[0])
    show(moments[3])
    show.close()
    moving = [line for line in without_codes(console.file.getvalue()) if "/4 trials" in line]
    assert max(map(len, moving)) <= 70
    assert "2.0 h left" in moving[-1]
    assert moving[-1].rstrip().endswith("…"), "the values do not fit"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.2, "0 s"), (99.4, "99 s"), (100, "2 min"), (5940, "99 min"), (6000, "1.7 h")],
)
def test_times_are_for_people(seconds, shown):
    assert format_time(seconds) == shown


def test_a_search_in_a_pipe(cli):
    result = cli(*WORDS)
    assert result.code == 0, result.err
    *lines, after = result.err.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        *("trial 0000 done", "trial 0001 diverged", "trial 0002 done"),
    ]
    assert re.search(r"1/3 trials, 0 running  [\d.]+ \w+ left  best val_accuracy [\d.]+ ", lines[0])
    assert "is not finite" in lines[1]
    assert "2/3 trials, 0 running, 1 failed" in lines[1]
    assert after == "next: tfapp train --tune --resume runs/mine   or: tfapp report runs/mine"
    search = read_search(Run(Path("runs/mine")))
    pairs, _, table = result.out.partition("\nthe best of 3")
    assert (told(pairs, "run"), told(pairs, "search")) == ("runs/mine", "grid, done")
    assert told(pairs, "trials") == "2 done, 1 diverged"
    assert float(told(pairs, "best val_accuracy")) == pytest.approx(search.best.score, abs=1e-5)
    assert float(told(pairs, RATE)) == search.best.values[RATE]
    heading, *rows = [line.split() for line in table.splitlines() if line.strip()]
    assert heading == ["trial", "val_accuracy", "epochs", "seconds", "learning_rate"]
    assert [row[0] for row in rows] == [trial.name for trial in search.ranked()]
    assert [row[1] for row in rows][-1] == "diverged:"


def test_json_is_one_object_with_every_trial(cli):
    result = cli(*WORDS, "--json", "--quiet", "--executions", "2")
    assert result.code == 0, result.err
    assert result.err == "", "and quiet says nothing"
    assert result.out.count("\n") == 1
    found = json.loads(result.out)
    search = read_search(Run(Path("runs/mine")))
    assert found["schema_version"] == 1
    assert (found["path"], found["state"], found["algorithm"]) == ("runs/mine", "done", "grid")
    assert (found["objective"], found["direction"], found["executions"]) == (
        "val_accuracy",
        "max",
        2,
    )
    assert found["space"] == {RATE: {"choice": [0.05, 1e30, 0.01]}}
    assert [trial["values"][RATE] for trial in found["trials"]] == [0.05, 1e30, 0.01]
    for trial, known in zip(found["trials"], search.trials, strict=True):
        assert (trial["name"], trial["state"]) == (known.name, known.state)
        assert (trial["scores"], trial["score"]) == (list(known.scores), known.score)
        assert trial["spread"] == known.spread
    assert found["best"] == found["trials"][search.best.number]
    assert found["trials"][1]["score"] is None
    assert "is not finite" in found["trials"][1]["reason"]


def test_a_dry_run_shows_the_space_and_writes_nothing(cli, tmp_path):
    result = cli(*WORDS, "--dry-run")
    assert (result.code, result.err) == (0, "")
    parameters = (4 + 1) * 4 + (4 + 1) * 3
    assert told(result.out, "objective") == "val_accuracy, max"
    assert told(result.out, "trials") == "3"
    assert told(result.out, "parameters of the first") == str(parameters)
    assert told(result.out, RATE) == "choice 0.05, 1e+30, 0.01"
    plan = json.loads(cli(*WORDS, "--dry-run", "--json").out)
    assert (plan["trials"], plan["parameters"]) == (3, parameters)
    assert plan["config"]["tune"]["algorithm"] == "grid"
    assert list(tmp_path.iterdir()) == []


def test_a_search_and_the_training_of_its_best_in_one_command(cli):
    space = ("--set", f"tune={{algorithm='grid',space={{'{RATE}'={{choice=[0.05,0.01]}}}}}}")
    result = cli("train", "--tune", *TRAINED, *space, "--export", "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)
    run = Run(Path(found["path"]))
    search = read_search(run)
    assert (search.state, search.count("done")) == ("done", 2)
    assert f"training the best, trial {search.best.name}, into runs/mine" in result.err
    assert run.config().train.optimizer.learning_rate == search.best.values[RATE]
    assert (found["state"], found["epoch"]) == ("done", 1)
    assert 0 <= found["evaluation"]["metrics"]["accuracy"] <= 1
    assert (Path(found["exported"]["path"]) / "saved_model.pb").exists()
    again = cli("train", "--tune", "--resume", "mine")
    assert again.code == 2
    assert "is complete: 1 epochs are done" in again.err
