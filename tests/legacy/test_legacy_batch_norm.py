from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from legacy_tf1 import batch_norm, small_cnn
from legacy_tf1.training import train

CHANNELS = 3
KERNELS = pytest.mark.parametrize("fused", [True, False], ids=["fused", "plain"])


def draw(fused):
    random = np.random.default_rng(0)
    shape = (4, 5, 5, CHANNELS) if fused else (100, CHANNELS)
    return 2 + 3 * random.normal(size=shape), random.normal(size=shape)


def rows_of(x):
    return x.reshape(-1, CHANNELS)


@KERNELS
@pytest.mark.parametrize("steps", [1, 5])
def test_averages_follow_their_closed_form(fused, steps):
    x, y = draw(fused)
    *_, last = train(batch_norm.build(x, y, batch_norm.start_weights(CHANNELS)), steps)
    mean, variance = rows_of(x).mean(axis=0), rows_of(x).var(axis=0)
    if fused:
        variance *= 100 / 99  # n values of a channel: divided by n - 1
    kept = 0.99**steps
    np.testing.assert_allclose(last.weights["moving_mean"], mean * (1 - kept), rtol=1e-5)
    expected = kept + variance * (1 - kept)
    np.testing.assert_allclose(last.weights["moving_variance"], expected, rtol=1e-5)


@KERNELS
def test_forgotten_updates_leave_the_averages_where_they_start(fused):
    start = batch_norm.start_weights(CHANNELS)
    for step in train(batch_norm.build(*draw(fused), start, run_updates=False), 5):
        np.testing.assert_array_equal(step.weights["moving_mean"], np.zeros(CHANNELS))
        np.testing.assert_array_equal(step.weights["moving_variance"], np.ones(CHANNELS))


@KERNELS
def test_the_loss_and_gradients_are_those_of_numpy(fused):
    x, y = draw(fused)
    weights = batch_norm.start_weights(CHANNELS) | {
        "gamma": np.array([0.5, 2.0, -1.0], np.float32),
        "beta": np.array([1.0, 0.0, -2.0], np.float32),
    }
    (step,) = train(batch_norm.build(x, y, weights), 1)
    rows, targets = rows_of(x), rows_of(y)
    plain = (rows - rows.mean(axis=0)) / np.sqrt(rows.var(axis=0) + 1e-3)
    errors = plain * weights["gamma"] + weights["beta"] - targets
    assert float(step.loss) == pytest.approx(np.mean(errors**2), rel=1e-5)
    gamma, beta = 2 * (errors * plain).sum(axis=0), 2 * errors.sum(axis=0)
    np.testing.assert_allclose(step.gradients["gamma"], gamma / errors.size, rtol=1e-4)
    np.testing.assert_allclose(step.gradients["beta"], beta / errors.size, rtol=1e-4)
    assert set(step.gradients) == {"gamma", "beta"}


@KERNELS
def test_inference_uses_the_averages(fused):
    x, _ = draw(fused)
    weights = {
        "gamma": np.array([0.5, 2.0, -1.0]),
        "beta": np.array([1.0, 0.0, -2.0]),
        "moving_mean": np.array([1.0, 2.0, 3.0]),
        "moving_variance": np.array([4.0, 9.0, 0.25]),
    }
    scale = weights["gamma"] / np.sqrt(weights["moving_variance"] + 1e-3)
    expected = (x - weights["moving_mean"]) * scale + weights["beta"]
    np.testing.assert_allclose(batch_norm.infer(x, weights), expected, rtol=1e-4, atol=1e-5)


def test_inference_registers_no_updates():
    with tf.Graph().as_default() as graph:
        variables = batch_norm.make_normalization(batch_norm.start_weights(2))
        x = tf.compat.v1.placeholder(tf.float32, [None, 2])
        batch_norm.normalize(x, variables, training=False)
        assert graph.get_collection("update_ops") == []
        batch_norm.normalize(x, variables, training=True)
        assert len(graph.get_collection("update_ops")) == 2


def test_another_rank_is_refused():
    with tf.Graph().as_default():
        x = tf.compat.v1.placeholder(tf.float32, [None, 2, 2])
        with pytest.raises(ValueError, match="x: found rank 3, allowed"):
            batch_norm.normalize(x, {}, training=True)


def tape_of_cnn(images, labels, weights, rate, steps):
    """The small network with a tape and `tf.nn.moments`, on the whole data at every step."""
    v = {name: tf.Variable(value) for name, value in weights.items()}
    count = images.shape[0] * images.shape[1] * images.shape[2]
    for _ in range(steps):
        with tf.GradientTape() as tape:
            x = tf.nn.conv2d(images, v["conv/kernel"], 1, "SAME")
            mean, variance = tf.nn.moments(x, [0, 1, 2])
            x = tf.nn.batch_normalization(x, mean, variance, v["bn/beta"], v["bn/gamma"], 1e-3)
            x = tf.nn.max_pool2d(tf.nn.relu(x), 2, 2, "VALID")
            logits = tf.reshape(x, [len(x), -1]) @ v["dense/kernel"] + v["dense/bias"]
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        trained = [v[name] for name in small_cnn.TRAINED]
        for variable, gradient in zip(trained, tape.gradient(loss, trained), strict=True):
            variable.assign_sub(rate * gradient)
        unbiased = variance * count / (count - 1)
        for name, value in (("mean", mean), ("variance", unbiased)):
            v[f"bn/moving_{name}"].assign_sub(0.1 * (v[f"bn/moving_{name}"] - value))
        yield float(loss), {name: variable.numpy() for name, variable in v.items()}


def test_the_small_network_is_the_same_with_a_tape():
    random = np.random.default_rng(0)
    images = random.uniform(size=(12, 7, 6, 2)).astype(np.float32)
    labels = random.integers(4, size=12)
    weights = small_cnn.draw_weights((7, 6, 2), filters=3, classes=4)
    training = small_cnn.build(images, labels, weights, 12, 0.2, momentum=0.9)
    taped = tape_of_cnn(images, labels, weights, 0.2, 5)
    for step, (loss, expected) in zip(train(training, 5), taped, strict=True):
        assert float(step.loss) == pytest.approx(loss, rel=1e-5)
        assert list(step.weights) == list(weights)
        for name, weight in expected.items():
            np.testing.assert_allclose(step.weights[name], weight, rtol=1e-4, atol=1e-5)


def test_the_small_network_learns_from_batches():
    random = np.random.default_rng(0)
    labels = random.integers(2, size=64)
    images = random.normal(size=(64, 6, 6, 1)) + labels[:, None, None, None]
    training = small_cnn.build(images, labels, small_cnn.draw_weights((6, 6, 1), 4, 2), 16)
    losses = [float(step.loss) for step in train(training, 40)]
    assert np.mean(losses[-4:]) < 0.5 * np.mean(losses[:4])


@pytest.mark.parametrize("run_updates", [True, False])
def test_the_averages_of_the_small_network_move_if_they_are_run(run_updates):
    weights = small_cnn.draw_weights((6, 6, 1), 4, 2)
    images = np.ones((8, 6, 6, 1), np.float32)
    labels = np.arange(8) % 2
    training = small_cnn.build(images, labels, weights, 8, run_updates=run_updates)
    (step,) = train(training, 1)
    assert bool(step.weights["bn/moving_mean"].any()) is run_updates
