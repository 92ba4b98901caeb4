"""`tfapp runs` as typed: searches in lists and reports, and what cleaning says."""

from __future__ import annotations

import json
import os
import time

import pytest
from journals import ended, make_search

from tfapp.config import Config
from tfapp.errors import ExitCode
from tfapp.locks import hold
from tfapp.runs import claim_run

RATE = "train.optimizer.learning_rate"
HIDDEN = "model.options.hidden"
TRIALS = [
    ended({RATE: 0.1, HIDDEN: [8]}, 0.5),
    ended({RATE: 0.01, HIDDEN: [16, 8]}, 0.9),
    ended({RATE: 0.001}, reason="it raised"),
]


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


def make(runs, name, state="done", days=0.0):
    run = claim_run(runs, Config(), name=name)
    run.write_json("status.json", {"state": state, "step": 9, "monitor": "val_loss"})
    (run.path / "samples.npz").write_bytes(b"x" * 2_000_000)
    for file in run.path.iterdir():
        os.utime(file, (0, time.time() - days * 86400))
    return run


def cells(out):
    """The words of each line of a table."""
    return [line.split() for line in out.splitlines()]


def test_a_list_tells_searches_from_trainings(cli, runs):
    make(runs, "trained", days=1)
    make_search(runs, "searched", TRIALS)
    header, searched, trained = cells(cli("runs", "list").out)
    assert header[-3:] == ["best", "seconds", "trials"]
    assert searched == [
        *("searched", "searched", "mlp", "digits", "-", "-"),
        *("val_accuracy", "0.9", "7", "2"),
    ]
    assert trained == ["trained", "done", "mlp", "digits", "0", "9", "val_loss", "-", "0", "-"]
    listed = json.loads(cli("runs", "list", "--json").out)["runs"]
    assert [(run["name"], run["trials"]) for run in listed] == [("searched", 2), ("trained", None)]


def test_without_a_search_a_list_has_no_column_for_it(cli, runs):
    make(runs, "trained")
    assert cells(cli("runs", "list").out)[0][-1] == "seconds"


def test_a_search_is_shown_with_its_trials_the_best_first(cli, runs):
    make_search(runs, "mine", TRIALS)
    out = cli("runs", "show", "mine", "--quiet").out
    assert "searched, random: 2 of 3 trials done, 1 failed" in out
    assert "best val_accuracy  0.9 in trial 1" in out
    table = out.split("\n\n")[1]
    assert [line[:2] for line in cells(table)[1:]] == [
        ["0001", "done"],
        ["0000", "done"],
        ["0002", "failed"],
    ]
    assert "[16, 8]" in table.splitlines()[1]
    assert "train.epochs" not in table.splitlines()[1]
    assert "seed" in cli("runs", "show", "mine").out


def test_executions_are_shown_by_mean_and_spread(cli, runs):
    make_search(runs, "mine", [ended({RATE: 0.1}, 0.5, 0.7)], executions=2)
    header, row = cells(cli("runs", "show", "mine", "--quiet").out.split("\n\n")[1])
    assert header[:4] == ["trial", "state", "val_accuracy", "spread"]
    # The standard deviation of two values is their distance by the root of 2.
    assert [float(value) for value in row[2:4]] == [0.6, pytest.approx(0.2 / 2**0.5, rel=1e-5)]


def test_of_many_trials_the_best_ten_are_shown(cli, runs):
    make_search(runs, "mine", [ended({RATE: 0.1}, n / 100) for n in range(30)])
    result = cli("runs", "show", "mine")
    table = result.out.split("\n\n")[1]
    assert [line[0] for line in cells(table)[1:]] == [f"{n:04d}" for n in range(29, 19, -1)]
    assert "the best 10 of 30 trials; all with --json" in result.err
    search = json.loads(cli("runs", "show", "mine", "--json").out)["search"]
    assert [trial["number"] for trial in search["trials"]] == list(range(29, -1, -1))


def test_a_search_as_json_can_be_read_by_programs(cli, runs):
    run = make_search(runs, "mine", TRIALS)
    found = json.loads(cli("runs", "show", "mine", "--json").out)
    assert found["summary"]["state"] == "searched"
    search = found["search"]
    assert (search["objective"], search["direction"], search["state"]) == (
        "val_accuracy",
        "max",
        "done",
    )
    assert search["space"][RATE] == {"float": [0.0001, 0.1], "log": True}
    best = search["trials"][0]
    assert (best["score"], best["values"]) == (0.9, TRIALS[1]["values"])
    assert best["path"] == str(run.path.relative_to(runs.parent) / "tune" / "0001")
    make(runs, "trained")
    assert json.loads(cli("runs", "show", "trained", "--json").out)["search"] is None


