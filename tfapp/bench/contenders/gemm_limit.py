"""The limit: nothing but the matrix products of a dense network, forward and backward."""

from __future__ import annotations

import itertools
from typing import ClassVar

import tensorflow as tf

from tfapp.bench.contenders.base import Contender, Task


class GemmLimit(Contender):
    """What a step cannot be faster than with TensorFlow's float32 product, were the rest free.

    For a layer of `[B, in]` inputs these are outputs `[B, out]`, the gradient of the weights
    `[in, out]` and, but for the first layer, that of the inputs `[B, in]`.
    """

    trains: ClassVar[bool] = False

    def __init__(self, task: Task) -> None:
        rows = task.workload.batch_size
        self._layers = [
            (_matrix(rows, fan_in), _matrix(fan_in, fan_out), _matrix(rows, fan_out))
            for fan_in, fan_out in itertools.pairwise(task.workload.widths)
        ]

    def run(self, steps: int) -> None:
        """Computes the products of `steps` steps."""
        self._run(tf.constant(steps)).numpy()

    @tf.function
    def _run(self, steps: tf.Tensor) -> tf.Tensor:
        total = tf.constant(0.0)
        for _ in tf.range(steps):
            for layer, (inputs, weights, slopes) in enumerate(self._layers):
                # Reading a variable anew each time keeps the products inside the loop.
                x, w, dy = inputs.read_value(), weights.read_value(), slopes.read_value()
                products = [tf.matmul(x, w), tf.matmul(x, dy, transpose_a=True)]
                if layer:
                    products.append(tf.matmul(dy, w, transpose_b=True))
                total += tf.add_n([product[0, 0] for product in products])
        return total


def _matrix(rows: int, columns: int) -> tf.Variable:
    return tf.Variable(tf.random.stateless_normal([rows, columns], seed=[rows, columns]))
