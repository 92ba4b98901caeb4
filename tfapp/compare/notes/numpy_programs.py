"""The program of the notes that is worked by hand, and what others are compared with: NumPy.

All of it in float64. B is the batch size; weights are lists in the order of use, a kernel
`[in, out]` of each layer and then its bias `[out]` if it has one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from tfapp.compare.notes.checks import CLOSED_FORM, Record

Array = np.ndarray
Arrays = Sequence[Array]
# Of the number of a step and the weights: the loss and its gradients.
Differentiate = Callable[[int, Arrays], tuple[float, Arrays]]


def graph(record: Record) -> None:
    """Row 7: sum(x y + z) forward and back, `[3, 4]` each."""
    random = np.random.RandomState(0)
    inputs = [random.randn(3, 4) for _ in range(3)]
    total, gradients = sum_and_gradients(*inputs)
    record.measured("c", 6.7170086, total)
    x, y, _ = inputs
    for name, expected, found in zip("xyz", (y, x, np.ones((3, 4))), gradients, strict=True):
        record.close(f"gradient for {name}", expected, found, tolerance=0, origin=CLOSED_FORM)
    quotients = [_quotients(inputs, position) for position in range(3)]
    worst = np.max(np.abs(np.array(quotients) - np.array(gradients)))
    record.relation(
        "beside difference quotients", "within 1e-6", f"off by {worst:.1e}", worst < 1e-6
    )


def sum_and_gradients(x: Array, y: Array, z: Array) -> tuple[float, list[Array]]:
    """Computes c = sum(x y + z), `[N, D]` each, and goes back node by node.

    Returns:
        c, and its gradients for x, y and z.
    """
    product = x * y
    total = product + z
    for_total = np.ones_like(total)  # each entry of a sum counts once
    for_product, for_z = for_total, for_total
    return float(total.sum()), [for_product * y, for_product * x, for_z]


def dense_parameters(sizes: Sequence[int]) -> int:
    """Returns how many weights and biases dense layers of these widths have."""
    return sum((inputs + 1) * outputs for inputs, outputs in pairwise(sizes))


def forward(x: Array, weights: Arrays) -> tuple[list[Array], Array]:
    """Computes dense layers with a ReLU between two of them; the last is linear.

    Args:
        x: `[B, in]`.
        weights: Of the layers.

    Returns:
        The input of each layer, and the output `[B, out]`.
    """
    inputs: list[Array] = []
    for weight in weights:
        if weight.ndim == 1:
            x = x + weight
            continue
        inputs.append(np.maximum(x, 0) if inputs else x)
        x = inputs[-1] @ weight
    return inputs, x


def squared_error(x: Array, y: Array, weights: Arrays, count: float) -> tuple[float, list[Array]]:
    """Computes the squared error of dense layers, and its gradients.

    Args:
        x: `[B, in]`.
        y: `[B, out]`.
        weights: As in `forward`.
        count: What the sum of all squares is divided by.
    """
    inputs, output = forward(x, weights)
    difference = output - y
    flowing = 2 * difference / count
    gradients: list[Array] = []
    for weight in reversed(weights):
        if weight.ndim == 1:
            gradients.append(flowing.sum(axis=0))
            continue
        layer_input = inputs.pop()
        gradients.append(layer_input.T @ flowing)
        flowing = flowing @ weight.T * (layer_input > 0)
    return float(np.sum(difference**2) / count), gradients[::-1]


def parallel_blocks_error(x: Array, y: Array, weights: Arrays) -> tuple[float, list[Array]]:
    """Computes the mean squared error of two blocks max(0, left right) and a linear layer.

    Args:
        x: `[B, in]`.
        y: `[B, out]`.
        weights: Kernel and bias of left, then of right, of each block; then of the last layer.
    """
    trail = []
    for start in (0, 4):
        left_kernel, left_bias, right_kernel, right_bias = weights[start : start + 4]
        left, right = x @ left_kernel + left_bias, x @ right_kernel + right_bias
        trail.append((start, x, left, right))
        x = np.maximum(left * right, 0)
    difference = x @ weights[8] + weights[9] - y
    flowing = 2 * difference / difference.size
    gradients = [x.T @ flowing, flowing.sum(axis=0)]
    flowing = flowing @ weights[8].T
    for start, inputs, left, right in reversed(trail):
        flowing = flowing * (left * right > 0)
        for_left, for_right = flowing * right, flowing * left
        both = (for_left, for_right)
        found = [part for flow in both for part in (inputs.T @ flow, flow.sum(axis=0))]
        gradients = found + gradients
        flowing = for_left @ weights[start].T + for_right @ weights[start + 2].T
    return float(np.mean(difference**2)), gradients


def descend(
    differentiate: Differentiate, weights: Arrays, rate: float, steps: int
) -> Iterator[tuple[float, Arrays]]:
    """Yields the loss before each step of gradient descent, and the weights after it."""
    weights = [np.asarray(weight, np.float64) for weight in weights]
    for step in range(steps):
        loss, gradients = differentiate(step, weights)
        weights = [w - rate * g for w, g in zip(weights, gradients, strict=True)]
        yield loss, weights


def adam(
    differentiate: Differentiate,
    weights: Arrays,
    rate: float,
    steps: int,
    *,
    epsilon: float = 1e-8,
    hat: bool = False,
) -> Iterator[tuple[float, Arrays]]:
    """Yields the loss before each step of Adam, and the weights after it.

    Args:
        differentiate: Of the number of a step and the weights: the loss and its gradients.
        weights: Initial values.
        rate: The learning rate.
        steps: How many updates.
        epsilon: Keeps the division from zero.
        hat: Whether it is added before the bias correction, as TF1 and Keras do, and not after
            it, as PyTorch does.

    Source: arXiv 1412.6980, algorithm 1 and the end of section 2; decays 0.9 and 0.999.
    """
    weights = [np.asarray(weight, np.float64) for weight in weights]
    means = [np.zeros_like(weight) for weight in weights]
    squares = [np.zeros_like(weight) for weight in weights]
    for step in range(steps):
        loss, gradients = differentiate(step, weights)
        root = np.sqrt(1 - 0.999 ** (step + 1))
        added = epsilon / root if hat else epsilon
        for i, g in enumerate(gradients):
            means[i] = 0.9 * means[i] + 0.1 * g
            squares[i] = 0.999 * squares[i] + 0.001 * g**2
            direction = means[i] / (1 - 0.9 ** (step + 1))
            weights[i] = weights[i] - rate * direction / (np.sqrt(squares[i]) / root + added)
        yield loss, list(weights)


def _quotients(inputs: Arrays, position: int, width: float = 1e-4) -> Array:
    """Returns what c changes with each entry of one input, by moving the entry both ways."""
    found = np.empty_like(inputs[position])
    for entry in np.ndindex(*found.shape):
        values = []
        for shift in (width, -width):
            moved = [array.copy() for array in inputs]
            moved[position][entry] += shift
            x, y, z = moved
            values.append(np.sum(x * y + z))
        found[entry] = (values[0] - values[1]) / (2 * width)
    return found
