"""By hand: NumPy brings arrays, all else is written here.

B is the batch size. The network has layers of 256, 128 and 10 units.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

Arrays = dict[str, Any]


def parameters(weights: Arrays) -> Arrays:
    """Returns kernels `[inputs, outputs]` and biases `[outputs]` that may be changed in place."""
    return {name: value.copy() for name, value in weights.items()}


def forward(weights: Arrays, images: Any) -> tuple[Any, Any, Any]:
    """Returns what the layers make of images `[B, 784]`: `[B, 256]`, `[B, 128]`, `[B, 10]`."""
    first = np.maximum(images @ weights["w1"] + weights["b1"], 0)
    second = np.maximum(first @ weights["w2"] + weights["b2"], 0)
    return first, second, second @ weights["w3"] + weights["b3"]


def loss(output: Any, targets: Any) -> Any:
    """Returns the mean of the squared errors of all entries `[B, 10]`."""
    return np.mean((output - targets) ** 2)


def gradients(weights: Arrays, images: Any, layers: tuple[Any, Any, Any], targets: Any) -> Arrays:
    """Returns the derivative of the loss by each weight, found from the output backwards."""
    first, second, output = layers
    back = 2 * (output - targets) / output.size
    slopes = {"w3": second.T @ back, "b3": back.sum(axis=0)}
    back = back @ weights["w3"].T * (second > 0)
    slopes |= {"w2": first.T @ back, "b2": back.sum(axis=0)}
    back = back @ weights["w2"].T * (first > 0)
    return slopes | {"w1": images.T @ back, "b1": back.sum(axis=0)}


def update(weights: Arrays, slopes: Arrays, learning_rate: float) -> None:
    """Goes down the slopes by one step."""
    for name, slope in slopes.items():
        weights[name] -= learning_rate * slope


class Trainer:
    """Trains batch after batch, in the order of the rows and again from the start."""

    def __init__(
        self, images: Any, labels: Any, weights: Arrays, learning_rate: float, batch_size: int
    ) -> None:
        self._weights = parameters(weights)
        self._learning_rate = learning_rate
        targets = np.eye(10, dtype=np.float32)[labels]
        cuts = range(batch_size, len(images), batch_size)
        batches = zip(np.split(images, cuts), np.split(targets, cuts), strict=True)
        self._batches = itertools.cycle(batches)

    def run(self, steps: int) -> float:
        """Trains `steps` steps more and returns the loss of the last, before its update."""
        for images, targets in itertools.islice(self._batches, steps):
            layers = forward(self._weights, images)
            value = loss(layers[-1], targets)
            slopes = gradients(self._weights, images, layers, targets)
            update(self._weights, slopes, self._learning_rate)
        return float(value)

    def weights(self) -> Arrays:
        """Returns the weights as they are now."""
        return self._weights
