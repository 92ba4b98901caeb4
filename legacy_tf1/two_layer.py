"""A network of two layers, and four ways to write its update, one of which does nothing.

Source: CS231n lecture 8, frameworks. N, D, H = 64, 1000, 100; h = max(x w1, 0); y_pred = h w2; the
loss is the sum of a row's squared errors, averaged over rows; learning rate 1e-5; 50 steps. x, y,
w1 and w2 come from NumPy's seed 0 in this order. The lecture draws the variables of its later
stages with `tf.random_normal`, whose numbers depend on the order in which operations are created;
here every stage starts from the same arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import cache
from typing import Any

import numpy as np
import tensorflow as tf

from legacy_tf1 import by_hand
from legacy_tf1.checks import Record
from legacy_tf1.program import NUMPY, Outcome
from legacy_tf1.training import (
    Array,
    Feeds,
    Step,
    TrainingGraph,
    descend,
    open_session,
    train,
)

v1 = tf.compat.v1

LEARNING_RATE = 1e-5
UPDATES = ("minimize", "group", "reference", "unfetched")


def build(
    x: Array,
    y: Array,
    w1: Array,
    w2: Array,
    learning_rate: float = LEARNING_RATE,
    update: str = "minimize",
) -> TrainingGraph:
    """Builds the network with its weights as variables.

    Args:
        x: `[N, D]`, fed at every step and cast to float32.
        y: `[N, D_out]`, likewise.
        w1: `[D, H]`.
        w2: `[H, D_out]`.
        learning_rate: At least 0.
        update: `minimize`, by the optimizer; `group`, `tf.group` of two assignments; `reference`,
            the same with TF1's reference variables, which is a race; `unfetched`, the assignments
            are in the graph but nothing asks for them.

    Returns:
        A graph with the variables `w1` and `w2`.

    Raises:
        ValueError: `update` is another word.
    """
    if update not in UPDATES:
        raise ValueError(f"update: found {update!r}, allowed {', '.join(UPDATES)}")
    graph = tf.Graph()
    with graph.as_default():
        features = v1.placeholder(tf.float32, x.shape)
        targets = v1.placeholder(tf.float32, y.shape)
        variables = {
            name: v1.get_variable(
                name, initializer=value.astype(np.float32), use_resource=update != "reference"
            )
            for name, value in (("w1", w1), ("w2", w2))
        }
        loss = _loss(features, targets, variables["w1"], variables["w2"])
        if update == "minimize":
            gradients, change = descend(loss, variables, learning_rate)
        else:
            gradients, change = _assign(loss, variables, learning_rate)
        if update == "unfetched":
            change = tf.no_op()
        initialize = v1.global_variables_initializer()

    def feeds(step: int) -> Feeds:
        return {features: x, targets: y}

    return TrainingGraph(graph, loss, variables, gradients, change, initialize, feeds)


def train_fed(
    x: Array, y: Array, w1: Array, w2: Array, learning_rate: float, steps: int
) -> Iterator[Step]:
    """The lecture's first stage: weights are placeholders, and NumPy holds and updates them.

    Every step copies the weights into the session and the gradients out of it.

    Args:
        x: `[N, D]`.
        y: `[N, D_out]`.
        w1: `[D, H]`.
        w2: `[H, D_out]`.
        learning_rate: At least 0.
        steps: How many updates.

    Yields:
        One `Step` for every update.
    """
    graph = tf.Graph()
    with graph.as_default():
        inputs = [v1.placeholder(tf.float32, array.shape) for array in (x, y, w1, w2)]
        loss = _loss(*inputs)
        gradients = dict(zip(("w1", "w2"), tf.gradients(loss, inputs[2:]), strict=True))
    weights = {"w1": w1, "w2": w2}
    with closing(open_session(graph)) as session:
        for _ in range(steps):
            fed = dict(zip(inputs, (x, y, *weights.values()), strict=True))
            value, found = session.run([loss, gradients], feed_dict=fed)
            weights = {name: weights[name] - learning_rate * found[name] for name in weights}
            yield Step(value, found, weights)


def draw() -> tuple[Array, Array, Array, Array]:
    """Returns x `[64, 1000]`, y `[64, 1000]`, w1 `[1000, 100]`, w2 `[100, 1000]`, in float64."""
    random = np.random.RandomState(0)
    batch, width, hidden = 64, 1000, 100
    x, y = random.randn(batch, width), random.randn(batch, width)
    return x, y, random.randn(width, hidden), random.randn(hidden, width)


def run_fed(steps: int) -> Outcome:
    """Weights fed at every step and updated outside of the session."""
    record = Record()
    losses = _losses(train_fed(*draw(), LEARNING_RATE, steps))
    _check_losses(record, losses)
    return record.outcome(loss=losses)


def run_unfetched(steps: int) -> Outcome:
    """Only the loss is fetched, so the session prunes the assignments away."""
    record = Record()
    arrays = draw()
    results = list(train(build(*arrays, update="unfetched"), steps))
    losses = _losses(iter(results))
    (start,) = _expected_losses(1)
    record.close("loss of the first step", start, losses[0], tolerance=1e-6, origin=NUMPY)
    record.equal("loss of every step", np.full(steps, losses[0]), losses)
    for name, array in (("w1", arrays[2]), ("w2", arrays[3])):
        record.equal(f"{name} at the end", array.astype(np.float32), results[-1].weights[name])
    return record.outcome(loss=losses)


def run_group(steps: int) -> Outcome:
    """`tf.group` of both assignments is fetched: now it trains."""
    record = Record()
    losses = _losses(train(build(*draw(), update="group"), steps))
    _check_losses(record, losses)
    return record.outcome(loss=losses)


def run_minimize(steps: int) -> Outcome:
    """The optimizer writes the update; with resource variables it is the group's, bit by bit."""
    record = Record()
    arrays = draw()
    results = list(train(build(*arrays, update="minimize"), steps))
    group = list(train(build(*arrays, update="group"), steps))
    losses = _losses(iter(results))
    _check_losses(record, losses)
    record.equal("loss of the group", _losses(iter(group)), losses)
    for name in ("w1", "w2"):
        record.equal(f"{name} of the group", group[-1].weights[name], results[-1].weights[name])
    return record.outcome(loss=losses)


