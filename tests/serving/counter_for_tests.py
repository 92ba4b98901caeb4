"""A model that answers which version of it was asked."""

from __future__ import annotations

import tensorflow as tf


class Counter(tf.Module):
    """Answers which version it is: `x` [?] -> `y` = x + version, at once or after a while."""

    def __init__(self, version):
        super().__init__()
        self.version = tf.Variable(float(version))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def add(self, x):
        return {"y": x + self.version}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, "x"),
            tf.TensorSpec([], tf.float64, "seconds"),
        ]
    )
    def add_slowly(self, x, seconds):
        end = tf.timestamp() + seconds
        turns = tf.while_loop(lambda i: tf.timestamp() < end, lambda i: [i + 1], [0.0])
        return {"y": x + self.version + 0.0 * turns[0]}


def write_counter(base, version):
    """Writes a version as one should: beside its place, then renamed."""
    model = Counter(version)
    beside = base / f".{version}"
    signatures = {"serving_default": model.add, "slow": model.add_slowly}
    tf.saved_model.save(model, str(beside), signatures=signatures)
    beside.rename(base / str(version))
