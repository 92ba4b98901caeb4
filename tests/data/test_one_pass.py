from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfapp.data import OnePass, evaluation_batches
from tfapp.data.splits import ArraySplit, StreamSplit


def walked(split, batch_size, shape):
    """The first feature and the label of each example, and the size of each batch."""
    features = tf.Variable(tf.zeros([0, *shape]), shape=[None, *shape])
    labels = tf.Variable(tf.zeros([0], tf.int32), shape=[None])
    sizes = tf.Variable(tf.zeros([0], tf.int32), shape=[None])

    def take(x, y):
        features.assign(tf.concat([features, tf.cast(x, tf.float32)], 0))
        labels.assign(tf.concat([labels, y], 0))
        sizes.assign(tf.concat([sizes, [tf.shape(y)[0]]], 0))

    one_pass = OnePass(split, batch_size)
    tf.function(lambda: one_pass.visit(take))()
    return features.numpy(), labels.numpy(), sizes.numpy().tolist()


@settings(max_examples=8, deadline=None)
@given(size=st.integers(1, 30), batch_size=st.integers(1, 12))
def test_a_walk_meets_every_example_once_in_stored_order(size, batch_size):
    rows = np.arange(2 * size, dtype=np.float32).reshape(size, 2)
    split = ArraySplit(rows, np.arange(size, dtype=np.int32))
    features, labels, sizes = walked(split, batch_size, (2,))
    np.testing.assert_array_equal(features, rows)
    np.testing.assert_array_equal(labels, np.arange(size))
    assert sizes == [len(part) for part in np.split(rows, range(batch_size, size, batch_size))]


@pytest.mark.parametrize("kind", ["loaded", "stream"])
def test_loaded_files_and_streams_are_walked_as_their_batches(kind):
    labels = np.arange(7, dtype=np.int32)
    if kind == "loaded":
        names = np.array([str(i) for i in range(7)])
        split = ArraySplit(names, labels, load=lambda n: tf.strings.to_number(n)[:, tf.newaxis])
    else:
        rows = tf.cast(labels, tf.float32)[:, tf.newaxis]
        split = StreamSplit(tf.data.Dataset.from_tensor_slices((rows, labels)), 7)
    features, found, sizes = walked(split, 3, (1,))
    expected = list(evaluation_batches(split, 3).as_numpy_iterator())
    np.testing.assert_array_equal(features, np.concatenate([x for x, _ in expected]))
    np.testing.assert_array_equal(found, labels)
    assert sizes == [3, 3, 1]
