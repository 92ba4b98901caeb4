"""Rows in TensorFlow 2: a gradient tape, with Keras's optimizer and without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfapp.compare import arrays
from tfapp.compare.arrays import MLP_SIZES
from tfapp.compare.engines.tf1 import run_program
from tfapp.compare.notes.checks import CLOSED_FORM, NUMPY, RELATION, Record
from tfapp.compare.notes.numpy_programs import descend, squared_error

BATCH_SIZE = 200
EPOCHS = 20
# The deviation of a normal that is drawn again beyond two deviations.
CUT_DEVIATION = 0.87962566


def quadratic(record: Record) -> None:
    """Row 2: a tape and Keras's SGD."""
    path = train_quadratic(keras.optimizers.SGD(0.01), 200)
    exact = 5 * (1 - 0.98 ** np.arange(1, 201))
    record.close("w at every step", exact, path, tolerance=1e-6, origin=CLOSED_FORM)
    for steps, expected in ((1, 0.099999994), (2, 0.19799998), (100, 4.3369026), (200, 4.9120612)):
        record.measured(f"w after step {steps}", expected, path[steps - 1])


def raw_network(record: Record) -> None:
    """Row 6: a network of raw variables; the curve holds the last loss of every epoch."""
    drawn = arrays.mlp()
    images, labels = drawn.data["images"], drawn.data["labels"]
    losses = train_raw(images, labels, drawn.weights, rate=0.001)

    few = 5
    found = descend(_by_hand(images, labels), list(drawn.weights.values()), 0.001, few)
    expected = [loss for loss, _ in found]
    name = f"loss of the first {few} steps"
    record.close(name, expected, losses[:few], tolerance=1e-5, origin=NUMPY)
    values, checks = run_program("raw-mlp", 50)
    record.include(checks)
    name = "loss of the first 50 steps, beside a TF1 session"
    record.close(name, values["loss"], losses[:50], tolerance=1e-5, origin=RELATION)
    curve = np.array(losses).reshape(EPOCHS, -1)[:, -1]
    falls = bool(np.all(np.diff(curve) < 0))
    shown = f"{curve[0]:.6g} to {curve[-1]:.6g}"
    record.relation("curve of 20 epochs", "falls from epoch to epoch", shown, falls)
    _check_mistakes(record)


def train_quadratic(optimizer: Any, steps: int) -> list[float]:
    """Returns w after each step of a Keras optimizer on w^2 - 10 w + 25, from 0."""
    w = tf.Variable(0.0)
    path = []
    for _ in range(steps):
        with tf.GradientTape() as tape:
            cost = w**2 - 10 * w + 25
        optimizer.apply_gradients([(tape.gradient(cost, w), w)])
        path.append(float(w))
    return path


def train_raw(images: Any, labels: Any, weights: Any, rate: float) -> list[float]:
    """Trains 20 epochs in batches of 200, in the order of the rows.

    Args:
        images: `[N, 784]`, from 0 to 1.
        labels: `[N]`, class numbers.
        weights: `w1`, `b1` to `w3`, `b3`, in this order.
        rate: Of gradient descent.

    Returns:
        The loss of each step.
    """
    variables = [tf.Variable(value) for value in weights.values()]
    w1, b1, w2, b2, w3, b3 = variables

    @tf.function
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            hidden = tf.nn.relu(x @ w1 + b1)
            hidden = tf.nn.relu(hidden @ w2 + b2)
            out = hidden @ w3 + b3  # [B, 10]
            loss = tf.reduce_mean(tf.square(tf.one_hot(y, 10) - out))
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign_sub(rate * gradient)
        return loss

    batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(BATCH_SIZE)
    return [float(step(x, y)) for _ in range(EPOCHS) for x, y in batches]


def _by_hand(images: Any, labels: Any) -> Callable[[int, Any], tuple[float, Any]]:
    """Returns the loss and its gradients, of the number of a step and the weights."""

    def differentiate(step: int, weights: Any) -> tuple[float, Any]:
        rows = slice(step * BATCH_SIZE, (step + 1) * BATCH_SIZE)
        wanted = np.eye(MLP_SIZES[-1])[labels[rows]]
        return squared_error(images[rows].astype(np.float64), wanted, weights, wanted.size)

    return differentiate


def _check_mistakes(record: Record) -> None:
    drawn = tf.random.stateless_truncated_normal(MLP_SIZES[:2], seed=(0, 0), stddev=0.1)
    record.close(
        "deviation of truncated_normal(stddev=0.1)",
        0.1 * CUT_DEVIATION,
        np.std(drawn),
        tolerance=0.01,
        origin=CLOSED_FORM,
    )

    # In a tf.function that takes batches of any size, a shape does not know theirs.
    @tf.function(input_signature=[tf.TensorSpec([None, 784])], autograph=False)
    def spread(x: Any) -> None:
        line = "tf.broadcast_to(b1, [x.shape[0], 256])"
        record.fails(line, "[None, 256]", TypeError, tf=tf, b1=tf.zeros([256]), x=x)

    spread.get_concrete_function()
