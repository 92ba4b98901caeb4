from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfapp.config import Config, load_config
from tfapp.runs import Run, claim_run
from tfapp.settings import data_folder
from tfapp.training.assembly import assemble
from tfapp.training.checkpoints import Checkpoints
from tfapp.training.program import Program, Programs, build_program
from tfapp.training.resume import resume_training
from tfapp.training.session import TrainedRun
from tfapp.training.train import train_program


class Stateful(keras.Model):
    """Every kind of state that Keras's layers keep: weights, moving averages, generators."""

    def __init__(self, outputs: int, width: int = 8) -> None:
        super().__init__()
        self.steps = [
            keras.layers.Dense(width, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            keras.layers.GaussianNoise(0.1),
            keras.layers.Dense(outputs),
        ]

    def call(self, x, training=False):
        for layer in self.steps:
            x = layer(x, training=training)
        return x


class Plain(keras.Model):
    """A layer of weights behind what a subclass does with the features."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(outputs)

    def call(self, x, training=False):
        return self.dense(self.change(x, training))


class OldRandomness(Plain):
    """Draws from the state inside TensorFlow."""

    def change(self, x, training):
        return x + 0.5 * tf.random.normal(tf.shape(x)) if training else x


class OwnGenerator(Plain):
    """Draws from a generator of TensorFlow's, whose state is no variable of the model's."""

    def __init__(self, outputs: int) -> None:
        super().__init__(outputs)
        self.generator = tf.random.Generator.from_seed(1)

    def change(self, x, training):
        return x + 0.5 * self.generator.normal(tf.shape(x)) if training else x


class OwnCounter(Plain):
    """Counts its calls in a variable that Keras does not see."""

    def __init__(self, outputs: int) -> None:
        super().__init__(outputs)
        self.calls = tf.Variable(0.0, trainable=False)

    def change(self, x, training):
        if training:
            self.calls.assign_add(1.0)
        return x / (1.0 + self.calls)


class Remembers(Plain):
    """Leaves what it has seen in an attribute."""

    def change(self, x, training):
        self.seen = x
        return x


class RandomFeatures(Plain):
    """Cosines of random projections, drawn once by NumPy when the model is made.

    Source: Rahimi and Recht 2007, "Random Features for Large-Scale Kernel Machines".
    """

    def __init__(self, outputs: int) -> None:
        super().__init__(outputs)
        self.directions = tf.constant(np.random.randn(4, 40), tf.float32)

    def change(self, x, training):
        return tf.cos(x @ self.directions)


class RandomStart(Plain):
    """Has first values from TensorFlow's global seed."""

    def __init__(self, outputs: int) -> None:
        super().__init__(outputs)
        self.scale = self.add_weight(
            shape=[4], initializer=lambda shape, dtype: tf.random.normal(shape, 1.0, 0.1, dtype)
        )

    def change(self, x, training):
        return x * self.scale


class RandomShare(Plain):
    """A number that Python draws when the model is made, inside a list."""

    def __init__(self, outputs: int) -> None:
        super().__init__(outputs)
        self.shares = [{"first": 0.5 + random.random()}]

    def change(self, x, training):
        return x * self.shares[0]["first"]


# 108 training examples: 3 steps an epoch, the last one of 28 examples.
BASE = {
    "data.source": "iris",
    "data.batch_size": 40,
    "model.name": f"{__name__}:Stateful",
    "train.epochs": 2,
    "train.loop": "streaming",
    "train.optimizer": {"name": "adam", "learning_rate": 0.01},
}
OTHER = {
    "seed": 3,
    "train.epochs": 3,
    "train.optimizer": {"name": "adam", "learning_rate": 0.1},
    "name": "other",
}
# Batches of one size, so that XLA compiles once.
RESIDENT = {"train.loop": "resident", "data.batch_size": 36}
# Is built in no time.
PLAIN = {"model.name": "mlp", "model.options": {"hidden": [4]}}
COSINE = {"train.schedule": {"name": "cosine"}}


def config_of(**more: Any) -> Config:
    return load_config(overrides=BASE | more)


@pytest.fixture
def programs() -> Programs:
    return Programs(data_folder())


@pytest.fixture(scope="module")
def kept() -> Programs:
    """Programs of one module, so that what several tests train is compiled once."""
    return Programs(data_folder(), most=100)


def fresh(config: Config) -> Program:
    return build_program(assemble(config, data_dir=data_folder()))


def train(program: Program, folder: Path, name: str, **rest: Any) -> TrainedRun:
    run = claim_run(folder, program.parts.config, name=name, latest=False)
    return train_program(program, run, **rest)


def all_variables(run: Run) -> dict[str, np.ndarray]:
    """Every tensor of the newest checkpoint by its key."""
    checkpoints = Checkpoints(run.checkpoints)
    reader = tf.train.load_checkpoint(str(checkpoints.path(checkpoints.steps()[-1]) / "variables"))
    keys = [key for key in reader.get_variable_to_shape_map() if "VARIABLE_VALUE" in key]
    return {key: reader.get_tensor(key) for key in keys}


def assert_same(one: TrainedRun, other: TrainedRun) -> None:
    """All numbers of two runs are equal to the last bit, and the tensors of their checkpoints."""
    rows, others = Run(one.path).metrics(), Run(other.path).metrics()
    assert rows == others
    assert len(rows) == 2 * one.epoch > 0
    facts = [(run.state, run.step, run.best, run.best_step) for run in (one, other)]
    assert facts[0] == facts[1]
    before, after = all_variables(Run(one.path)), all_variables(Run(other.path))
    assert before.keys() == after.keys()
    for key in before:
        np.testing.assert_array_equal(before[key], after[key], err_msg=key)


@pytest.mark.parametrize("where", [{}, RESIDENT], ids=["streaming", "resident"])
def test_a_shared_program_gives_the_numbers_of_a_fresh_one(
    tmp_path: Path, programs: Programs, where: Mapping[str, Any]
):
    first, second = config_of(**where), config_of(**OTHER, **where)
    steps, runs = [], []
    for number, config in enumerate([first, second, first]):
        program = programs.build(config)
        assert (program.parts.config.name, program.parts.config.seed) == (config.name, config.seed)
        steps.append(program.step)
        runs.append(train(program, tmp_path, f"shared-{number}"))
    assert steps[0] is steps[1] is steps[2]  # compiled once
    assert_same(runs[2], runs[0])  # which was fresh
    assert_same(runs[1], train(fresh(second), tmp_path, "fresh"))
    assert Run(runs[1].path).metrics()[:4] != Run(runs[0].path).metrics()


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 9},
        {"train.epochs": 7},
        {"train.optimizer": {"name": "adam", "learning_rate": 0.5}},
        {"name": "another"},
        {"train.early_stopping.patience": 2},
        {"train.checkpoint.keep": 1},
        {"train.monitor": "val_loss"},
    ],
)
def test_what_no_compiled_call_knows_of_is_shared(kept: Programs, changes: Mapping[str, Any]):
    first = kept.build(config_of(**PLAIN)).step  # nothing need have been trained with it
    second = kept.build(config_of(**PLAIN, **changes))
    assert second.step is first
    built = fresh(config_of(**PLAIN, **changes)).parts
    assert second.parts.config == built.config
    for part, variables in built.variables.items():
        for variable, value in zip(second.parts.variables[part], variables, strict=True):
            np.testing.assert_array_equal(variable.numpy(), value.numpy())


