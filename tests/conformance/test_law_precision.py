"""Law 7: mixed precision changes what layers compute in, never the variables or the output."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from descriptors import Descriptor, stir, weights

from tfapp.optimizers import LossScaling

MIXED = ("mixed_bfloat16", "mixed_float16")
# bfloat16 keeps 8 bits, so one rounding is off by up to 2^-9 of the value; float16 keeps 11.
# Errors gather with depth, and each block of products doubles those that came in.
TOLERANCE = {"mixed_bfloat16": 16 * 2**-9, "mixed_float16": 16 * 2**-12}


def built_under(policy: str, case: Descriptor):
    keras.config.set_dtype_policy(policy)
    return stir(case.build())


@pytest.mark.parametrize("policy", ["float32", *MIXED])
def test_variables_and_output_are_float32(case: Descriptor, policy: str):
    model = built_under(policy, case)
    result = model(case.features(), training=True)
    assert {tf.as_dtype(variable.dtype) for variable in weights(model)} == {tf.float32}
    assert result.dtype == tf.float32
    tf.debugging.assert_all_finite(result, "output")


@pytest.mark.parametrize("policy", MIXED)
def test_mixed_output_is_near_the_float32_output(case: Descriptor, policy: str):
    full = built_under("float32", case)(case.features(), training=False).numpy()
    mixed = built_under(policy, case)(case.features(), training=False).numpy()
    np.testing.assert_allclose(mixed, full, rtol=0, atol=TOLERANCE[policy] * np.abs(full).max())
    # Equal bits would mean that the policy was not followed. The quadratic is all output.
    assert np.array_equal(mixed, full) == (case.name == "quadratic")


def test_float16_finds_a_scale_that_its_gradients_fit(case: Descriptor):
    model = built_under("mixed_float16", case)
    optimizer = LossScaling(keras.optimizers.SGD(1e-3))
    optimizer.build(model.trainable_variables)
    while int(optimizer.iterations) == 0 and optimizer.dynamic_scale >= 1:
        with tf.GradientTape() as tape:
            loss = case.loss(case.labels(), model(case.features(), training=True))
            scaled = optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, model.trainable_variables)
        assert {gradient.dtype for gradient in gradients} == {tf.float32}
        optimizer.apply(gradients, model.trainable_variables)
    assert int(optimizer.iterations) == 1
