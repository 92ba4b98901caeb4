"""The arrays that programs start from: NumPy, float32, from fixed seeds.

N is the number of rows, D the features of a row, H a hidden width, K the number of classes. `graph`
and `two-layer` use the legacy generator, because the numbers known of them were made with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from tfapp.compare.trace import Array

MLP_SIZES = (784, 256, 128, 10)
MLP_ROWS = 2000
CNN_IMAGES = (96, 12, 12, 1)
CNN_FILTERS = 8
CLASSES = 10


@dataclass(frozen=True)
class Arrays:
    """What a program starts from.

    Attributes:
        weights: Initial values by name.
        data: By name; what has rows is cut into batches.
    """

    weights: Mapping[str, Array] = field(default_factory=dict)
    data: Mapping[str, Array] = field(default_factory=dict)


def polynomial(c0: float, c1: float, c2: float) -> Arrays:
    """Returns w = 0, and the coefficients as a column `[3, 1]`."""
    coefficients = np.array([[c0], [c1], [c2]], np.float32)
    return Arrays({"w": np.array(0, np.float32)}, {"coefficients": coefficients})


def three_inputs() -> Arrays:
    """Returns x, y, z, `[3, 4]` each, drawn in this order from NumPy's seed 0."""
    random = np.random.RandomState(0)
    return Arrays(data={name: _float32(random.randn(3, 4)) for name in "xyz"})


def two_layer() -> Arrays:
    """Returns x, y `[64, 1000]`, w1 `[1000, 100]`, w2 `[100, 1000]`, in this order from seed 0."""
    random = np.random.RandomState(0)
    data = {name: _float32(random.randn(64, 1000)) for name in "xy"}
    return Arrays(
        {"w1": _float32(random.randn(1000, 100)), "w2": _float32(random.randn(100, 1000))}, data
    )


def mlp() -> Arrays:
    """Returns the weights of `mlp_weights`, and 2,000 rows of noise with labels."""
    random = np.random.default_rng(0)
    images = _float32(random.uniform(size=(MLP_ROWS, MLP_SIZES[0])))
    labels = random.integers(CLASSES, size=MLP_ROWS).astype(np.int32)
    return Arrays(mlp_weights(), {"images": images, "labels": labels})


def mlp_weights() -> dict[str, Array]:
    """Returns `w1` `[784, 256]`, `b1` `[256]` to `w3`, `b3`: kernels truncated normal, biases 0."""
    random = np.random.default_rng(0)
    weights = {}
    for layer, (inputs, outputs) in enumerate(pairwise(MLP_SIZES), 1):
        kernel = random.standard_normal((inputs, outputs))
        while (outside := np.abs(kernel) > 2).any():
            kernel[outside] = random.standard_normal(outside.sum())
        weights[f"w{layer}"] = _float32(kernel * 0.1)
        weights[f"b{layer}"] = np.zeros(outputs, np.float32)
    return weights


def cnn() -> Arrays:
    """Returns the weights of the small network, kernels scaled by their inputs, and noise.

    Images are `[96, 12, 12, 1]`, normal; labels `[96]`; the dense kernel is `[6 x 6 x 8, 10]`.
    """
    random = np.random.default_rng(0)
    rows, height, width, channels = CNN_IMAGES
    images = _float32(random.standard_normal(CNN_IMAGES))
    labels = random.integers(CLASSES, size=rows).astype(np.int32)
    flat = (height // 2) * (width // 2) * CNN_FILTERS
    convolution = random.standard_normal((3, 3, channels, CNN_FILTERS))
    dense = random.standard_normal((flat, CLASSES))
    zeros, ones = np.zeros(CNN_FILTERS, np.float32), np.ones(CNN_FILTERS, np.float32)
    weights = {
        "conv/kernel": _float32(convolution * np.sqrt(2 / (9 * channels))),
        "bn/gamma": ones,
        "bn/beta": zeros,
        "bn/moving_mean": zeros,
        "bn/moving_variance": ones,
        "dense/kernel": _float32(dense * np.sqrt(2 / flat)),
        "dense/bias": np.zeros(CLASSES, np.float32),
    }
    return Arrays(weights, {"images": images, "labels": labels})


def _float32(values: Array) -> Array:
    return values.astype(np.float32)
