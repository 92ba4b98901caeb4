from __future__ import annotations

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfapp.config import load_config
from tfapp.errors import CheckpointMismatch, ExitCode, Interrupted, UsageError
from tfapp.locks import hold
from tfapp.runs import Run, summarize_run
from tfapp.training.checkpoints import Checkpoints
from tfapp.training.restore import read_info
from tfapp.training.resume import resume_training
from tfapp.training.train import train_model
from tfapp.training.writers import Writer


class Everything(keras.Model):
    """Every kind of state that a layer may keep: weights, moving averages, random generators."""

    def __init__(self, outputs: int, width: int = 8) -> None:
        super().__init__()
        self.steps = [
            keras.layers.GaussianNoise(0.1),
            keras.layers.Dense(width, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(outputs),
        ]

    def call(self, x, training=False):
        for layer in self.steps:
            x = layer(x, training=training)
        return x


# 108 training examples in batches of 16: 7 steps an epoch, the last one of 12 examples.
EVERYTHING = {
    "data.source": "iris",
    "data.batch_size": 16,
    "model.name": f"{__name__}:Everything",
    "train.epochs": 5,
    "train.checkpoint.every_steps": 4,
    "train.optimizer": {
        "name": "adamw",
        "learning_rate": 0.01,
        "weight_decay": 0.01,
        "global_clipnorm": 0.5,
        "use_ema": True,
        "ema_momentum": 0.9,
    },
    "train.schedule": {"name": "cosine", "warmup_steps": 5},
}
STEPS = 35
SMALL = {
    "data.source": "iris",
    "data.batch_size": 12,
    "model.options": {"hidden": [8], "dropout": 0.2},
    "train.epochs": 4,
}


class Killed(BaseException):
    """Ends a training as abruptly as an exception can: nothing is saved after it."""


class KillAt(Writer):
    """Kills the training after the first trip that reaches `step`."""

    def __init__(self, step: int) -> None:
        self.step = step

    def progress(self, progress):
        if progress.step >= self.step:
            raise Killed


class Listen(Writer):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text):
        self.notes.append(text)


def config_of(settings, **more):
    return load_config(overrides=settings | more)


