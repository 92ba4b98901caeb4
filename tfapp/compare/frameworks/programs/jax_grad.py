"""JAX: functions of arrays; `grad` differentiates them, `jit` compiles, all else is written here.

B is the batch size. The network has layers of 256, 128 and 10 units.
"""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp

Arrays = dict[str, Any]


def parameters(weights: Arrays) -> Arrays:
    """Returns kernels `[inputs, outputs]` and biases `[outputs]` as arrays of JAX."""
    return {name: jnp.asarray(value) for name, value in weights.items()}


def forward(weights: Arrays, images: Any) -> Any:
    """Returns the output `[B, 10]` for images `[B, 784]`."""
    first = jax.nn.relu(images @ weights["w1"] + weights["b1"])
    second = jax.nn.relu(first @ weights["w2"] + weights["b2"])
    return second @ weights["w3"] + weights["b3"]


def loss(weights: Arrays, images: Any, targets: Any) -> Any:
    """Returns the mean of the squared errors of all entries `[B, 10]`."""
    return jnp.mean((forward(weights, images) - targets) ** 2)


def update(weights: Arrays, slopes: Arrays, learning_rate: float) -> Arrays:
    """Returns the weights one step down the slopes."""
    return {name: value - learning_rate * slopes[name] for name, value in weights.items()}


@jax.jit
def step(weights: Arrays, images: Any, targets: Any, learning_rate: float) -> tuple[Any, Arrays]:
    """Returns the loss, and the weights after the update."""
    value, slopes = jax.value_and_grad(loss)(weights, images, targets)
    return value, update(weights, slopes, learning_rate)


class Trainer:
    """Trains batch after batch, in the order of the rows and again from the start."""

    def __init__(
        self, images: Any, labels: Any, weights: Arrays, learning_rate: float, batch_size: int
    ) -> None:
        self._weights = parameters(weights)
        self._learning_rate = learning_rate
        cuts = list(range(batch_size, len(images), batch_size))
        inputs = jnp.split(jnp.asarray(images), cuts)
        targets = jnp.split(jax.nn.one_hot(labels, 10), cuts)
        self._batches = itertools.cycle(zip(inputs, targets, strict=True))

    def run(self, steps: int) -> float:
        """Trains `steps` steps more and returns the loss of the last, before its update."""
        for images, targets in itertools.islice(self._batches, steps):
            value, self._weights = step(self._weights, images, targets, self._learning_rate)
        return float(value)

    def weights(self) -> Arrays:
        """Returns the weights as they are now."""
        return {name: jax.device_get(value) for name, value in self._weights.items()}
