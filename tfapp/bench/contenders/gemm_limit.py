"""The limit: nothing but the products and convolutions of a network, forward and backward."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import ClassVar, Protocol

import tensorflow as tf

from tfapp.bench.contenders.base import Contender, Losses, Task
from tfapp.bench.workloads import Workload


class _Layer(Protocol):
    def products(self, *, first: bool) -> list[tf.Tensor]:
        """Returns outputs, gradient of the weights, and unless it is `first`, of the inputs."""


class GemmLimit(Contender):
    """What a step cannot be faster than with TensorFlow's float32 kernels, were the rest free.

    For a layer of `[B, in]` inputs these are outputs `[B, out]`, the gradient of the weights
    `[in, out]` and, but for the first layer, that of the inputs `[B, in]`; for a convolution the
    same of images.
    """

    trains: ClassVar[bool] = False

    def __init__(self, task: Task) -> None:
        self._layers = _layers(task.workload)

    def first_losses(self, steps: int) -> Sequence[Losses]:
        """Returns nothing: there is no loss."""
        return ()

    def run(self, steps: int) -> None:
        """Computes the products of `steps` steps."""
        self._run(tf.constant(steps)).numpy()

    @tf.function
    def _run(self, steps: tf.Tensor) -> tf.Tensor:
        total = tf.constant(0.0)
        for _ in tf.range(steps):
            for index, layer in enumerate(self._layers):
                products = layer.products(first=index == 0)
                total += tf.add_n([tf.reshape(product, [-1])[0] for product in products])
        return total


# Reading a variable anew each time keeps the products inside the loop.
class _Dense:
    def __init__(self, rows: int, fan_in: int, fan_out: int) -> None:
        self._inputs = _normal(rows, fan_in)
        self._weights = _normal(fan_in, fan_out)
        self._slopes = _normal(rows, fan_out)

    def products(self, *, first: bool) -> list[tf.Tensor]:
        x, w, dy = (v.read_value() for v in (self._inputs, self._weights, self._slopes))
        found = [tf.matmul(x, w), tf.matmul(x, dy, transpose_a=True)]
        return found if first else [*found, tf.matmul(dy, w, transpose_b=True)]


class _Convolution:
    """Of 3 x 3, over images that are surrounded by zeros."""

    def __init__(self, rows: int, height: int, width: int, channels: int, filters: int) -> None:
        self._inputs = _normal(rows, height, width, channels)
        self._weights = _normal(3, 3, channels, filters)
        self._slopes = _normal(rows, height, width, filters)

    def products(self, *, first: bool) -> list[tf.Tensor]:
        x, w, dy = (v.read_value() for v in (self._inputs, self._weights, self._slopes))
        how = {"strides": [1, 1, 1, 1], "padding": "SAME"}
        found = [
            tf.raw_ops.Conv2D(input=x, filter=w, **how),
            tf.raw_ops.Conv2DBackpropFilter(input=x, filter_sizes=w.shape, out_backprop=dy, **how),
        ]
        if not first:
            found.append(
                tf.raw_ops.Conv2DBackpropInput(
                    input_sizes=x.shape, filter=w, out_backprop=dy, **how
                )
            )
        return found


def _layers(workload: Workload) -> Sequence[_Layer]:
    rows = workload.batch_size
    if workload.is_dense:
        return [_Dense(rows, *sizes) for sizes in itertools.pairwise(workload.widths)]
    height, width, channels = workload.feature_shape
    *filters, dense = workload.hidden
    layers: list[_Layer] = []
    for count in filters:
        layers.append(_Convolution(rows, height, width, channels, count))
        height, width, channels = -(-height // 2), -(-width // 2), count  # pooled
    flat = height * width * channels
    return [*layers, _Dense(rows, flat, dense), _Dense(rows, dense, workload.classes)]


def _normal(*shape: int) -> tf.Variable:
    seed = [sum(shape), len(shape)]
    return tf.Variable(tf.random.stateless_normal(shape, seed=seed))
