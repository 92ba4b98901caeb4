"""TensorFlow with raw variables: a gradient tape differentiates, all else is written here.

B is the batch size. The network has layers of 256, 128 and 10 units.
"""

from __future__ import annotations

import itertools
from typing import Any

import tensorflow as tf

Arrays = dict[str, Any]


def parameters(weights: Arrays) -> Arrays:
    """Returns variables of kernels `[inputs, outputs]` and biases `[outputs]`."""
    return {name: tf.Variable(value) for name, value in weights.items()}


def forward(variables: Arrays, images: Any) -> Any:
    """Returns the output `[B, 10]` for images `[B, 784]`."""
    first = tf.nn.relu(images @ variables["w1"] + variables["b1"])
    second = tf.nn.relu(first @ variables["w2"] + variables["b2"])
    return second @ variables["w3"] + variables["b3"]


def loss(output: Any, targets: Any) -> Any:
    """Returns the mean of the squared errors of all entries `[B, 10]`."""
    return tf.reduce_mean((output - targets) ** 2)


def gradients(variables: Arrays, images: Any, targets: Any) -> tuple[Any, Arrays]:
    """Returns the loss, and its derivative by each variable."""
    with tf.GradientTape() as tape:
        value = loss(forward(variables, images), targets)
    return value, tape.gradient(value, variables)


def update(variables: Arrays, slopes: Arrays, learning_rate: float) -> None:
    """Goes down the slopes by one step."""
    for name, slope in slopes.items():
        variables[name].assign_sub(learning_rate * slope)


class Trainer:
    """Trains batch after batch, in the order of the rows and again from the start."""

    def __init__(
        self, images: Any, labels: Any, weights: Arrays, learning_rate: float, batch_size: int
    ) -> None:
        self._variables = parameters(weights)
        self._learning_rate = learning_rate
        rows = tf.data.Dataset.from_tensor_slices((images, tf.one_hot(labels, 10)))
        self._batches = itertools.cycle(rows.batch(batch_size))

    @tf.function
    def _step(self, images: Any, targets: Any) -> Any:
        value, slopes = gradients(self._variables, images, targets)
        update(self._variables, slopes, self._learning_rate)
        return value

    def run(self, steps: int) -> float:
        """Trains `steps` steps more and returns the loss of the last, before its update."""
        for images, targets in itertools.islice(self._batches, steps):
            value = self._step(images, targets)
        return float(value)

    def weights(self) -> Arrays:
        """Returns the weights as they are now."""
        return {name: variable.numpy() for name, variable in self._variables.items()}
