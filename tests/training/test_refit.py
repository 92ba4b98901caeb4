"""Training on train and validation together: what is trained on, what is kept, what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from tfapp.config import load_config
from tfapp.data import load_splits
from tfapp.errors import ConfigError, ExitCode, UnknownName, UsageError
from tfapp.evaluation import evaluate_run
from tfapp.export.saved_model import export_run
from tfapp.runs import Run, summarize_run
from tfapp.settings import read_settings
from tfapp.training.checkpoints import Checkpoints
from tfapp.training.restore import load_trained
from tfapp.training.resume import resume_training
from tfapp.training.train import plan_training, train_model
from tfapp.training.writers import Writer

pytestmark = pytest.mark.usefixtures("read_back_here")

# Of 150 flowers 30 are the test split: 120 in batches of 12 are 10 steps an epoch.
REFIT = {
    "data.source": "iris",
    "data.batch_size": 12,
    "model.options": {"hidden": [8], "dropout": 0.2},
    "train.epochs": 4,
    "train.refit": True,
}
STEPS = 40


class Killed(BaseException):
    """Ends a training as abruptly as an exception can: nothing is saved after it."""


class KillAt(Writer):
    def __init__(self, step: int) -> None:
        self.step = step

    def progress(self, progress):
        if progress.step >= self.step:
            raise Killed


def train(tmp_path, name, **more) -> Run:
    config = load_config(overrides=REFIT | {k.replace("__", "."): v for k, v in more.items()})
    return Run(train_model(config, runs=tmp_path, name=name).path)


def weights(run: Run, step: int = STEPS) -> list[np.ndarray]:
    reader = tf.train.load_checkpoint(str(Checkpoints(run.checkpoints).path(step) / "variables"))
    keys = sorted(k for k in reader.get_variable_to_shape_map() if "VARIABLE_VALUE" in k)
    return [reader.get_tensor(key) for key in keys]


@pytest.fixture(scope="module")
def refit(tmp_path_factory) -> Run:
    """A training on 120 flowers; not to be changed."""
    return train(tmp_path_factory.mktemp("refit"), "refit")


def test_the_model_and_its_scaling_have_seen_both_splits(refit):
    trained = load_trained(refit)
    plain = load_splits(trained.config.data, data_dir=read_settings().data)
    both = np.concatenate([plain.train.features, plain.validation.features])
    assert len(both) == 120
    scaling = trained.predictor.preprocess.config()
    np.testing.assert_allclose(scaling["subtract"], both.mean(axis=0), rtol=1e-6)
    assert summarize_run(refit).step == STEPS
    assert refit.read_json("data.json")["sizes"] == {"train": 120, "test": 30}
    assert evaluate_run(refit, split="train").examples == 120


def test_it_is_another_model_than_without_and_repeats_itself(refit, tmp_path):
    again = train(tmp_path, "again")
    for one, other in zip(weights(refit), weights(again), strict=True):
        np.testing.assert_array_equal(one, other)
    plain = train(tmp_path, "plain", train__refit=False)
    assert summarize_run(plain).step == 36
    assert load_trained(plain).config.train.monitor == "val_accuracy"


@pytest.mark.parametrize("loop", ["streaming", "resident"])
def test_killed_twice_it_ends_with_the_bits_of_one_that_never_was(tmp_path, loop):
    settings = {"train__loop": loop, "train__checkpoint.every_steps": 4}
    whole = train(tmp_path, "whole", **settings)
    config = Run(whole.path).config()
    with pytest.raises(Killed):
        train_model(config, runs=tmp_path, name="cut", writers=[KillAt(6)])
    with pytest.raises(Killed):
        resume_training(tmp_path / "cut", writers=[KillAt(23)])
    resume_training(tmp_path / "cut")
    for one, other in zip(weights(whole), weights(Run(tmp_path / "cut")), strict=True):
        np.testing.assert_array_equal(one, other)


def test_nothing_is_told_of_a_split_that_was_trained_on(refit):
    assert [(row["split"], row["epoch"]) for row in refit.metrics()] == [
        ("train", epoch) for epoch in (1, 2, 3, 4)
    ]
    assert [p.name for p in (refit.path / "tensorboard").iterdir()] == ["train"]
    summary = summarize_run(refit)
    assert (summary.monitor, summary.best) == ("loss", None)
    assert "(120 train, 30 test)" in (refit.path / "log.txt").read_text()


def test_the_last_checkpoint_is_taken_not_that_of_the_least_loss(tmp_path):
    # The rate is so small that no epoch is better than the first: of equal values the first counts.
    run = train(
        tmp_path,
        "slow",
        train__monitor="accuracy",
        train__optimizer={"name": "sgd", "learning_rate": 1e-9},
        model__options={"hidden": [8]},
        train__checkpoint={"every_steps": 10, "keep": 4},
    )
    state = Checkpoints(run.checkpoints).state(STEPS)
    assert state.best.step == 10, "this is what the monitor found"
    assert load_trained(run).step == evaluate_run(run).step == STEPS
    assert export_run(run, tmp_path / "saved").step == STEPS
    assert load_trained(run, step=10).step == 10


def test_early_stopping_goes_by_the_training_loss(tmp_path):
    settings = REFIT | {
        "train.epochs": 9,
        "train.early_stopping": {"patience": 3, "min_delta": 0.5},
        "train.optimizer.learning_rate": 1e-9,
        "train.checkpoint.every_steps": 10,
    }
    with pytest.raises(Killed):
        train_model(
            load_config(overrides=settings), runs=tmp_path, name="cut", writers=[KillAt(25)]
        )
    result = resume_training(tmp_path / "cut")
    assert (result.state, result.epoch, result.monitor) == ("stopped early", 4, "loss")
    assert (result.best, result.best_step, result.validation) == (None, STEPS, {})


def test_the_test_split_is_measured_and_still_held_out(refit):
    found = evaluate_run(refit)
    trained = load_trained(refit)
    plain = load_splits(trained.config.data, data_dir=read_settings().data)
    guesses = trained.predictor(plain.test.features)["class_id"].numpy()
    assert (found.examples, found.split) == (30, "test")
    assert found.metrics["accuracy"] == pytest.approx(np.mean(guesses == plain.test.labels))
    with pytest.raises(UsageError, match=r"trained on the validation split too.*--split test"):
        evaluate_run(refit, split="validation")


def test_the_card_of_its_export_says_so(refit, tmp_path):
    evaluate_run(refit)
    text = (export_run(refit, tmp_path / "iris").path / "model_card.md").read_text()
    assert "`train` holds those of validation too (`train.refit`)" in text
    assert "the last one, nothing being held out to choose by" in text
    assert "| all | 120 | 30 |" in text
    assert "Anything on validation examples" in text
    assert json.loads((tmp_path / "iris/1/tfapp.json").read_text())["best"] is None


def test_balanced_weights_count_both_splits(tmp_path):
    y = np.repeat([0, 1], [150, 50])
    np.savez(tmp_path / "x.npz", x=np.arange(400, dtype=np.float32).reshape(200, 2), y=y)
    from tfapp.training.assembly import assemble

    config = load_config(
        overrides={
            "data.source": str(tmp_path / "x.npz"),
            "train.refit": True,
            "train.class_weights": "balanced",
        }
    )
    parts = assemble(config, data_dir=tmp_path)
    counts = np.bincount(parts.splits.train.labels)
    wanted = counts.sum() / (2 * counts)
    features = parts.splits.train.features[:1]
    labels = parts.splits.train.labels[:1]
    outputs = parts.predictor.outputs(features, training=False)
    weighted, plain = parts.loss(labels, outputs), parts.validation_loss(labels, outputs)
    assert float(weighted / plain) == pytest.approx(wanted[labels[0]], rel=1e-5)


def test_a_monitor_of_validation_is_refused():
    for more in ({}, {"train.early_stopping": {"patience": 3}}):
        settings = REFIT | {"train.monitor": "val_loss"} | more
        with pytest.raises(ConfigError, match=r"there is no 'val_loss'.*train\.monitor=auto"):
            load_config(overrides=settings)
    with pytest.raises(UnknownName, match=r"'lossy'.*Known: accuracy, loss\. ") as caught:
        plan_training(load_config(overrides=REFIT | {"train.monitor": "lossy"}))
    assert caught.value.exit_code == ExitCode.USAGE


def test_from_the_command_line(cli, tmp_path):
    words = ("train", "--data", "iris", "--epochs", "2", "--set", "train.refit=true")
    shown = cli(*words, "--dry-run", "--json")
    plan = json.loads(shown.out)
    assert plan["sizes"] == {"train": 120, "test": 30}
    assert (plan["steps_per_epoch"], plan["total_steps"]) == (2, 4)
    assert 'monitor = "loss"' in plan["config"]
    assert not (tmp_path / "runs").exists()
    done = cli(*words, "--run", "mine")
    assert done.code == ExitCode.DONE
    lines = [line for line in done.err.splitlines() if line.startswith("epoch ")]
    assert [line.split()[1] for line in lines] == ["1/2", "2/2"], "progress is told all the same"
    assert "train accuracy" in done.out
    assert "validation" not in done.out
    assert "best" not in done.out
    refused = cli(*words, "--set", "train.monitor=val_accuracy")
    assert (refused.code, refused.out) == (ExitCode.USAGE, "")
    assert "error: train: refit trains on the validation split too" in refused.err
    measured = cli("evaluate", "mine", "--split", "validation")
    assert measured.code == ExitCode.USAGE
    changed = cli("train", "--resume", "mine", "--epochs", "4", "--set", "train.refit=false")
    assert changed.code == ExitCode.USAGE
    assert "train.refit was True, is now False" in changed.err
