"""The `tf.data` pipeline of the contenders that take one: the fastest we know for arrays."""

from __future__ import annotations

import tensorflow as tf

from tfapp.bench.workloads import Workload


def shuffled_batches(workload: Workload, features: tf.Tensor, labels: tf.Tensor) -> tf.data.Dataset:
    """Returns endless batches `([B, *feature_shape], [B, ...])`, in a new order every epoch.

    Whole epochs of indices are shuffled at once, and a batch is one gather: shuffling and batching
    single examples takes several times as long.

    Args:
        workload: Tells N and B.
        features: `[N, *feature_shape]`.
        labels: `[N, ...]`.
    """

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        rows = tf.range(workload.examples, dtype=tf.int64)
        order = tf.random.experimental.stateless_shuffle(rows, seed=tf.stack([0, number]))
        shape = [workload.steps_per_epoch, workload.batch_size]
        return tf.data.Dataset.from_tensor_slices(tf.reshape(order, shape))

    def batch(rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.gather(features, rows), tf.gather(labels, rows)

    epochs = tf.data.Dataset.counter()
    return epochs.flat_map(epoch).map(batch).prefetch(tf.data.AUTOTUNE)


def stored_batches(
    workload: Workload, features: tf.Tensor, labels: tf.Tensor, steps: int
) -> tf.data.Dataset:
    """Returns batches `([B, *feature_shape], [B, ...])` of the stored order.

    Args:
        workload: Tells B.
        features: `[N, *feature_shape]`.
        labels: `[N, ...]`.
        steps: How many batches from the beginning, at most those of an epoch.
    """
    count = steps * workload.batch_size
    examples = tf.data.Dataset.from_tensor_slices((features[:count], labels[:count]))
    return examples.batch(workload.batch_size, drop_remainder=True)
