from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfapp import names
from tfapp.config import load_config
from tfapp.data.pipeline import epoch_order
from tfapp.data.splits import ArraySplit, StreamSplit
from tfapp.errors import UnknownName, UsageError
from tfapp.training.assembly import assemble
from tfapp.training.loops import build_loop
from tfapp.training.tape import TapeStep

LOOPS = names.LOOPS


class Recorder:
    """A step that keeps which labels it saw in which order, in variables as XLA can update them."""

    def __init__(self, most: int) -> None:
        self.seen = tf.Variable(tf.fill([most], -1))
        self.count = tf.Variable(0)

    def __call__(self, features, labels):
        finite = tf.reduce_all(tf.math.is_finite(features))
        if finite:
            self._keep(labels)
        return finite

    def unguarded(self, features, labels):
        self._keep(labels)
        return tf.reduce_all(tf.math.is_finite(features))

    def _keep(self, labels):
        size = tf.shape(labels)[0]
        places = tf.expand_dims(self.count + tf.range(size), 1)
        self.seen.assign(tf.tensor_scatter_nd_update(self.seen, places, labels))
        self.count.assign_add(size)

    def labels(self) -> list[int]:
        return self.seen.numpy()[: int(self.count)].tolist()


class SGDStep:
    """Stochastic gradient descent on a linear model with a random layer, in plain TensorFlow."""

    def __init__(self) -> None:
        self.weights = tf.Variable([[0.5], [-0.5]])
        self.noise = keras.layers.GaussianNoise(0.1, seed=1)
        self.noise.build((None, 2))

    def __call__(self, features, labels):
        with tf.GradientTape() as tape:
            outputs = self.noise(features, training=True) @ self.weights
            loss = tf.reduce_mean((outputs[:, 0] - tf.cast(labels, tf.float32)) ** 2)
        self.weights.assign_sub(0.1 * tape.gradient(loss, self.weights))
        return tf.math.is_finite(loss)

    unguarded = __call__


def examples(size: int) -> ArraySplit:
    features = np.random.default_rng(0).normal(size=(size, 2)).astype(np.float32)
    return ArraySplit(features, np.arange(size, dtype=np.int32))


def order(size: int, seed: int, epochs: int) -> list[int]:
    drawn = [
        epoch_order(size, tf.constant(seed, tf.int64), tf.constant(e, tf.int64))
        for e in range(epochs)
    ]
    return np.concatenate(drawn).tolist()


@pytest.mark.parametrize("name", LOOPS)
def test_batches_come_in_the_order_of_seed_and_epoch_with_a_smaller_last_one(name):
    step = Recorder(40)
    loop = build_loop(name, step, examples(10), batch_size=4, seed=7)
    loop.start(0)
    assert loop.run(7).steps == 7  # 4 4 2, 4 4 2, 4
    assert step.labels() == order(10, 7, 3)[:24]


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_can_be_started_at_any_step_again_and_again(name):
    step = Recorder(80)
    loop = build_loop(name, step, examples(10), batch_size=4, seed=0)
    expected = order(10, 0, 3)
    loop.start(2)
    loop.run(2)
    loop.start(5)
    loop.run(2)
    assert step.labels() == expected[8:14] + expected[18:24]


@settings(max_examples=8, deadline=None)
@given(
    size=st.integers(1, 12),
    batch_size=st.integers(1, 15),
    trips=st.lists(st.integers(1, 5), min_size=1, max_size=4),
)
def test_resident_and_streaming_read_the_same_batches_for_any_size_and_trips(
    size, batch_size, trips
):
    seen = []
    for name in ("streaming", "resident"):
        step = Recorder(12 * 20)
        loop = build_loop(name, step, examples(size), batch_size=batch_size, seed=3)
        loop.start(1)
        assert [loop.run(steps).steps for steps in trips] == trips
        seen.append(step.labels())
    assert seen[0] == seen[1]


