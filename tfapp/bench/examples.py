"""The examples, the initial weights and the order that every contender is given.

Shapes: B is the batch size, N the number of examples, S = N / B the steps of an epoch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfapp.bench.workloads import Workload

Array = npt.NDArray[Any]

# Each row comes so many times, every time with another label: no network can bring its loss to
# zero, so gradients do not fade into denormal numbers, on which some frameworks are much slower.
_COPIES = 4
_SEED = 20_261_121


@dataclass(frozen=True)
class Examples:
    """The training split of a workload.

    Attributes:
        features: `[N, *feature_shape]` float32, mean 0 and deviation 1, so that tfapp's scaling,
            which is part of its step, changes nothing.
        labels: `[N]` int32 classes; zeros for `quadratic`, whose features are its coefficients.
    """

    features: Array
    labels: Array

    def one_hot(self, classes: int) -> Array:
        """Returns the labels as `[N, classes]` float32."""
        return np.eye(classes, dtype=np.float32)[self.labels]


def write_examples(workload: Workload, path: Path) -> None:
    """Makes the examples of `workload` and writes them as an `.npz` file that tfapp trains from."""
    rng = np.random.default_rng(_SEED)
    train = _draw(workload, rng, workload.examples)
    # In MNIST the split that is not trained on is a sixth of the other.
    rest = _draw(workload, rng, max(workload.examples // 6, workload.batch_size))
    np.savez(
        path,
        x_train=train.features,
        y_train=_stored(workload, train.labels),
        x_val=rest.features,
        y_val=_stored(workload, rest.labels),
        x_test=rest.features[: workload.batch_size],
        y_test=_stored(workload, rest.labels[: workload.batch_size]),
    )


def read_examples(path: Path) -> Examples:
    """Returns the training split of a file of `write_examples`."""
    with np.load(path, allow_pickle=False) as file:
        return Examples(file["x_train"], file["y_train"].astype(np.int32))


def initial_weights(workload: Workload) -> list[Array]:
    """Returns the weights that every contender starts from, float32, in the order of the layers.

    A dense layer has its matrix `[in, out]` and, but for `two_layer`, its bias `[out]`; a
    convolution its kernel `[3, 3, in, out]`; a normalization its scale and its offset, `[out]`.
    """
    rng = np.random.default_rng(_SEED + 1)
    if workload.architecture == "quadratic":
        return [np.zeros((), np.float32)]
    if workload.architecture == "cnn":
        return _cnn_weights(workload, rng)
    return _dense_weights(workload.widths, rng, biases=workload.has_biases)


def epoch_indices(workload: Workload, epoch: int) -> Array:
    """Returns `[S, B]` int64: which examples each batch of an epoch holds.

    The first epoch is in stored order, so that what is computed there can be checked; the others
    are shuffled.
    """
    order = np.arange(workload.examples)
    if epoch:
        order = np.random.default_rng((_SEED, epoch)).permutation(order)
    return order.reshape(workload.steps_per_epoch, workload.batch_size)


def batch_indices(workload: Workload) -> Iterator[Array]:
    """Yields `[B]` indices of one batch after another, without end."""
    for epoch in itertools.count():
        yield from epoch_indices(workload, epoch)


def _draw(workload: Workload, rng: np.random.Generator, count: int) -> Examples:
    if workload.architecture == "quadratic":
        rows = np.tile(np.array([1, -10, 25], np.float32), (count, 1))
        return Examples(rows, np.zeros(count, np.int32))
    rows = rng.standard_normal((-(-count // _COPIES), *workload.feature_shape), np.float32)
    axes = tuple(range(rows.ndim - 1))  # over examples and, in images, positions
    rows -= rows.mean(axis=axes, dtype=np.float64).astype(np.float32)
    rows /= rows.std(axis=axes, dtype=np.float64).astype(np.float32)
    features = np.concatenate([rows] * _COPIES)[:count]
    return Examples(features, rng.integers(workload.classes, size=count, dtype=np.int32))


def _stored(workload: Workload, labels: Array) -> Array:
    """Numbers are classes to tfapp when they are whole, and targets when they are not."""
    return labels.astype(np.float32 if workload.architecture == "quadratic" else np.int64)


def _dense_weights(
    widths: tuple[int, ...], rng: np.random.Generator, *, biases: bool
) -> list[Array]:
    weights = []
    for fan_in, fan_out in itertools.pairwise(widths):
        weights.append(_normal(rng, (fan_in, fan_out), fan_in))
        if biases:
            weights.append(np.zeros(fan_out, np.float32))
    return weights


def _cnn_weights(workload: Workload, rng: np.random.Generator) -> list[Array]:
    *filters, dense = workload.hidden
    weights = []
    height, width, channels = workload.feature_shape
    for count in filters:
        weights += [
            _normal(rng, (3, 3, channels, count), 9 * channels),
            np.ones(count, np.float32),
            np.zeros(count, np.float32),
        ]
        channels, height, width = count, -(-height // 2), -(-width // 2)
    widths = (height * width * channels, dense, workload.classes)
    return weights + _dense_weights(widths, rng, biases=True)


def _normal(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> Array:
    """He's normal: what relu layers keep their size under."""
    return rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / fan_in))
