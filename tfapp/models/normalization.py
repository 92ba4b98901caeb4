"""Batch normalization by TensorFlow's fused kernel."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfapp.xla import in_xla

_KERNEL_TYPES = ("bfloat16", "float16", "float32")
_LEAST_EPSILON = 1.001e-5  # of cuDNN, which the kernel calls on a GPU


@keras.saving.register_keras_serializable(package="tfapp")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization whose mean, variance and output come from one kernel.

    It stands in for `keras.layers.BatchNormalization`: the same arguments, variables, config and
    numbers up to rounding. Keras goes over the batch several times, which on a CPU takes about
    twice as long. The kernel takes `[batch, height, width, channels]` normalized over the channels,
    in 16 or 32 bits; all else (other ranks and axes, masks, renormalization, float64, an epsilon
    below 1.001e-5, anything that XLA compiles) is computed by Keras.

    With `synchronized=True`, on several replicas, the statistics are those of the global batch,
    each replica weighed by what it holds; under a mask, they are each replica's own.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Returns the normalized inputs, of their shape; in training, moves the averages.

        A layer that is not `trainable` is never in training.
        """
        plain = mask is None and not self.renorm
        learns = training and self.trainable
        if plain and learns and self.synchronized and _count_replicas() > 1:
            return self._normalize_global_batch(inputs)
        if plain and self._fits_kernel(inputs):
            return self._normalize_batch(inputs) if learns else self._normalize_by_averages(inputs)
        return super().call(inputs, training=training, mask=mask)

    def _fits_kernel(self, inputs: Any) -> bool:
        return (
            len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and keras.backend.standardize_dtype(inputs.dtype) in _KERNEL_TYPES
            and self.epsilon >= _LEAST_EPSILON
            # XLA writes the kernel out with the variance as E[x^2] - E[x]^2, which cancels: NaN
            # where the mean is 10,000 deviations. It fuses Keras's two passes by itself.
            and not in_xla()
        )

    def _normalize_batch(self, inputs: Any) -> Any:
        outputs, mean, variance = self._run_kernel(inputs, is_training=True)
        count = tf.reduce_prod(tf.shape(inputs, tf.int64)[:-1])
        # The kernel returns the variance times n / (n - 1); of one pixel it is 0 either way.
        biased = tf.cast((count - 1) / count, tf.float32)
        self._move_averages(mean, variance * biased)
        return outputs

    def _normalize_by_averages(self, inputs: Any) -> Any:
        mean = keras.ops.cast(self.moving_mean, "float32")
        variance = keras.ops.cast(self.moving_variance, "float32")
        return self._run_kernel(inputs, is_training=False, mean=mean, variance=variance)[0]

    def _run_kernel(self, inputs: Any, **kwargs: Any) -> tuple[Any, Any, Any]:
        """Returns outputs, mean and variance; the kernel keeps the last two in float32."""
        x = keras.ops.convert_to_tensor(inputs)
        if keras.backend.standardize_dtype(x.dtype) != self.compute_dtype:
            x = tf.cast(x, tf.float32)
        channels = self.moving_mean.shape
        scale = keras.ops.cast(self.gamma, "float32") if self.scale else tf.ones(channels)
        offset = keras.ops.cast(self.beta, "float32") if self.center else tf.zeros(channels)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            x, scale, offset, epsilon=self.epsilon, **kwargs
        )
        return tf.cast(outputs, self.compute_dtype), mean, variance

    def _normalize_global_batch(self, inputs: Any) -> Any:
        x = keras.ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        centered, mean, variance = _center(x, self.axis)
        self._move_averages(*(tf.reshape(v, self.moving_mean.shape) for v in (mean, variance)))
        factor = tf.math.rsqrt(variance + self.epsilon)
        if self.scale:
            factor *= tf.reshape(keras.ops.cast(self.gamma, x.dtype), tf.shape(mean))
        outputs = centered * factor
        if self.center:
            outputs += tf.reshape(keras.ops.cast(self.beta, x.dtype), tf.shape(mean))
        return keras.ops.cast(outputs, self.compute_dtype)

    def _move_averages(self, mean: Any, variance: Any) -> None:
        for average, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            before = keras.ops.cast(average, value.dtype)
            average.assign(before * self.momentum + value * (1.0 - self.momentum))


def _count_replicas() -> int:
    replica = tf.distribute.get_replica_context()
    return 1 if replica is None else replica.num_replicas_in_sync


def _center(x: Any, axis: int) -> tuple[Any, Any, Any]:
    """Returns `x` less its mean, the mean and the variance over what all replicas hold.

    Mean and variance are ready to be broadcast: 1 long but for `axis`. They take two passes, as on
    one device; Keras sums x and x^2 in one, where the variance cancels if the mean is large.
    """
    axes = [i for i in range(x.shape.rank) if i != axis % x.shape.rank]
    replica, add = tf.distribute.get_replica_context(), tf.distribute.ReduceOp.SUM
    count = tf.cast(tf.reduce_prod(tf.gather(tf.shape(x, tf.int64), axes)), x.dtype)
    total, count = replica.all_reduce(add, [tf.reduce_sum(x, axes, keepdims=True), count])
    mean = tf.math.divide_no_nan(total, count)
    centered = x - mean
    squares = replica.all_reduce(add, tf.reduce_sum(tf.square(centered), axes, keepdims=True))
    return centered, mean, tf.math.divide_no_nan(squares, count)