@pytest.mark.parametrize(
    ("before", "changes"),
    [
        ({}, {"model.options": {"hidden": [5]}}),
        ({}, {"model.options": {"hidden": [4], "dropout": 0.1}}),
        ({}, {"data.batch_size": 41}),
        ({}, {"data.split_seed": 1}),
        ({}, {"data.scaling": "minmax"}),
        ({}, {"train.class_weights": [1.0, 2.0, 3.0]}),
        ({}, {"train.metrics": ["accuracy", "top_5_accuracy"]}),
        ({}, {"train.precision": "mixed_bfloat16"}),
        ({}, {"train.loop": "eager"}),
        ({}, {"train.optimizer": {"name": "adam", "learning_rate": 0.01, "beta_1": 0.8}}),
        ({}, {"train.optimizer": {"name": "sgd", "learning_rate": 0.01}}),
        ({}, COSINE),
        (COSINE, {"train.epochs": 3}),
        (COSINE, {"train.optimizer": {"name": "adam", "learning_rate": 0.5}}),
        (COSINE, {"train.schedule": {"name": "cosine", "warmup_steps": 2}}),
        ({"train.schedule": {"name": "constant", "warmup_steps": 2}}, {"train.epochs": 3}),
    ],
)
def test_what_a_compiled_call_depends_on_is_not_shared(
    kept: Programs, before: Mapping[str, Any], changes: Mapping[str, Any]
):
    one, other = PLAIN | dict(before), PLAIN | dict(before) | dict(changes)
    assert kept.build(config_of(**other)).step is not kept.build(config_of(**one)).step