@pytest.mark.parametrize("name", LOOPS)
def test_one_trip_of_ten_steps_equals_trips_of_three_and_seven_bit_for_bit(name):
    def run(trips):
        step = SGDStep()
        loop = build_loop(name, step, examples(22), batch_size=4, seed=0)
        loop.start(0)
        for steps in trips:
            assert loop.run(steps).steps == steps
        return step.weights.numpy(), np.array(step.noise.seed_generator.state)

    for a, b in zip(run([10]), run([3, 7]), strict=True):
        np.testing.assert_array_equal(a, b)


def test_loops_differ_by_rounding_only():
    found = []
    for name in LOOPS:
        step = SGDStep()
        step.noise.stddev = 0.0  # XLA draws other random numbers
        loop = build_loop(name, step, examples(22), batch_size=4, seed=0)
        loop.start(0)
        loop.run(10)
        found.append(step.weights.numpy())
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-5)


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_stops_before_the_first_batch_that_is_not_finite(name):
    split = examples(10)
    split.features[order(10, 0, 1)[9]] = np.nan  # read in the third step
    step = Recorder(40)
    loop = build_loop(name, step, split, batch_size=4, seed=0)
    loop.start(0)
    result = loop.run(6)
    assert (result.steps, result.finite) == (2, False)
    assert len(step.labels()) == 8


def test_resident_takes_a_bad_step_back_to_the_bits_of_the_good_ones_before_it(tmp_path):
    rich = {
        "data.source": "iris",
        "data.batch_size": 12,
        "train.optimizer": {"name": "adam", "use_ema": True, "global_clipnorm": 0.5},
        "train.schedule": {"name": "cosine", "warmup_steps": 3},
        "model.options": {"hidden": [8], "dropout": 0.3},
    }

    def run(steps, spoil):
        keras.utils.set_random_seed(0)
        parts = assemble(load_config(overrides=rich), data_dir=tmp_path)
        step = TapeStep(parts.predictor, parts.loss, parts.optimizer, parts.metrics)
        split = parts.splits.train
        if spoil:
            split.features[order(split.size, 0, 1)[3 * 12 + 5]] = np.inf  # in the fourth step
        loop = build_loop("resident", step, split, batch_size=12, seed=0)
        loop.start(0)
        result = loop.run(steps)
        return result, [(v.path, np.array(v)) for vs in parts.variables.values() for v in vs]

    good, expected = run(3, spoil=False)
    bad, found = run(8, spoil=True)
    assert (good.steps, good.finite, bad.steps, bad.finite) == (3, True, 3, False)
    for kind in ("kernel", "seed_generator", "iteration", "average", "loss/total"):
        assert any(kind in path for path, _ in found), kind
    for (path, value), (_, other) in zip(expected, found, strict=True):
        np.testing.assert_array_equal(other, value, err_msg=path)


def test_a_call_of_any_length_costs_no_new_trace():
    traces = []

    class Traced(Recorder):
        def unguarded(self, features, labels):
            traces.append(features.shape)
            return super().unguarded(features, labels)

    loop = build_loop("resident", Traced(80), examples(12), batch_size=4, seed=0)
    loop.start(0)
    for steps in (1, 2, 3, 5, 8):
        loop.run(steps)
    assert traces == [(4, 2)]


def test_where_a_trip_begins_is_no_constant_of_the_program():
    """Else XLA would compile anew for every trip."""
    split = examples(12)
    loop = build_loop("resident", Recorder(12), split, batch_size=4, seed=0)
    features, labels = split.tensors
    programs = [
        loop._run.experimental_get_compiler_ir(
            features, labels, tf.range(12), tf.constant(begin), tf.constant(steps), 4
        )(stage="hlo")
        for begin, steps in ((0, 1), (4, 2))
    ]
    assert programs[0] == programs[1]


def test_resident_needs_arrays():
    stream = StreamSplit(tf.data.Dataset.from_tensor_slices(([[1.0]], [0])), 1)
    files = ArraySplit(np.array(["a.png"]), np.zeros(1, np.int32), load=lambda names: names)
    for split in (stream, files):
        with pytest.raises(UsageError, match="'resident' needs the examples as arrays in memory"):
            build_loop("resident", Recorder(1), split, batch_size=1, seed=0)


def test_a_loop_that_is_misspelt_is_answered_with_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'resident'"):
        build_loop("residnt", Recorder(1), examples(3), batch_size=1, seed=0)
