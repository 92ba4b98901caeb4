"""The loss of every kind of program in TensorFlow 2, as a port of TF1 code would write it.

B is the batch size, D the features of a row, H a hidden width, K the number of classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

# Batch normalization as in TF1: what an average keeps of itself, and what is added to a variance.
MOMENTUM = 0.99
EPSILON = 1e-3

Tensors = Mapping[str, Any]
# Weights and data of a step in; the loss, and new values for moving averages, out.
Loss = Callable[[Tensors, Tensors], tuple[Any, dict[str, Any]]]


def polynomial(weights: Tensors, data: Tensors) -> tuple[Any, dict[str, Any]]:
    """Returns c0 w^2 + c1 w + c2; the coefficients `[3, 1]` are NumPy constants."""
    squared, linear, constant = data["coefficients"].ravel().tolist()
    w = weights["w"]
    return tf.add(tf.add(tf.multiply(squared, w**2), tf.multiply(linear, w)), constant), {}


def fed_polynomial(weights: Tensors, data: Tensors) -> tuple[Any, dict[str, Any]]:
    """Returns the same with the coefficients as a tensor."""
    c, w = data["coefficients"], weights["w"]
    return c[0][0] * w**2 + c[1][0] * w + c[2][0], {}


def total(weights: Tensors, data: Tensors) -> tuple[Any, dict[str, Any]]:
    """Returns sum(x y + z); its inputs `[N, D]` are differentiated, so they come as weights."""
    return tf.reduce_sum(weights["x"] * weights["y"] + weights["z"]), {}


def two_layer(weights: Tensors, data: Tensors) -> tuple[Any, dict[str, Any]]:
    """Returns the squared error of x `[B, D]` against y, summed in a row, then averaged."""
    hidden = tf.maximum(tf.matmul(data["x"], weights["w1"]), 0)
    difference = tf.matmul(hidden, weights["w2"]) - data["y"]
    return tf.reduce_mean(tf.reduce_sum(difference**2, axis=1)), {}


def mlp(weights: Tensors, data: Tensors) -> tuple[Any, dict[str, Any]]:
    """Returns the squared error of images `[B, D]` against labels `[B]`, over all B K entries."""
    hidden = tf.nn.relu(tf.matmul(data["images"], weights["w1"]) + weights["b1"])
    hidden = tf.nn.relu(tf.matmul(hidden, weights["w2"]) + weights["b2"])
    out = tf.matmul(hidden, weights["w3"]) + weights["b3"]
    return tf.reduce_mean(tf.square(tf.one_hot(data["labels"], out.shape[1]) - out)), {}


def cnn(weights: Tensors, data: Tensors) -> tuple[Any, dict[str, Any]]:
    """Returns the cross-entropy of images `[B, H, W, C]` and labels `[B]`."""
    x = tf.nn.conv2d(data["images"], weights["conv/kernel"], 1, "SAME")
    x, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        x, weights["bn/gamma"], weights["bn/beta"], epsilon=EPSILON, is_training=True
    )
    x = tf.nn.max_pool2d(tf.nn.relu(x), 2, 2, "VALID")
    x = tf.reshape(x, [-1, weights["dense/kernel"].shape[0]])
    logits = tf.matmul(x, weights["dense/kernel"]) + weights["dense/bias"]
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(data["labels"], logits)
    return tf.reduce_mean(losses), {"bn/moving_mean": mean, "bn/moving_variance": variance}


LOSSES: Mapping[str, Loss] = {
    "polynomial": polynomial,
    "fed polynomial": fed_polynomial,
    "sum": total,
    "two-layer": two_layer,
    "mlp": mlp,
    "cnn": cnn,
}
