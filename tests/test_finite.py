"""Whether gradients are finite, of every kind that a model may have."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfapp.optimizers import all_finite

GOOD = (
    tf.constant([300.0, -1.0], tf.float16),  # whose square float16 does not hold
    tf.constant([[1e30]], tf.float64),
    tf.ones([2, 3, 4], tf.bfloat16),
    None,
    tf.constant(2.0),
    tf.IndexedSlices(tf.ones([2, 3]), tf.constant([4, 4])),
    tf.zeros([0, 3]),
)


def ask(gradients, xla):
    return bool(tf.function(lambda: all_finite(gradients), jit_compile=xla)())


@pytest.mark.parametrize("xla", [False, True])
def test_types_may_be_mixed(xla):
    assert ask(GOOD, xla)
    assert ask([None], xla)


@pytest.mark.parametrize("xla", [False, True])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 3)])
def test_one_bad_number_is_found_wherever_it_is(value, shape, xla):
    for place in (0, -1):
        spoilt = np.ones(shape, np.float32)
        spoilt.reshape(-1)[place] = value
        assert not ask([*GOOD, tf.constant(spoilt)], xla)
        slices = tf.IndexedSlices(tf.constant(spoilt.reshape(1, -1)), tf.constant([0]))
        assert not ask([slices, *GOOD], xla)


@pytest.mark.parametrize("xla", [False, True])
def test_a_norm_that_overflows_is_not_finite(xla):
    """Adam would keep an infinite square for ever."""
    assert not ask([tf.constant([[1e20, 1.0]])], xla)


def test_shapes_may_be_unknown():
    @tf.function(input_signature=[tf.TensorSpec(None), tf.TensorSpec([None, None])])
    def both(a, b):
        return all_finite([a, b])

    assert both(tf.ones([2, 2]), tf.ones([3, 1]))
    assert not both(tf.ones([2, 2]), tf.constant([[np.inf]], tf.float32))