def test_trials_are_compared_by_their_paths(cli, runs):
    for name in ("one", "two"):
        run = make_search(runs, name, TRIALS)
        config = Config(seed=len(name), train={"optimizer": {"learning_rate": len(name[1:]) / 8}})
        claim_run(run.path / "tune", config, name="0000")
    claim_run(run.path / "tune", Config(seed=5), name="0001")
    header, *rows = cells(cli("runs", "compare", "two/tune/0000", "two/tune/0001").out)
    assert header == ["0000", "0001"]
    assert [RATE, "0.25", "-"] in rows and ["seed", "3", "5"] in rows
    header, *_ = cells(cli("runs", "compare", "runs/one/tune/0000", "two/tune/0000").out)
    assert header == ["runs/one/tune/0000", "two/tune/0000"], "two of one name are told apart"
    rows = cells(cli("runs", "compare", "one", "two/tune/0000").out)
    assert ["trials", "2", "-"] in rows


def test_cleaning_shows_first_and_then_does(cli, runs):
    make(runs, "old", "failed", days=45)
    make(runs, "young", "failed", days=3)
    make(runs, "newest", "failed")
    words = ("runs", "clean", "--state", "failed, killed", "--older-than", "30d")
    shown = cli(*words)
    assert shown.code == 0
    assert cells(shown.out)[1] == ["old", "failed", "45.0", "all", "of", "it", "2"]
    assert shown.err == "nothing was removed yet. To free 2 MB, add --yes\n"
    assert (runs / "old").exists()
    done = cli(*words, "--yes")
    assert done.out == shown.out
    assert done.err == "removed; 2 MB are free again\n"
    assert sorted(path.name for path in runs.iterdir()) == ["latest", "newest", "young"]
    again = cli(*words, "--yes")
    assert (again.code, again.out, again.err) == (0, "", "nothing to remove\n")


def test_cleaning_says_which_runs_stay_and_why(cli, runs):
    busy = make(runs, "busy", "failed")
    make(runs, "newest", "failed")
    with hold(busy.lock):
        result = cli("runs", "clean", "--state", "failed", "--yes")
        assert result.code == 0
        assert "newest stays: it is the latest; name it to remove it\n" in result.err
        assert "busy stays: it is being trained or searched\n" in result.err
        named = cli("runs", "clean", "busy", "--yes")
        assert named.code == ExitCode.USAGE
        assert named.err.startswith("error: run busy is being trained or searched")
    assert cli("runs", "clean", "--state", "failed", "-q").err == ""


def test_cleaning_as_json(cli, runs):
    make(runs, "old", "failed")
    make(runs, "newest")
    shown = json.loads(cli("runs", "clean", "old", "--json").out)
    assert (shown["schema_version"], shown["removed"]) == (1, False)
    (removal,) = shown["removals"]
    assert (removal["run"], removal["what"]) == ("old", "run")
    assert removal["path"] == "runs/old"
    assert shown["size_bytes"] == removal["size_bytes"] > 2_000_000
    assert json.loads(cli("runs", "clean", "old", "--json", "--yes").out)["removed"]
    assert not (runs / "old").exists()


def test_checkpoints_are_named(cli, runs):
    run = make(runs, "mine")
    for step in (10, 20):
        folder = run.checkpoints / f"step-{step:09d}"
        folder.mkdir(parents=True)
        (folder / "state.json").write_text('{"best": {"step": 20}}')
    make(runs, "newest")
    result = cli("runs", "clean", "--checkpoints", "--yes")
    assert "step-000000010" in result.out
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-000000020"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), ExitCode.USAGE, ("nothing was chosen", "--older-than 30d")),
        (("--yes",), ExitCode.USAGE, ("nothing was chosen",)),
        (("--state", "faild"), ExitCode.USAGE, ("named 'faild'", "Did you mean 'failed'")),
        (("--state", ""), ExitCode.USAGE, ("named ''", "Known: damaged")),
        (("--state", "running"), ExitCode.USAGE, ("that can be removed named 'running'",)),
        (("--older-than", "30"), ExitCode.USAGE, ("--older-than", "30m", "found '30'")),
        (("--older-than", "-1d"), ExitCode.USAGE, ("--older-than", "found '-1d'")),
        (("--older-than", ""), ExitCode.USAGE, ("--older-than", "found ''")),
        (("--keep", "0"), ExitCode.USAGE, ("--keep", "x>=1")),
        (("--keep", "few"), ExitCode.USAGE, ("--keep", "'few'")),
        (("mien",), ExitCode.MISSING, ("no run 'mien'", "Did you mean 'mine'")),
        (("mine", "nothing"), ExitCode.MISSING, ("no run 'nothing'",)),
        (("folder",), ExitCode.USAGE, ("is not a run directory",)),
        (("mine/tune/0000",), ExitCode.USAGE, ("is a trial", "--checkpoints")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_meant_is_refused(cli, runs, words, code, said):
    run = make_search(runs, "mine", TRIALS)
    claim_run(run.path / "tune", Config(), name="0000")
    make(runs, "newest")
    (runs / "folder").mkdir()
    result = cli("runs", "clean", *words, "--yes")
    assert result.code == code, result.err
    assert result.err.startswith("error: ")
    assert result.err.count("error: ") == 1
    for part in said:
        assert part in result.err
    assert {path.name for path in runs.iterdir()} == {"mine", "newest", "folder", "latest"}
