"""Dense networks in NumPy and float64, differentiated by hand: what sessions are compared with.

Weights are a mapping in the order of use: a kernel `[in, out]` of every layer, each followed by its
bias `[out]` if it has one. Between two layers is a ReLU; the last layer is linear.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from legacy_tf1.training import Array, Step


def train(
    batch: Callable[[int], tuple[Array, Array]],
    weights: Mapping[str, Array],
    learning_rate: float,
    steps: int,
    *,
    mean_over: str,
) -> Iterator[Step]:
    """Trains with gradient descent on squared errors.

    Args:
        batch: Features `[B, in]` and targets `[B, out]` of a step.
        weights: Initial values.
        learning_rate: At least 0.
        steps: How many updates.
        mean_over: As in `loss_and_gradients`.

    Yields:
        One `Step` for every update, in float64.
    """
    weights = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    for number in range(steps):
        loss, gradients = loss_and_gradients(*batch(number), weights, mean_over=mean_over)
        weights = {name: weights[name] - learning_rate * gradients[name] for name in weights}
        yield Step(loss, gradients, weights)


def loss_and_gradients(
    x: Array, y: Array, weights: Mapping[str, Array], *, mean_over: str
) -> tuple[float, dict[str, Array]]:
    """Computes the squared error of a network and what it changes with each weight.

    Args:
        x: `[B, in]`.
        y: `[B, out]`.
        weights: In the order of use.
        mean_over: `rows`: the sum of a row's squares, averaged over rows. `entries`: the average
            over all B x out squares, `out` times smaller.

    Returns:
        The loss, and the gradients by name.
    """
    x = np.asarray(x, np.float64)
    inputs, output = _forward(x, weights)
    difference = output - y
    count = len(difference) if mean_over == "rows" else difference.size
    loss = float(np.sum(difference**2) / count)
    flowing = 2 * difference / count
    gradients: dict[str, Array] = {}
    for name in reversed(list(weights)):
        if weights[name].ndim == 1:
            gradients[name] = flowing.sum(axis=0)
            continue
        gradients[name] = inputs[name].T @ flowing
        if inputs[name] is not x:
            # What flows on passes the ReLU in front of this layer only where it was open.
            flowing = (flowing @ weights[name].T) * (inputs[name] > 0)
    return loss, {name: gradients[name] for name in weights}


def _forward(x: Array, weights: Mapping[str, Array]) -> tuple[dict[str, Array], Array]:
    """Returns the input of every kernel by its name, and the output of the network."""
    inputs: dict[str, Any] = {}
    for name, weight in weights.items():
        if weight.ndim == 1:
            x = x + weight
            continue
        inputs[name] = np.maximum(x, 0) if inputs else x
        x = inputs[name] @ weight
    return inputs, x