def _loss(x: tf.Tensor, y: tf.Tensor, w1: Any, w2: Any) -> tf.Tensor:
    hidden = tf.maximum(tf.matmul(x, w1), 0)
    difference = tf.matmul(hidden, w2) - y
    return tf.reduce_mean(tf.reduce_sum(difference**2, axis=1))


def _assign(
    loss: tf.Tensor, variables: dict[str, Any], learning_rate: float
) -> tuple[dict[str, tf.Tensor], tf.Operation]:
    """Returns gradients, and a group of `w.assign(w - learning_rate * gradient)`."""
    found = tf.gradients(loss, list(variables.values()))
    gradients = dict(zip(variables, found, strict=True))
    changes = [
        variable.assign(variable - learning_rate * gradients[name])
        for name, variable in variables.items()
    ]
    return gradients, tf.group(*changes)


def _losses(results: Iterator[Step]) -> list[Any]:
    return [step.loss for step in results]


@cache
def _expected_losses(steps: int) -> tuple[Any, ...]:
    x, y, w1, w2 = draw()
    exact = by_hand.train(
        lambda step: (x, y), {"w1": w1, "w2": w2}, LEARNING_RATE, steps, mean_over="rows"
    )
    return tuple(step.loss for step in exact)


def _check_losses(record: Record, losses: list[Any]) -> None:
    """Compares with NumPy at every step; rounding grows where the loss falls steeply."""
    expected = np.array(_expected_losses(len(losses)))
    found = np.array(losses, np.float64)
    name = "loss of the first step"
    record.close(name, expected[0], found[0], tolerance=1e-6, origin=NUMPY)
    record.close("loss of the last step", expected[-1], found[-1], tolerance=1e-3, origin=NUMPY)
    share = found / expected  # so that the small losses count as much as the large ones
    name = "loss of every step, divided"
    record.close(name, np.ones(len(losses)), share, tolerance=1e-3, origin=NUMPY)