def killed_run(tmp_path, settings, step: int, **more) -> Run:
    """A run that was killed at `step`, with a checkpoint every four steps before it."""
    config = config_of(settings, **({"train.checkpoint.every_steps": 4} | more))
    with pytest.raises(Killed):
        train_model(config, runs=tmp_path, name="cut", writers=[KillAt(step)])
    return Run(tmp_path / "cut")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Run:
    """A training of `EVERYTHING` that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    return Run(train_model(config_of(EVERYTHING), runs=folder, name="whole").path)


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Run:
    """A training of `SMALL` that was killed at step 5; not to be changed."""
    return killed_run(tmp_path_factory.mktemp("killed"), SMALL, 5)


@pytest.fixture
def run(killed, tmp_path) -> Run:
    """A copy of it."""
    return Run(Path(shutil.copytree(killed.path, tmp_path / "cut", symlinks=True)))


def all_variables(run: Run, step: int) -> dict[str, np.ndarray]:
    """Every tensor of a checkpoint by its key."""
    reader = tf.train.load_checkpoint(str(Checkpoints(run.checkpoints).path(step) / "variables"))
    return {
        key: reader.get_tensor(key)
        for key in reader.get_variable_to_shape_map()
        if "VARIABLE_VALUE" in key
    }


def assert_equal_bits(one: Run, other: Run, step: int) -> None:
    before, after = all_variables(one, step), all_variables(other, step)
    assert before.keys() == after.keys()
    for key in before:
        np.testing.assert_array_equal(before[key], after[key], err_msg=key)


@pytest.mark.parametrize(
    ("loop", "batch_size", "steps"), [("streaming", 16, 35), ("resident", 18, 30)]
)
def test_killed_three_times_a_run_ends_with_the_bits_of_one_that_never_was(
    tmp_path, loop, batch_size, steps
):
    settings = EVERYTHING | {"train.loop": loop, "data.batch_size": batch_size}
    whole = train_model(config_of(settings), runs=tmp_path, name="whole")
    run = killed_run(tmp_path, settings, 6)
    for step in (13, 25):
        with pytest.raises(Killed):
            resume_training(run, writers=[KillAt(step)])
    resumed = resume_training(run)
    assert (resumed.step, resumed.validation) == (steps, whole.validation)
    assert run.metrics() == Run(whole.path).metrics()
    assert_equal_bits(Run(whole.path), run, steps)


@pytest.mark.parametrize("stop_at", [12, 14])
def test_a_run_that_was_asked_to_stop_goes_on_to_the_same_end(whole, tmp_path, stop_at):
    settings = EVERYTHING | {"train.checkpoint.every_steps": stop_at}
    reached = []

    class Watch(Writer):
        def progress(self, progress):
            reached.append(progress.step)

    def stop():
        return ExitCode.INTERRUPTED if reached and reached[-1] >= stop_at else None

    with pytest.raises(Interrupted, match="Continue with: tfapp train --resume") as caught:
        train_model(config_of(settings), runs=tmp_path, name="cut", writers=[Watch()], stop=stop)
    assert caught.value.exit_code == ExitCode.INTERRUPTED
    run = Run(tmp_path / "cut")
    assert summarize_run(run).state == "interrupted"
    resume_training(run)
    assert_equal_bits(whole, run, STEPS)


def test_killed_before_the_first_checkpoint_a_run_begins_again(whole, tmp_path):
    run = killed_run(tmp_path, EVERYTHING, 1)
    listen = Listen()
    resume_training(run, writers=[listen])
    assert "there is no checkpoint yet: starting from step 0" in listen.notes
    assert_equal_bits(whole, run, STEPS)


def test_a_damaged_newest_checkpoint_is_passed_over(tmp_path):
    run = killed_run(tmp_path, SMALL, 18)
    newest = Checkpoints(run.checkpoints).newest()
    data = run.checkpoints / f"step-{newest:09d}" / "variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:100])
    listen = Listen()
    result = resume_training(run, writers=[listen])
    assert result.step == 36
    assert Checkpoints(run.checkpoints).newest() == 36
    assert (run.checkpoints / f"damaged-step-{newest:09d}").is_dir(), "nothing is lost"
    assert f"passed over step {newest}: it is damaged" in "".join(listen.notes)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"train.loop": "eager"}, "train.loop was 'streaming', is now 'eager'"),
        ({"seed": 1}, "seed was 0, is now 1"),
        ({"data.batch_size": 6}, "data.batch_size was 12, is now 6"),
        (
            {"train.optimizer.learning_rate": 0.5},
            "train.optimizer.learning_rate was 0.001, is now 0.5",
        ),
        (
            {"model.options": {"hidden": [9], "dropout": 0.2}},
            "model.options.hidden was [8], is now [9]",
        ),
        (
            {"train.optimizer.global_clipnorm": 1.0},
            "train.optimizer.global_clipnorm was not set, is now 1.0",
        ),
        ({"model.options": {"hidden": [8]}}, "model.options.dropout was 0.2, is now not set"),
    ],
)
def test_what_would_change_the_numbers_is_refused_by_name(run, change, named):
    config = run.config(overrides=change)
    with pytest.raises(UsageError, match="would not go on as it began") as caught:
        resume_training(run, config=config)
    assert named in str(caught.value)
    assert "--force" in str(caught.value)
    assert run.config().train.loop == "streaming", "nothing was written"


def test_another_number_of_replicas_is_refused(run):
    for step in Checkpoints(run.checkpoints).steps():
        file = Checkpoints(run.checkpoints).path(step) / "state.json"
        state = json.loads(file.read_text())
        state["identity"]["replicas"] = 2
        file.write_text(json.dumps(state))
    with pytest.raises(UsageError, match="2 replicas shared a batch, now 1 do"):
        resume_training(run)


def test_what_does_not_change_the_numbers_may_change(tmp_path, run):
    whole = train_model(config_of(SMALL), runs=tmp_path, name="whole")
    assignments = ("train.checkpoint.keep=1", "train.early_stopping.patience=50", "name=other")
    result = resume_training(run, config=run.config(assignments))
    assert result.step == 36
    assert Run(result.path).config().train.checkpoint.keep == 1
    assert_equal_bits(Run(whole.path), run, 36)


def test_force_goes_on_with_another_loop_and_keeps_the_old_config(run):
    listen = Listen()
    config = run.config(["train.loop=eager"])
    result = resume_training(run, config=config, force=True, writers=[listen])
    assert result.step == 36
    assert "resumed by force: train.loop was 'streaming', is now 'eager'" in listen.notes
    assert run.config().train.loop == run.read_json("loop.json")["loop"] == "eager"
    kept = list(run.path.glob("config-until-step-*.toml"))
    assert len(kept) == 1
    assert load_config(kept[0]).train.loop == "streaming"


def test_force_takes_from_another_model_what_fits(tmp_path):
    run = killed_run(tmp_path, SMALL, 5, **{"model.options": {"hidden": [8, 4]}})
    config = run.config(overrides={"model.options": {"hidden": [8, 6]}})
    listen = Listen()
    assert resume_training(run, config=config, force=True, writers=[listen]).step == 36
    anew = next(note for note in listen.notes if "begun anew" in note)
    assert "kernel" in anew
    assert anew.count("momentum") == 3, "of the layers whose shapes changed, and no others"


def test_another_model_under_the_same_config_is_refused(run):
    """A model's code can change where no key of the config tells."""
    newest = Checkpoints(run.checkpoints).newest()
    file = Checkpoints(run.checkpoints).path(newest) / "state.json"
    state = json.loads(file.read_text())
    state["variables"]["model"][0][1] = [4, 9]
    file.write_text(json.dumps(state))
    with pytest.raises(CheckpointMismatch, match=r"belongs to another model.*--force"):
        resume_training(run)


