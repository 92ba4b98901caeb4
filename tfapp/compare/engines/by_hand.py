"""NumPy: gradients written by hand, in float32.

B is the batch size, D the features of a row, H a hidden width, K the number of classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from tfapp.compare.task import Task
from tfapp.compare.trace import Array, Step, Train, step_by_step

Arrays = Mapping[str, Array]


def run(task: Task) -> Iterator[Step]:
    """Yields the steps of gradient descent."""
    descent = Descent(task)
    for number in range(task.steps):
        loss, gradients = descent.step(number)
        yield Step(np.float32(loss), gradients, descent.weights)


def train(task: Task) -> Train:
    """Returns what makes the steps of `run`."""
    descent = Descent(task)
    return step_by_step(lambda number: descent.step(number)[0])


class Descent:
    """Gradient descent on weights that are replaced and never changed.

    Args:
        task: What is computed.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._differentiate = _GRADIENTS[task.program.kind]
        self._learning_rate = np.float32(task.program.learning_rate)
        self.weights: Arrays = task.arrays.weights

    def step(self, number: int) -> tuple[Any, dict[str, Any]]:
        """Updates once; returns the loss before the update, and the gradients."""
        loss, gradients = self._differentiate(self.weights, self._task.batch(number))
        self.weights = {
            name: value - self._learning_rate * gradients[name]
            for name, value in self.weights.items()
        }
        return loss, gradients


def polynomial(weights: Arrays, data: Arrays) -> tuple[Any, dict[str, Any]]:
    """Differentiates c0 w^2 + c1 w + c2; the coefficients are `[3, 1]`."""
    squared, linear, constant = data["coefficients"].ravel()
    w = weights["w"]
    return squared * w**2 + linear * w + constant, {"w": squared * (2 * w) + linear}


def total(weights: Arrays, data: Arrays) -> tuple[Any, dict[str, Any]]:
    """Differentiates sum(x y + z), `[N, D]` each: for x it is y, for y it is x, for z ones."""
    x, y, z = (data[name] for name in "xyz")
    return np.sum(x * y + z), {"x": y, "y": x, "z": np.ones_like(z)}


def two_layer(weights: Arrays, data: Arrays) -> tuple[Any, dict[str, Any]]:
    """Differentiates the squared error of x `[B, D]` against y, summed in a row, then averaged."""
    x, y = data["x"], data["y"]
    before = x @ weights["w1"]  # [B, H]
    hidden = np.maximum(before, 0)
    difference = hidden @ weights["w2"] - y
    flowing = difference * np.float32(2 / len(x))
    back = flowing @ weights["w2"].T * (before >= 0)
    gradients = {"w1": x.T @ back, "w2": hidden.T @ flowing}
    return np.mean(np.sum(difference**2, axis=1)), gradients


def mlp(weights: Arrays, data: Arrays) -> tuple[Any, dict[str, Any]]:
    """Differentiates the squared error of images `[B, D]` against labels `[B]`, over all B K."""
    inputs = [data["images"]]
    for layer in (1, 2):
        inputs.append(np.maximum(inputs[-1] @ weights[f"w{layer}"] + weights[f"b{layer}"], 0))
    out = inputs[-1] @ weights["w3"] + weights["b3"]
    difference = out - np.eye(out.shape[1], dtype=np.float32)[data["labels"]]
    flowing = difference * np.float32(2 / difference.size)
    gradients = {}
    for layer in (3, 2, 1):
        if layer < 3:
            flowing = flowing @ weights[f"w{layer + 1}"].T * (inputs[layer] > 0)
        gradients[f"w{layer}"] = inputs[layer - 1].T @ flowing
        gradients[f"b{layer}"] = flowing.sum(axis=0)
    return np.mean(difference**2), gradients


_GRADIENTS: Mapping[str, Callable[[Arrays, Arrays], tuple[Any, dict[str, Any]]]] = {
    "polynomial": polynomial,
    "fed polynomial": polynomial,
    "sum": total,
    "two-layer": two_layer,
    "mlp": mlp,
}