def test_the_newest_programs_are_kept():
    programs = Programs(data_folder(), most=2)
    four, five, six = (
        config_of(**PLAIN | {"model.options": {"hidden": [width]}}) for width in (4, 5, 6)
    )
    of_four, of_five = programs.build(four).step, programs.build(five).step
    assert programs.build(four).step is of_four
    programs.build(six)  # for which that of 5, which was asked for longest ago, is given up
    assert programs.build(four).step is of_four
    assert programs.build(five).step is not of_five
    programs.clear()
    assert programs.build(four).step is not of_four


@pytest.mark.parametrize(
    "model", [OldRandomness, OwnGenerator, OwnCounter, RandomFeatures, RandomShare]
)
def test_a_model_that_keeps_more_than_variables_is_not_shared(
    tmp_path: Path, programs: Programs, model: type[keras.Model]
):
    own = {"model.name": f"{__name__}:{model.__name__}", "train.epochs": 1}
    first, second = config_of(**own), config_of(**own, seed=3)
    step = programs.build(first).step
    train(programs.build(first), tmp_path, "first")
    told = programs.build(second)
    assert told.step is not step
    if model is not OldRandomness:  # whose numbers depend on what was drawn before it
        assert_same(train(told, tmp_path, "second"), train(fresh(second), tmp_path, "fresh"))


def test_a_model_may_draw_its_first_values_from_tensorflows_seed(
    tmp_path: Path, programs: Programs
):
    own = {"model.name": f"{__name__}:RandomStart", "train.epochs": 1}
    for number, seed in enumerate([2, 3, 2, 3]):
        config = config_of(**own, seed=seed)
        shared = train(programs.build(config), tmp_path, f"shared-{number}")
        assert_same(shared, train(fresh(config), tmp_path, f"fresh-{number}"))


def test_a_model_that_leaves_a_tensor_of_its_call_is_shared(tmp_path: Path, programs: Programs):
    own = {"model.name": f"{__name__}:Remembers", "train.epochs": 1}
    program = programs.build(config_of(**own))
    train(program, tmp_path, "first")
    assert programs.build(config_of(**own, seed=3)).step is program.step


PARTS = {
    "train.epochs": 6,
    "train.schedule": {"name": "cosine", "warmup_steps": 4},
    "train.early_stopping": {"patience": 6},
}


@pytest.mark.parametrize("where", [{}, PLAIN | RESIDENT], ids=["streaming", "resident"])
def test_a_run_in_parts_equals_one_in_one_go(
    tmp_path: Path, kept: Programs, where: Mapping[str, Any]
):
    config = config_of(**PARTS, **where)
    whole = train(kept.build(config), tmp_path, "whole")
    parent = None
    for until, state in [(1, "paused"), (4, "paused"), (None, "done")]:
        part = train(kept.build(config), tmp_path, f"to-{until}", until=until, parent=parent)
        parent = Run(part.path)
        assert (part.state, part.epoch) == (state, until or 6)
        assert parent.read_json("status.json")["state"] == state
        assert parent.metrics() == Run(whole.path).metrics()[: 2 * part.epoch]
    assert_same(part, whole)
    if where == {}:
        # A paused run is also one that can be resumed as it is.
        assert_same(resume_training(Run(tmp_path / "to-4")), whole)


def test_a_pause_counts_for_early_stopping(tmp_path: Path, kept: Programs):
    """No epoch is better than the first by 10, so that the run ends after the fourth."""
    stopping = {"train.early_stopping": {"patience": 3, "min_delta": 10.0}}
    config = config_of(**PARTS | stopping)
    whole = train(kept.build(config), tmp_path, "whole")
    assert (whole.state, whole.epoch) == ("stopped early", 4)
    paused = train(kept.build(config), tmp_path, "paused", until=2)
    ended = train(kept.build(config), tmp_path, "ended", until=5, parent=Run(paused.path))
    assert_same(ended, whole)
    # One that goes on with a run that has stopped trains nothing, and has its numbers.
    assert_same(train(kept.build(config), tmp_path, "after", parent=Run(ended.path)), whole)


def test_until_beyond_the_end_is_the_end(tmp_path: Path, kept: Programs):
    run = train(kept.build(config_of(**PLAIN, **{"train.epochs": 1})), tmp_path, "mine", until=9)
    assert (run.state, run.epoch) == ("done", 1)
