"""Searches in this process, of trainings that last a second."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfapp.config import load_config
from tfapp.errors import ExitCode, Interrupted, TfappError, UsageError
from tfapp.evaluation import evaluate_run
from tfapp.locks import hold
from tfapp.runs import Run, find_run, summarize_run
from tfapp.training.resume import resume_training
from tfapp.training.train import train_model
from tfapp.trials import Search, read_journal, read_search, search_lock
from tfapp.tuning.best import train_best
from tfapp.tuning.search import plan_search, resume_search, tune_model

# 108 training examples: 3 steps an epoch.
IRIS = {
    "data.source": "iris",
    "data.batch_size": 36,
    "model.options": {"hidden": [4], "dropout": 0.2},
    "train.epochs": 2,
    "train.loop": "streaming",
    "tune.objective": "val_loss",
    "tune.trials": 3,
    "tune.space": {
        "train.optimizer.learning_rate": {"float": [1e-3, 1e-1], "log": True},
        "model.options.hidden": {"choice": [[4], [8]]},
    },
}


def config_of(**more):
    return load_config(overrides=IRIS | more)


def results(search: Search) -> list[tuple]:
    """What must not depend on when, where and in how many sessions a search was run."""
    return [(t.number, t.values, t.state, t.scores, t.best_epoch) for t in search.trials]


def files(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def variables(run: Run, step: int) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(run.checkpoints / f"step-{step:09d}" / "variables"))
    keys = [key for key in reader.get_variable_to_shape_map() if "VARIABLE_VALUE" in key]
    return {key: reader.get_tensor(key) for key in keys}


def epochs_of(run: Run, value: str) -> list[float]:
    """The values of each epoch, as the run has written them down."""
    split, _, name = value.rpartition("_")
    written = {"val": "validation", "": "train"}[split]
    return [row[name] for row in run.metrics() if row["split"] == written]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Search:
    """A search that nothing disturbed; not to be changed."""
    return tune_model(config_of(), runs=tmp_path_factory.mktemp("runs"), name="whole")


@pytest.fixture
def searched(whole, tmp_path) -> Run:
    """A copy of it."""
    return Run(Path(shutil.copytree(whole.path, tmp_path / "runs" / "whole", symlinks=True)))


class Stopper:
    """Asks for a stop as soon as a trial runs."""

    def __init__(self, number: int) -> None:
        self.number, self.reached = number, False

    def watch(self, moment) -> None:
        trial = moment.trial
        if trial is not None and (trial.number, trial.state) == (self.number, "running"):
            self.reached = True

    def stop(self) -> ExitCode | None:
        return ExitCode.TERMINATED if self.reached else None


@pytest.fixture(scope="module")
def _stopped(tmp_path_factory) -> Path:
    folder, stopper = tmp_path_factory.mktemp("stopped"), Stopper(1)
    with pytest.raises(Interrupted) as caught:
        tune_model(config_of(), runs=folder, name="cut", watch=stopper.watch, stop=stopper.stop)
    assert caught.value.exit_code == ExitCode.TERMINATED
    told = f"1 of 3 trials are done. Continue with: tfapp tune --resume {folder / 'cut'}"
    assert told in str(caught.value)
    return folder / "cut"


@pytest.fixture
def stopped(_stopped, tmp_path) -> Run:
    """The same search, stopped in its second trial."""
    return Run(Path(shutil.copytree(_stopped, tmp_path / "cut", symlinks=True)))


def test_every_trial_is_a_run_whose_best_epoch_is_the_score(whole):
    assert (whole.state, whole.direction, len(whole.trials)) == ("done", "min", 3)
    for trial in whole.trials:
        run = find_run(trial.name, whole.path / "tune")
        assert whole.run_of(trial) == run
        assert summarize_run(run).state == "done"
        config = run.config()
        assert config.train.optimizer.learning_rate == trial.values["train.optimizer.learning_rate"]
        assert config.model.options == {
            "hidden": trial.values["model.options.hidden"],
            "dropout": 0.2,
        }
        losses = epochs_of(run, "val_loss")
        assert (trial.scores, trial.best_epoch) == ((min(losses),), 1 + int(np.argmin(losses)))
        measured = evaluate_run(run, split="validation").metrics
        assert measured["loss"] == pytest.approx(min(losses), rel=1e-6)
    scores = {trial.number: trial.score for trial in whole.trials}
    assert whole.best.number == min(scores, key=scores.get)


def test_the_same_seed_gives_the_same_trials_and_scores(whole, tmp_path):
    again = tune_model(config_of(), runs=tmp_path)
    assert results(again) == results(whole)
    assert results(read_search(again.run)) == results(whole), "and so they are on disk"
    other = tune_model(config_of(seed=1, **{"tune.trials": 1}), runs=tmp_path)
    assert other.trials[0].values != whole.trials[0].values


def test_executions_are_trainings_with_other_seeds(tmp_path):
    search = tune_model(config_of(**{"tune.executions": 3, "tune.trials": 2}), runs=tmp_path)
    seeds = set()
    for trial in search.trials:
        runs = [search.run_of(trial, execution) for execution in range(3)]
        assert [run.name for run in runs] == [trial.name, f"{trial.name}-2", f"{trial.name}-3"]
        seeds |= {run.config().seed for run in runs}
        scores = [min(epochs_of(run, "val_loss")) for run in runs]
        assert trial.scores == tuple(scores)
        assert len(set(scores)) == 3
        assert trial.score == pytest.approx(np.mean(scores))
        assert trial.spread == pytest.approx(np.std(scores, ddof=1))
    assert len(seeds) == 6
    means = [statistics.fmean(trial.scores) for trial in search.trials]
    assert search.best.number == int(np.argmin(means))


@pytest.mark.parametrize(("objective", "best"), [("val_accuracy", max), ("loss", min)])
def test_the_objective_decides_which_epoch_counts(tmp_path, objective, best):
    config = config_of(**{"tune.objective": objective, "tune.trials": 2, "train.epochs": 3})
    search = tune_model(config, runs=tmp_path)
    for trial in search.trials:
        assert trial.score == best(epochs_of(search.run_of(trial), objective))
    assert search.best.score == best(trial.score for trial in search.trials)


def test_a_promoted_trial_has_the_bits_of_a_training_that_never_paused(tmp_path):
    config = config_of(
        **{
            "tune.algorithm": "hyperband",
            "tune.trials": 5,
            "train.epochs": 3,
            "train.schedule": {"name": "cosine"},
        }
    )
    search = tune_model(config, runs=tmp_path, name="search")
    (promoted,) = [trial for trial in search.trials if trial.parent is not None]
    parent = search.trials[promoted.parent]
    assert (parent.epochs, promoted.first_epoch, promoted.epochs) == (1, 1, 3)
    assert promoted.values == parent.values
    first = [trial for trial in search.trials if trial.epochs == 1]
    assert parent.score == min(trial.score for trial in first), "the best of its round"
    run = search.run_of(promoted)
    unbroken = Run(train_model(run.config(), runs=tmp_path, name="unbroken").path)
    for step in (3, 9):  # the last one that the parent made, and the last of all
        expected, found = variables(unbroken, step), variables(run, step)
        assert expected.keys() == found.keys()
        assert len(expected) > 10
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value, err_msg=key)
    losses = epochs_of(unbroken, "val_loss")
    assert epochs_of(run, "val_loss") == losses
    assert promoted.score == min(losses)


def test_early_stopping_holds_in_a_trial(tmp_path):
    patient = {"patience": 1, "min_delta": 100.0}  # which no second epoch improves by
    config = config_of(**{"train.epochs": 9, "train.early_stopping": patient, "tune.trials": 1})
    search = tune_model(config, runs=tmp_path)
    (trial,) = search.trials
    run = search.run_of(trial)
    assert summarize_run(run).state == "stopped early"
    losses = epochs_of(run, "val_loss")
    assert len(losses) == 2
    assert (trial.state, trial.score, trial.best_epoch) == ("done", losses[0], 1)


def test_a_search_that_was_stopped_goes_on_to_the_same_end(stopped, whole):
    search = read_search(stopped)
    assert (search.state, [t.state for t in search.trials]) == ("interrupted", ["done", "stopped"])
    kept = files(search.run_of(search.trials[0]).path)
    found = resume_search(stopped)
    assert found.state == "done"
    assert results(found) == results(whole)
    assert files(search.run_of(search.trials[0]).path) == kept


def test_a_budget_ends_a_search_and_a_larger_one_goes_on(stopped, whole):
    def config(budget: str):
        return config_of(**{"tune.budget": budget})

    short = resume_search(stopped, config=config("0.001s"))
    assert (short.state, short.count("done")) == ("out of time", 1)
    assert "0.001 s is used up" in short.reason
    seen = []
    search = resume_search(stopped, config=config("1h"), watch=seen.append)
    assert search.state == "done"
    assert results(search) == results(whole)
    assert all(0 <= moment.seconds_left <= 3600 for moment in seen)


def test_more_trials_are_those_of_a_search_that_had_them_from_the_start(whole, tmp_path):
    fewer = tune_model(config_of(**{"tune.trials": 2}), runs=tmp_path, name="fewer")
    assert fewer.state == "done"
    assert results(fewer) == results(whole)[:2]
    kept = files(tmp_path / "fewer" / "tune" / "0000") | files(tmp_path / "fewer" / "tune" / "0001")
    more = resume_search(tmp_path / "fewer", config=config_of())
    assert results(more) == results(whole)
    assert {path: content for path, content in files(tmp_path).items() if path in kept} == kept
    ended = [line["trial"] for line in read_journal(more.run) if line["event"] == "end"]
    assert ended == [0, 1, 2]


def test_files_of_the_users_stay(stopped, whole):
    notes = [stopped.path / "notes.txt", stopped.path / "tune" / "notes.txt"]
    notes.append(stopped.path / "tune" / "0000" / "notes.txt")
    for note in notes:
        note.write_text("mine")
    assert results(resume_search(stopped)) == results(whole)
    train_best(stopped)
    assert [note.read_text() for note in notes] == ["mine"] * 3


def test_a_complete_search_says_so_and_what_can_be_typed(searched):
    before = files(searched.path)
    with pytest.raises(UsageError) as caught:
        resume_search(searched)
    assert str(caught.value) == (
        "the search of run whole is complete: it has 3 trials. To train the best:"
        f" tfapp train --tune --resume {searched.path}; for more:"
        f" tfapp tune --resume {searched.path} --trials 6"
    )
    assert files(searched.path) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 3}, "seed was 0, is now 3"),
        ({"train.epochs": 4}, "train.epochs was 2, is now 4"),
        (
            {"tune.objective": "val_accuracy"},
            "tune.objective was 'val_loss', is now 'val_accuracy'",
        ),
        (
            {"tune.space": {"train.optimizer.learning_rate": {"float": [1e-3, 1e-2]}}},
            "tune.space.train.optimizer.learning_rate.float was [0.001, 0.1], is now [0.001, 0.01]",
        ),
    ],
    ids=["seed", "epochs", "objective", "space"],
)
def test_a_changed_search_does_not_go_on(searched, change, said):
    before = files(searched.path)
    with pytest.raises(UsageError, match="would not go on as it began") as caught:
        resume_search(searched, config=config_of(**{"tune.trials": 9}, **change))
    assert said in str(caught.value)
    assert files(searched.path) == before


def test_a_search_that_is_led_is_left_alone(searched):
    before = files(searched.path)
    with hold(search_lock(searched)), pytest.raises(UsageError, match="led by another process"):
        resume_search(searched, config=config_of(**{"tune.trials": 9}))
    assert files(searched.path) == before


def test_a_stop_that_comes_after_the_end_is_none(tmp_path):
    done = []

    def watch(moment) -> None:
        if moment.trial is None:
            done.append(moment)

    search = tune_model(
        config_of(**{"tune.trials": 1}),
        runs=tmp_path,
        watch=watch,
        stop=lambda: ExitCode.INTERRUPTED if done else None,
    )
    assert (search.state, search.count("done")) == ("done", 1)


def test_a_plan_writes_nothing_and_is_what_comes(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = plan_search(config_of())
    assert (plan.objective, plan.direction, plan.trials) == ("val_loss", "min", 3)
    values = whole.trials[0].values
    assert plan.first.model.options["hidden"] == values["model.options.hidden"]
    (hidden,) = values["model.options.hidden"]
    assert plan.parameters == (4 + 1) * hidden + (hidden + 1) * 3
    assert not list(tmp_path.iterdir())


def test_the_best_is_trained_where_the_search_is(searched, whole):
    with pytest.raises(UsageError, match="tfapp train --tune --resume whole"):
        resume_training(searched)
    before = files(searched.path / "tune")
    trained = train_best(searched)
    assert trained.path == searched.path
    config = searched.config()
    values = whole.best.values
    assert config.train.optimizer.learning_rate == values["train.optimizer.learning_rate"]
    assert config.model.options["hidden"] == values["model.options.hidden"]
    assert (config.seed, config.tune, config.label) == (0, None, "iris-mlp")
    assert config.train.monitor == "val_loss"
    assert trained.best == min(epochs_of(searched, "val_loss"))
    measured = evaluate_run(searched, split="validation").metrics
    assert measured["loss"] == pytest.approx(trained.best, rel=1e-6)
    assert files(searched.path / "tune") == before
    alone = train_model(config, runs=searched.path.parent, name="alone")
    assert trained.validation == alone.validation
    with pytest.raises(UsageError, match="is complete"):
        train_best(searched)


def test_without_a_score_there_is_no_best(stopped):
    shutil.rmtree(stopped.path / "tune" / "0000")
    journal = stopped.path / "tune" / "journal.jsonl"
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:3]))
    with pytest.raises(TfappError, match=r"no trial with a score yet.*tfapp tune --resume"):
        train_best(stopped)
    assert not (stopped.path / "checkpoints").exists()
