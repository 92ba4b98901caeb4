"""Batch normalization, and what happens when nobody runs its updates.

A layer of TF1 keeps moving averages for inference. It only puts their updates into the collection
`UPDATE_OPS`; running them is up to the program. One that forgets still trains well, because
training uses the batch's own statistics, and infers with mean 0 and variance 1.

Source: the defaults of `tf.layers.batch_normalization`, momentum 0.99 and epsilon 0.001. After k
steps on one batch with mean m and variance v the moving mean is m (1 - 0.99^k), and the moving
variance is 0.99^k + v (1 - 0.99^k).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

import numpy as np
import tensorflow as tf

from legacy_tf1.checks import Record
from legacy_tf1.program import Outcome
from legacy_tf1.training import (
    Array,
    Feeds,
    TrainingGraph,
    descend,
    make_variables,
    open_session,
    train,
)

v1 = tf.compat.v1

MOMENTUM = 0.99
EPSILON = 1e-3
TRAINED = ("gamma", "beta")
AVERAGES = ("moving_mean", "moving_variance")


def normalize(
    x: tf.Tensor,
    variables: Mapping[str, Any],
    *,
    training: bool,
    momentum: float = MOMENTUM,
    epsilon: float = EPSILON,
) -> tf.Tensor:
    """Normalizes the last axis, as `tf.layers.batch_normalization` did.

    Images go through the fused kernel. The variance it hands out for the average is divided by
    n - 1, where n is the number of values of a channel; that of `tf.nn.moments` by n.

    Args:
        x: `[B, C]` or `[B, H, W, C]`.
        variables: `gamma`, `beta`, `moving_mean`, `moving_variance`, `[C]` each.
        training: Whether to use the batch's statistics and to put the updates of the averages
            into `UPDATE_OPS`; otherwise the averages are used.
        momentum: What an average keeps of itself in an update.
        epsilon: Added to the variance.

    Returns:
        The shape of `x`.

    Raises:
        ValueError: `x` has another rank.
    """
    if x.shape.rank not in (2, 4):
        raise ValueError(f"x: found rank {x.shape.rank}, allowed [B, C] or [B, H, W, C]")
    gamma, beta = (variables[name] for name in TRAINED)
    averages = [variables[name] for name in AVERAGES]
    if x.shape.rank == 4:
        kept = [None, None] if training else averages
        y, *statistics = v1.nn.fused_batch_norm(
            x, gamma, beta, *kept, epsilon=epsilon, is_training=training
        )
    else:
        statistics = tf.nn.moments(x, [0]) if training else averages
        y = tf.nn.batch_normalization(x, *statistics, beta, gamma, epsilon)
    if training:
        for average, value in zip(averages, statistics, strict=True):
            moved = average.assign_sub((average - value) * (1 - momentum))
            v1.add_to_collection(v1.GraphKeys.UPDATE_OPS, moved)
    return y


def make_normalization(weights: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Makes the four variables of a layer; the averages are not trainable.

    Args:
        weights: Holds `gamma`, `beta`, `moving_mean`, `moving_variance` under `prefix`.
        prefix: In front of every name, e.g. `bn/`.
    """
    made = {}
    for names, trainable in ((TRAINED, True), (AVERAGES, False)):
        part = {prefix + name: weights[prefix + name] for name in names}
        made.update(make_variables(part, trainable=trainable))
    return {name.removeprefix(prefix): variable for name, variable in made.items()}


def with_averages(update: tf.Operation, *, run_updates: bool) -> tf.Operation:
    """Returns the update, together with what is in `UPDATE_OPS` if that is to run."""
    if not run_updates:
        return update
    return tf.group(update, *v1.get_collection(v1.GraphKeys.UPDATE_OPS))