def change_table(tmp_path, change: str) -> Run:
    """A run on a table whose rows were changed after it was killed."""
    table = tmp_path / "rows.csv"
    rows = [f"{i},{i % 7},{'ab'[i % 2]}" for i in range(60)]
    table.write_text("\n".join(["x,y,label", *rows]))
    run = killed_run(tmp_path, SMALL, 5, **{"data.source": str(table)})
    table.write_text("\n".join(["x,y,label", *(row.replace(",a", change) for row in rows)]))
    return run


def test_changed_data_is_refused_or_by_force_scaled_as_before(tmp_path):
    run = change_table(tmp_path, "5,a")
    before, scaling = read_info(run)
    with pytest.raises(UsageError, match=r"the data had fingerprint \w{12}, now has \w{12}"):
        resume_training(run)
    with pytest.raises(Killed):
        resume_training(run, force=True, writers=[KillAt(9)])
    config = run.config(["train.checkpoint.keep=9"])  # written, and data.json not with it
    assert resume_training(run, config=config).state == "done", "once is enough"
    after, kept = read_info(run)
    assert after.fingerprint != before.fingerprint
    assert kept.config() == scaling.config()
    old = json.loads(next(run.path.glob("data-until-step-*.json")).read_text())
    assert old["info"]["fingerprint"] == before.fingerprint


def test_data_with_other_classes_does_not_fit_even_by_force(tmp_path):
    run = change_table(tmp_path, ",c")
    with pytest.raises(UsageError, match="its weights do not fit"):
        resume_training(run, force=True)


def test_other_surroundings_are_said(run):
    for step in Checkpoints(run.checkpoints).steps():
        file = Checkpoints(run.checkpoints).path(step) / "state.json"
        state = json.loads(file.read_text())
        state["identity"]["surroundings"]["TensorFlow"] = "2.0.0"
        file.write_text(json.dumps(state))
    listen = Listen()
    resume_training(run, writers=[listen])
    said = f"TensorFlow was '2.0.0', is now '{tf.__version__}': the last bits may differ"
    assert said in "".join(listen.notes)


def test_a_complete_run_is_not_resumed_but_can_be_made_longer(tmp_path):
    result = train_model(config_of(SMALL), runs=tmp_path, name="mine")
    with pytest.raises(UsageError, match=r"complete: 4 epochs are done, 4 were.*--epochs 8"):
        resume_training(result.path)
    longer = resume_training(result.path, epochs=6)
    assert (longer.step, Run(result.path).config().train.epochs) == (54, 6)


def test_a_run_that_stopped_early_goes_on_with_more_patience(tmp_path):
    settings = {
        "train.epochs": 5,
        "train.early_stopping": {"patience": 2},
        "train.optimizer.learning_rate": 1e-9,
    }
    result = train_model(config_of(SMALL | settings), runs=tmp_path, name="mine")
    assert (result.state, result.epoch) == ("stopped early", 3)
    with pytest.raises(UsageError, match=r"stopped early at step 27.*patience=4"):
        resume_training(result.path)
    config = Run(result.path).config(["train.early_stopping.patience=9"])
    assert resume_training(result.path, config=config).state == "done"


def test_a_run_that_is_still_going_is_not_resumed(tmp_path, digits_run):
    status = digits_run.read_json("status.json") | {"state": "running", "pid": 1}
    digits_run.write_json("status.json", status)
    with hold(digits_run.lock), pytest.raises(UsageError, match="still being trained by process 1"):
        resume_training(digits_run)
