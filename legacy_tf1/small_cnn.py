"""A small convolutional network, for comparison with the same network elsewhere.

Convolution 3 x 3, batch normalization, ReLU, max pooling 2 x 2, dense, softmax cross-entropy,
gradient descent. It has no number in the notes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from legacy_tf1.batch_norm import (
    EPSILON,
    MOMENTUM,
    make_normalization,
    normalize,
    start_weights,
    with_averages,
)
from legacy_tf1.training import Array, TrainingGraph, batches, descend, make_variables

v1 = tf.compat.v1

TRAINED = ("conv/kernel", "bn/gamma", "bn/beta", "dense/kernel", "dense/bias")


def build(
    images: Array,
    labels: Array,
    weights: Mapping[str, Array],
    batch_size: int = 32,
    learning_rate: float = 0.1,
    *,
    momentum: float = MOMENTUM,
    epsilon: float = EPSILON,
    run_updates: bool = True,
) -> TrainingGraph:
    """Builds the network.

    Args:
        images: `[N, H, W, C]`.
        labels: `[N]`, class numbers.
        weights: As `draw_weights` returns them.
        batch_size: B, from 1 to N, in the order of the arrays.
        learning_rate: At least 0.
        momentum: Of the moving averages.
        epsilon: Of the normalization.
        run_updates: Whether the update moves the averages.

    Returns:
        A graph with seven variables, the two averages among them, and gradients for `TRAINED`.

    Raises:
        ValueError: `batch_size` is out of range.
    """
    graph = tf.Graph()
    with graph.as_default():
        inputs = v1.placeholder(tf.float32, [None, *images.shape[1:]], name="images")
        targets = v1.placeholder(tf.int32, [None], name="labels")
        variables = _make_variables(weights)
        normalization = {
            name.removeprefix("bn/"): value
            for name, value in variables.items()
            if name.startswith("bn/")
        }
        x = tf.nn.conv2d(inputs, variables["conv/kernel"], 1, "SAME")
        x = normalize(x, normalization, training=True, momentum=momentum, epsilon=epsilon)
        x = tf.nn.max_pool2d(tf.nn.relu(x), 2, 2, "VALID")
        x = tf.reshape(x, [-1, weights["dense/kernel"].shape[0]])
        logits = tf.matmul(x, variables["dense/kernel"]) + variables["dense/bias"]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets, logits)
        loss = tf.reduce_mean(losses)
        trained = {name: variables[name] for name in TRAINED}
        gradients, update = descend(loss, trained, learning_rate)
        update = with_averages(update, run_updates=run_updates)
        initialize = v1.global_variables_initializer()
    feeds = batches({inputs: images, targets: labels}, batch_size)
    return TrainingGraph(graph, loss, variables, gradients, update, initialize, feeds)


def draw_weights(
    image_shape: tuple[int, int, int], filters: int = 8, classes: int = 10, seed: int = 0
) -> dict[str, Array]:
    """Draws initial values: normal kernels scaled by their inputs, the rest as TF1 starts it.

    Args:
        image_shape: H, W, C.
        filters: F, channels of the convolution.
        classes: K.
        seed: Of NumPy's `default_rng`.

    Returns:
        `conv/kernel` `[3, 3, C, F]`, `bn/gamma`, `bn/beta`, `bn/moving_mean`,
        `bn/moving_variance` `[F]` each, `dense/kernel` `[H/2 W/2 F, K]`, `dense/bias` `[K]`.
    """
    height, width, channels = image_shape
    random = np.random.default_rng(seed)
    flat = (height // 2) * (width // 2) * filters

    def kernel(*shape: int) -> Array:
        spread = np.sqrt(2 / np.prod(shape[:-1]))
        return (spread * random.normal(size=shape)).astype(np.float32)

    return {
        "conv/kernel": kernel(3, 3, channels, filters),
        **{f"bn/{name}": value for name, value in start_weights(filters).items()},
        "dense/kernel": kernel(flat, classes),
        "dense/bias": np.zeros(classes, np.float32),
    }


def _make_variables(weights: Mapping[str, Array]) -> dict[str, Any]:
    normalization = make_normalization(weights, "bn/")
    others = make_variables({name: weights[name] for name in TRAINED if not name.startswith("bn/")})
    made = others | {f"bn/{name}": variable for name, variable in normalization.items()}
    return {name: made[name] for name in weights}