def build(
    x: Array,
    y: Array,
    weights: Mapping[str, Array],
    learning_rate: float = 0.1,
    *,
    run_updates: bool = True,
) -> TrainingGraph:
    """Builds one normalization, trained towards `y` on squared errors.

    Args:
        x: `[B, C]`, or `[B, H, W, C]` for the fused kernel; one batch, fed at every step.
        y: The shape of `x`.
        weights: The four variables by name, `[C]` each.
        learning_rate: At least 0.
        run_updates: Whether the update runs `UPDATE_OPS`. Leaving it out is the mistake.

    Returns:
        A graph with four variables and gradients for two.
    """
    graph = tf.Graph()
    with graph.as_default():
        inputs = v1.placeholder(tf.float32, x.shape)
        targets = v1.placeholder(tf.float32, y.shape)
        variables = make_normalization(weights)
        loss = tf.reduce_mean((normalize(inputs, variables, training=True) - targets) ** 2)
        trained = {name: variables[name] for name in TRAINED}
        gradients, update = descend(loss, trained, learning_rate)
        update = with_averages(update, run_updates=run_updates)
        initialize = v1.global_variables_initializer()

    def feeds(step: int) -> Feeds:
        return {inputs: x, targets: y}

    return TrainingGraph(graph, loss, variables, gradients, update, initialize, feeds)


def infer(x: Array, weights: Mapping[str, Array]) -> Array:
    """Normalizes with the moving averages.

    Args:
        x: `[B, C]` or `[B, H, W, C]`.
        weights: The four variables by name.

    Returns:
        The shape of `x`.
    """
    graph = tf.Graph()
    with graph.as_default():
        inputs = v1.placeholder(tf.float32, x.shape)
        y = normalize(inputs, make_normalization(weights), training=False)
        initialize = v1.global_variables_initializer()
    with closing(open_session(graph)) as session:
        session.run(initialize)
        found: Array = session.run(y, feed_dict={inputs: x})
    return found


def start_weights(channels: int) -> dict[str, Array]:
    """Returns TF1's initial values: gamma 1, beta 0, mean 0, variance 1."""
    zeros, ones = np.zeros(channels, np.float32), np.ones(channels, np.float32)
    return {"gamma": ones, "beta": zeros, "moving_mean": zeros, "moving_variance": ones}


def draw() -> tuple[Array, Array]:
    """Returns x `[8, 5, 5, 3]` around 3 with deviation 2, and targets of the same shape."""
    random = np.random.RandomState(0)
    return 3 + 2 * random.randn(8, 5, 5, 3), random.randn(8, 5, 5, 3)


def run_updated(steps: int) -> Outcome:
    """With UPDATE_OPS: both averages follow the closed form, by both kernels."""
    record = Record()
    values = {}
    for name, x, y in _shapes():
        last = list(train(build(x, y, start_weights(3)), steps))[-1].weights
        rows = x.reshape(-1, 3)
        unbiased = 1 if x.ndim == 4 else 0
        kept = MOMENTUM**steps
        mean = rows.mean(axis=0) * (1 - kept)
        variance = kept + rows.var(axis=0, ddof=unbiased) * (1 - kept)
        record.close(f"moving mean, {name}", mean, last["moving_mean"], tolerance=1e-5)
        found = last["moving_variance"]
        record.close(f"moving variance, {name}", variance, found, tolerance=1e-5)
        values[f"moving_mean_{name}"] = last["moving_mean"]
        values[f"moving_variance_{name}"] = found
    return record.outcome(**values)


def run_forgotten(steps: int) -> Outcome:
    """Without UPDATE_OPS: trained alike, but inference normalizes nothing."""
    record = Record()
    values = {}
    for name, x, y in _shapes():
        start = start_weights(3)
        updated, forgotten = (
            list(train(build(x, y, start, run_updates=runs), steps)) for runs in (True, False)
        )
        losses = [[step.loss for step in part] for part in (updated, forgotten)]
        record.equal(f"loss of every step, {name}", *losses)
        last = forgotten[-1].weights
        for average in AVERAGES:
            record.equal(f"{average}, {name}", start[average], last[average])
        expected = x * (last["gamma"] / np.sqrt(1 + EPSILON)) + last["beta"]
        record.close(f"inference, {name}", expected, infer(x, last), tolerance=1e-5)
        values[f"moving_mean_{name}"] = last["moving_mean"]
        values[f"moving_variance_{name}"] = last["moving_variance"]
    return record.outcome(**values)


def _shapes() -> list[tuple[str, Array, Array]]:
    x, y = draw()
    return [("fused", x, y), ("plain", x.reshape(-1, 3), y.reshape(-1, 3))]
