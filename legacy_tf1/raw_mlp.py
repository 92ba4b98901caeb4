"""A network of three layers whose six variables and update are written out.

Source: MNIST with raw variables: 784-256-128-10, ReLU, ReLU, linear; weights truncated normal with
0.1, biases 0; the loss is the mean over all batch x 10 entries of (one-hot - out)^2; learning rate
0.001, batches of 200 in file order. The notes show a curve and print no number. Their comment calls
the loss the mean over rows of the sum, which would be ten times as much.

The package holds no data. The program trains on 2,000 rows of noise; `build` takes any arrays.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from legacy_tf1 import by_hand
from legacy_tf1.checks import Record
from legacy_tf1.program import NUMPY, Outcome
from legacy_tf1.training import Array, TrainingGraph, batches, descend, make_variables, train

v1 = tf.compat.v1

SIZES = (784, 256, 128, 10)
BATCH_SIZE = 200
LEARNING_RATE = 0.001
WEIGHTS = ("w1", "b1", "w2", "b2", "w3", "b3")


def build(
    images: Array,
    labels: Array,
    weights: Mapping[str, Array],
    batch_size: int = BATCH_SIZE,
    learning_rate: float = LEARNING_RATE,
) -> TrainingGraph:
    """Builds the network; its sizes are those of the weights.

    The placeholders are named `images` and `labels`, the result `out`.

    Args:
        images: `[N, ...]`, scaled to 0 to 1; a row has as many numbers as `w1` has rows.
        labels: `[N]`, class numbers.
        weights: `w1` `[in, h1]`, `b1` `[h1]`, `w2`, `b2`, `w3` `[h2, classes]`, `b3` `[classes]`.
        batch_size: B, from 1 to N, in the order of the arrays.
        learning_rate: At least 0.

    Returns:
        A graph with the six variables.

    Raises:
        ValueError: `batch_size` is out of range.
    """
    inputs, classes = weights["w1"].shape[0], weights["w3"].shape[1]
    graph = tf.Graph()
    with graph.as_default():
        features = v1.placeholder(tf.float32, [None, *images.shape[1:]], name="images")
        targets = v1.placeholder(tf.int32, [None], name="labels")
        variables = make_variables({name: weights[name] for name in WEIGHTS})
        w1, b1, w2, b2, w3, b3 = variables.values()
        x = tf.reshape(features, [-1, inputs])
        hidden = tf.nn.relu(tf.matmul(x, w1) + b1)
        hidden = tf.nn.relu(tf.matmul(hidden, w2) + b2)
        out = tf.add(tf.matmul(hidden, w3), b3, name="out")
        loss = tf.reduce_mean(tf.square(tf.one_hot(targets, classes) - out))
        gradients, update = descend(loss, variables, learning_rate)
        initialize = v1.global_variables_initializer()
    feeds = batches({features: images, targets: labels}, batch_size)
    return TrainingGraph(graph, loss, variables, gradients, update, initialize, feeds)


def draw_weights(seed: int = 0, sizes: tuple[int, int, int, int] = SIZES) -> dict[str, Array]:
    """Draws the notes' weights: normal with 0.1, drawn again beyond two deviations; biases 0.

    Cutting off at two deviations leaves a deviation of 0.088.

    Args:
        seed: Of NumPy's `default_rng`.
        sizes: Of the input, both hidden layers and the output.
    """
    random = np.random.default_rng(seed)
    weights = {}
    for number in (1, 2, 3):
        shape = (sizes[number - 1], sizes[number])
        normal = random.normal(size=shape)
        while np.any(outside := np.abs(normal) > 2):
            normal[outside] = random.normal(size=np.count_nonzero(outside))
        weights[f"w{number}"] = (0.1 * normal).astype(np.float32)
        weights[f"b{number}"] = np.zeros(sizes[number], np.float32)
    return weights


def draw_rows(rows: int = 2000, seed: int = 0) -> tuple[Array, Array]:
    """Returns noise in the place of MNIST: `[rows, 784]` uniform in 0 to 1, and `[rows]` labels."""
    random = np.random.default_rng(seed)
    images = random.uniform(size=(rows, SIZES[0])).astype(np.float32)
    return images, random.integers(SIZES[-1], size=rows).astype(np.int32)


def run(steps: int) -> Outcome:
    """Trains on noise; the first steps are compared with NumPy."""
    record = Record()
    images, labels = draw_rows()
    weights = draw_weights()
    losses = [step.loss for step in train(build(images, labels, weights), steps)]

    def batch(step: int) -> tuple[Array, Array]:
        start = step * BATCH_SIZE % len(images)
        rows = slice(start, start + BATCH_SIZE)
        return images[rows], np.eye(SIZES[-1])[labels[rows]]

    few = min(steps, 10)
    exact = by_hand.train(batch, weights, LEARNING_RATE, few, mean_over="entries")
    expected = [step.loss for step in exact]
    name = f"loss of the first {few} steps"
    record.close(name, expected, losses[:few], tolerance=1e-5, origin=NUMPY)
    summed, _ = by_hand.loss_and_gradients(*batch(0), weights, mean_over="rows")
    record.close("loss, were it the mean of sums", 10 * losses[0], summed, tolerance=1e-5)
    if record.reached("fall of the loss", 300, steps):
        fell = losses[299] < losses[0] / 3
        found = f"{losses[0]:.6g} to {losses[299]:.6g}"
        record.relation("fall of the loss in 300 steps", "to less than a third", found, fell)
    return record.outcome(loss=losses)
