"""What `clean_runs` removes, and what it never does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from journals import ended, make_search

from tfapp.cleaning import clean_runs
from tfapp.config import Config
from tfapp.errors import ExitCode, MissingError, StorageError, UnknownName, UsageError
from tfapp.locks import hold
from tfapp.overview import list_runs
from tfapp.runs import Run, claim_run, find_run
from tfapp.trials import search_lock

DAY = 86400.0


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


def make(runs, name, state="done", *, days=0.0, size=0):
    """A run in a state whose files are so many days old; the later made is the newer."""
    run = claim_run(runs, Config(), name=name)
    run.write_json("status.json", {"state": state})
    (run.path / "samples.npz").write_bytes(b"x" * size)
    order = len(list(runs.iterdir()))
    for file in run.path.iterdir():
        os.utime(file, (0, time.time() - days * DAY + order * 0.001))
    return run


def checkpoint(run, step, best=None):
    folder = run.checkpoints / f"step-{step:09d}"
    folder.mkdir(parents=True)
    told = None if best is None else {"value": 0.5, "step": best}
    (folder / "state.json").write_text(json.dumps({"step": step, "best": told}))
    (folder / "variables.index").write_bytes(b"x" * 100)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def checkpoints_of(run):
    return [int(name.removeprefix("step-")) for name in names_in(run.checkpoints)]


def going(cleaning):
    return [removal.run for removal in cleaning.removals]


def tree(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_nothing_is_removed_until_it_is_said(runs):
    make(runs, "a", "failed", size=1000)
    make(runs, "b")
    before = tree(runs)
    shown = clean_runs(runs=runs, states=["failed"])
    assert (going(shown), shown.removed) == (["a"], False)
    assert tree(runs) == before
    done = clean_runs(runs=runs, states=["failed"], remove=True)
    assert (going(done), done.removed) == (["a"], True)
    assert names_in(runs) == ["b", "latest"]
    assert {path: text for path, text in before.items() if "/a/" not in str(path)} == tree(runs)


def test_the_space_that_is_told_is_that_of_all_files(runs):
    run = make(runs, "a", size=1000)
    (run.path / "plots").mkdir()
    (run.path / "plots" / "curves.svg").write_bytes(b"x" * 500)
    make(runs, "latest-one")
    expected = sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file())
    cleaning = clean_runs(["a"], runs=runs)
    assert cleaning.removals[0].size_bytes == cleaning.size_bytes == expected > 1500


def test_only_runs_in_a_state_go(runs):
    states = ("failed", "done", "diverged", "stopped early", "interrupted", "running", "other")
    for state in states:
        make(runs, state.replace(" ", "-"), state)
    (runs / "failed" / "status.json").write_text("{")
    assert going(clean_runs(runs=runs, states=["diverged", "stopped early"])) == [
        "stopped-early",
        "diverged",
    ]
    assert going(clean_runs(runs=runs, states=["killed"])) == ["running"]
    assert going(clean_runs(runs=runs, states=["damaged"])) == ["failed"]


def test_the_age_of_a_run_is_that_of_what_was_written_last(runs):
    make(runs, "old", days=40)
    gone_on = make(runs, "gone-on", days=40)
    (gone_on.path / "metrics.jsonl").write_text("")
    searched = make_search(runs, "searched", [ended({}, 0.5)])
    os.utime(searched.path / "config.toml", (0, 0))
    make(runs, "young", days=3)
    cleaning = clean_runs(runs=runs, older_than="30d")
    assert going(cleaning) == ["old"]
    assert cleaning.removals[0].idle_seconds == pytest.approx(40 * DAY, abs=60)
    assert going(clean_runs(runs=runs, older_than="960h", states=["done"])) == ["old"]
    assert going(clean_runs(runs=runs, older_than="41d")) == []


def test_the_newest_runs_stay(runs):
    for name in ("a", "b", "c", "d"):
        make(runs, name, "failed")
    make(runs, "e")
    assert going(clean_runs(runs=runs, keep=2)) == ["c", "b", "a"]
    assert going(clean_runs(runs=runs, keep=2, states=["failed"])) == ["c", "b", "a"]
    assert going(clean_runs(["a", "d"], runs=runs, keep=2)) == ["a"]
    assert going(clean_runs(runs=runs, keep=9)) == []


def test_named_runs_go_once(runs, tmp_path):
    make(runs, "a")
    make(tmp_path / "elsewhere", "b")
    make(runs, "c")
    names = ["a", runs / "a", tmp_path / "elsewhere" / "b"]
    assert going(clean_runs(names, runs=runs, remove=True)) == ["a", "b"]
    assert names_in(runs) == ["c", "latest"]
    assert names_in(tmp_path / "elsewhere") == [], "nor is a link left that leads nowhere"


def test_the_latest_stays_unless_it_is_named(runs):
    for name in ("a", "b", "c"):
        make(runs, name, "failed")
    cleaning = clean_runs(runs=runs, states=["failed"], remove=True)
    assert going(cleaning) == ["b", "a"]
    assert [(one.run, "latest" in one.reason) for one in cleaning.spared] == [("c", True)]
    make(runs, "d")
    make(runs, "e")
    assert going(clean_runs(["latest"], runs=runs, remove=True)) == ["e"]
    assert find_run("latest", runs).name == "d"
    clean_runs(["d", "c"], runs=runs, remove=True)
    assert names_in(runs) == []


@pytest.mark.parametrize("lock", ["training", "search", "trial"])
def test_a_run_that_is_worked_on_is_never_touched(runs, lock):
    run = make_search(runs, "mine", [ended({}, 0.5)], over="failed")
    trial = claim_run(run.path / "tune", Config(), name="0000")
    make(runs, "other", "failed")
    make(runs, "newest")
    held = {"training": run.lock, "search": search_lock(run), "trial": trial.lock}[lock]
    with hold(held):
        before = tree(run.path)
        cleaning = clean_runs(runs=runs, keep=1, remove=True)
        assert going(cleaning) == ["other"]
        assert cleaning.spared[0].run == "mine"
        assert "being trained or searched" in cleaning.spared[0].reason
        with pytest.raises(UsageError, match="mine is being trained or searched; nothing was"):
            clean_runs(["newest", "mine"], runs=runs, remove=True)
        assert tree(run.path) == before
    assert (runs / "newest").exists()
    assert going(clean_runs(["mine"], runs=runs, remove=True)) == ["mine"]


def test_a_run_whose_training_begins_meanwhile_stays(runs, monkeypatch):
    run = make(runs, "mine", "failed")
    make(runs, "other", "failed")
    make(runs, "newest")
    monkeypatch.setattr("tfapp.cleaning.is_held", lambda path: False)
    with hold(run.lock):
        cleaning = clean_runs(runs=runs, states=["failed"], remove=True)
    assert going(cleaning) == ["other"]
    assert [spared.run for spared in cleaning.spared] == ["mine"]
    assert find_run("mine", runs) == run


def test_what_is_no_run_is_never_touched(runs, tmp_path):
    make(runs, "a", "failed")
    aside = make(tmp_path / "disk", "linked", "failed")
    (runs / "mine").mkdir()
    (runs / "mine" / "notes.txt").write_text("kept")
    (runs / "notes.txt").write_text("kept")
    (runs / "linked").symlink_to(aside.path)
    make(runs, "newest")
    cleaning = clean_runs(runs=runs, states=["failed"], remove=True)
    assert going(cleaning) == ["a"]
    assert [spared.reason for spared in cleaning.spared] == ["it is a link"]
    assert names_in(runs) == ["latest", "linked", "mine", "newest", "notes.txt"]
    assert (runs / "linked" / "config.toml").exists()
    with pytest.raises(UsageError, match="is not a run directory"):
        clean_runs(["mine"], runs=runs, remove=True)


def test_a_trial_is_not_taken_out_of_its_search(runs):
    run = make_search(runs, "mine", [ended({}, 0.5)])
    trial = claim_run(run.path / "tune", Config(), name="0000")
    with pytest.raises(UsageError, match="is a trial, of which the journal of its search tells"):
        clean_runs([trial.path], runs=runs, remove=True)
    assert trial.path.exists()


def test_of_checkpoints_the_best_and_the_last_stay(runs):
    run = make(runs, "mine")
    for step in (10, 20, 30, 40):
        checkpoint(run, step, best=20)
    run.write_json("status.json", {"state": "done", "best": {"value": 0.5, "step": 20}})
    for name in ("damaged-step-000000005", ".old-step-000000005.1"):
        (run.checkpoints / name).mkdir()
    (run.checkpoints / "notes").mkdir()
    make(runs, "newest")
    cleaning = clean_runs(runs=runs, checkpoints=True, remove=True)
    assert [(found.run, found.what, len(found.paths)) for found in cleaning.removals] == [
        ("mine", "checkpoints", 4)
    ]
    assert names_in(run.checkpoints) == ["notes", "step-000000020", "step-000000040"]
    assert (run.path / "config.toml").exists()
    assert going(clean_runs(runs=runs, checkpoints=True)) == []


@pytest.mark.parametrize("state", ["interrupted", "killed", "failed", "diverged"])
def test_checkpoints_of_a_run_that_can_go_on_stay(runs, state):
    run = make(runs, "mine", state)
    for step in (10, 20, 30):
        checkpoint(run, step, best=10)
    make(runs, "newest")
    assert going(clean_runs(runs=runs, checkpoints=True, remove=True)) == []
    assert checkpoints_of(run) == [10, 20, 30]


@pytest.mark.parametrize("damage", ["{", "[]", "{}", '{"best": {"step"', None])
def test_where_the_best_is_not_known_all_checkpoints_stay(runs, damage):
    run = make(runs, "mine")
    for step in (10, 20, 30):
        checkpoint(run, step, best=10)
    file = run.checkpoints / "step-000000030" / "state.json"
    file.unlink() if damage is None else file.write_text(damage)
    assert going(clean_runs(["mine"], runs=runs, checkpoints=True, remove=True)) == []
    assert checkpoints_of(run) == [10, 20, 30]


def test_a_run_loads_as_before_without_its_superfluous_checkpoints(digits_run):
    from tfapp.training.checkpoints import Checkpoints
    from tfapp.training.restore import load_trained

    checkpoints = Checkpoints(digits_run.checkpoints)
    best, newest, steps = checkpoints.best(), checkpoints.newest(), checkpoints.steps()
    spare = next(step for step in range(1, 99) if step not in steps)
    shutil.copytree(checkpoints.path(best), checkpoints.path(spare))
    clean_runs([digits_run.path], checkpoints=True, remove=True)
    assert checkpoints.steps() == sorted({best, newest})
    assert load_trained(digits_run).step == best


def test_checkpoints_of_trials_go_too(runs):
    run = make_search(runs, "mine", [ended({}, 0.5), ended({}, 0.25), {"values": {}}])
    trials = []
    for number, state in enumerate(("done", "paused", "running")):
        trials.append(make(run.path / "tune", f"{number:04d}", state))
        for step in (10, 20, 30):
            checkpoint(trials[-1], step, best=10)
    make(runs, "newest")
    assert going(clean_runs(runs=runs, checkpoints=True, remove=True)) == ["mine"]
    assert [checkpoints_of(trial) for trial in trials] == [[10, 30], [10, 30], [10, 20, 30]]
    for step in (15, 25):
        checkpoint(trials[0], step, best=10)
    with hold(search_lock(run)), pytest.raises(UsageError, match="being trained or searched"):
        clean_runs([trials[0].path], runs=runs, checkpoints=True)
    assert going(clean_runs([trials[0].path], runs=runs, checkpoints=True, remove=True)) == ["0000"]
    assert checkpoints_of(trials[0]) == [10, 30]


def test_a_kill_in_the_middle_leaves_no_half_of_a_run(runs):
    make(runs, "mine", "failed")
    make(runs, "newest")
    script = (
        "import os, shutil, sys\n"
        "from tfapp.cleaning import clean_runs\n"
        "def killed(path):\n"
        "    (path / 'samples.npz').unlink()\n"
        "    os.kill(os.getpid(), 9)\n"
        "shutil.rmtree = killed\n"
        "clean_runs(runs=sys.argv[1], states=['failed'], remove=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(runs)])
    assert done.returncode == -9
    (left,) = (name for name in names_in(runs) if name not in ("newest", "latest"))
    assert left.startswith(".removed-mine.")
    assert [run.name for run in list_runs(runs)] == ["newest"]
    with pytest.raises(MissingError):
        find_run("mine", runs)
    cleaning = clean_runs(runs=runs, states=["failed"], remove=True)
    assert [(found.run, found.state) for found in cleaning.removals] == [("mine", "removed")]
    assert names_in(runs) == ["latest", "newest"]


def test_what_another_process_is_removing_is_left_to_it(runs):
    make(runs, "mine", "failed").path.rename(runs / f".removed-mine.{os.getpid()}")
    make(runs, "newest")
    assert going(clean_runs(runs=runs, states=["failed"], remove=True)) == []
    assert (runs / f".removed-mine.{os.getpid()}").exists()


def test_a_disk_that_refuses_is_told(runs, monkeypatch):
    run = make(runs, "mine", "failed")
    make(runs, "newest")
    before = tree(run.path)

    def refuse(path, target):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StorageError) as caught:
        clean_runs(runs=runs, states=["failed"], remove=True)
    assert f"cannot remove {run.path}: Permission denied" in str(caught.value)
    assert caught.value.exit_code == ExitCode.FAILED
    after = tree(run.path)
    assert {path: after[path] for path in before} == before


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({}, UsageError, "nothing was chosen to remove"),
        ({"states": ["faild"]}, UnknownName, "Did you mean 'failed'"),
        ({"states": ["running"]}, UnknownName, "no state of a run that can be removed"),
        ({"older_than": "30"}, UsageError, "--older-than: expected a time with its unit"),
        ({"names": ["other"]}, MissingError, "no run 'other'"),
    ],
)
def test_what_cannot_be_meant_is_refused(runs, given, error, said):
    make(runs, "mine", "failed")
    with pytest.raises(error, match=said):
        clean_runs(runs=runs, remove=True, **given)
    assert Run(runs / "mine").path.exists()


def test_without_runs_there_is_nothing_to_remove(tmp_path):
    cleaning = clean_runs(runs=tmp_path / "nowhere", keep=1, remove=True)
    assert (cleaning.removals, cleaning.spared, cleaning.size_bytes) == ((), (), 0)
