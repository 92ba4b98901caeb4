"""Every registered model once, small, with a batch and a loss; each law runs over all of them.

Parameter counts are worked out here from the shapes, not by asking the model.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfapp.models import build_model

BATCH = 8


def cross_entropy(labels: Any, logits: Any) -> Any:
    """Mean negative log-likelihood of `labels` `[B]` under `logits` `[B, K]`."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def binary(labels: Any, probability: Any) -> Any:
    """Mean negative log-likelihood of `labels` 0 or 1 under `probability` `[B, 1]`."""
    target = tf.cast(labels, tf.float32)[:, None]
    return -tf.reduce_mean(
        target * tf.math.log(probability) + (1 - target) * tf.math.log(1 - probability)
    )


def output(labels: Any, cost: Any) -> Any:
    """Mean of the model's own output."""
    return tf.reduce_mean(cost)


def dense(*widths: int) -> int:
    """Weights and biases of dense layers of these widths, input first."""
    return sum(a * b + b for a, b in itertools.pairwise(widths))


def conv_norm(*channels: int) -> int:
    """3 x 3 convolutions without bias, each with the four vectors of batch normalization."""
    return sum(9 * a * b + 4 * b for a, b in itertools.pairwise(channels))


@dataclass(frozen=True)
class Descriptor:
    """One model at one small size.

    Attributes:
        name: Registered name.
        options: Not the defaults, so that a config that forgets one is noticed.
        feature_shape: Shape of one example.
        outputs: Expected width of the output.
        parameters: Expected count over all variables.
        loss: Of labels `[B]` and the model's output.
        rate: A step of plain SGD that must lower the loss.
    """

    name: str
    options: Mapping[str, Any]
    feature_shape: tuple[int, ...]
    outputs: int
    parameters: int
    loss: Callable[[Any, Any], Any] = cross_entropy
    rate: float = 0.01

    def build(self, seed: int = 0) -> Any:
        """Returns a new model whose random numbers start from `seed`."""
        keras.utils.set_random_seed(seed)
        return build_model(
            self.name, self.options, feature_shape=self.feature_shape, outputs=self.outputs
        )

    def features(self, seed: int = 0) -> tf.Tensor:
        """Returns `[BATCH, *feature_shape]` from the unit normal distribution."""
        draws = np.random.default_rng(seed).normal(size=(BATCH, *self.feature_shape))
        return tf.constant(draws, tf.float32)

    def labels(self) -> tf.Tensor:
        """Returns `[BATCH]` class indices."""
        return tf.range(BATCH) % max(self.outputs, 2)


DESCRIPTORS = (
    Descriptor(
        "cnn",
        {"filters": [4, 6], "dense": 9, "dropout": 0.5},
        (8, 8, 1),
        5,
        conv_norm(1, 4, 6) + dense(2 * 2 * 6, 9, 5),
    ),
    Descriptor(
        "course", {"sizes": [12, 8, 6]}, (16, 16, 3), 1, dense(768, 12, 8, 6, 1), loss=binary
    ),
    Descriptor(
        "mlp",
        {"hidden": [12, 7], "dropout": 0.5, "activation": "tanh"},
        (3, 4),
        5,
        dense(12, 12, 7, 5),
    ),
    Descriptor(
        "parallel_block",
        {"hidden": 6, "blocks": 3},
        (9,),
        4,
        2 * dense(9, 6) + 4 * dense(6, 6) + dense(6, 4),
    ),
    Descriptor("quadratic", {}, (3,), 1, 1, loss=output),
    Descriptor("raw_mlp", {"hidden": [12, 7]}, (4, 4, 1), 5, dense(16, 12, 7, 5)),
    Descriptor(
        "resnet",
        {"depth": 8, "width": 4},
        (8, 8, 1),
        5,
        conv_norm(1, 4, 4, 4) + conv_norm(4, 8, 8) + conv_norm(8, 16, 16) + dense(16, 5),
    ),
    Descriptor("two_layer", {"hidden": 11}, (9,), 4, 9 * 11 + 11 * 4),
)


def weights(model: Any) -> list[Any]:
    """Returns every variable but the states of random generators."""
    return list(model.variables if isinstance(model, tf.Module) else model.weights)


def numbers(model: Any) -> list[np.ndarray[Any, Any]]:
    """Returns the values of `weights(model)`."""
    return [variable.numpy() for variable in weights(model)]


def stir(model: Any) -> Any:
    """Moves every variable off its initial value, so that equal outputs are no accident."""
    random = np.random.default_rng(7)
    for variable in weights(model):
        size = math.prod(variable.shape)
        added = 0.05 + 0.1 * random.random(size).reshape(variable.shape)  # variances stay positive
        variable.assign(variable.numpy() + added.astype(np.float32))
    return model


def copy_weights(source: Any, target: Any) -> Any:
    """Gives `target` the values of `source`."""
    for old, new in zip(weights(source), weights(target), strict=True):
        new.assign(old)
    return target
