"""Law 7: mixed precision changes what layers compute in, never the variables or the output."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from descriptors import Descriptor, stir, weights

# bfloat16 keeps 8 bits, so one rounding is off by up to 2^-9 of the value. Errors gather with
# depth, and each block of products doubles those that came in.
TOLERANCE = 16 * 2**-9


def built_under(policy: str, case: Descriptor):
    keras.config.set_dtype_policy(policy)
    return stir(case.build())


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_variables_and_output_are_float32(case: Descriptor, policy: str):
    model = built_under(policy, case)
    result = model(case.features(), training=True)
    assert {tf.as_dtype(variable.dtype) for variable in weights(model)} == {tf.float32}
    assert result.dtype == tf.float32
    tf.debugging.assert_all_finite(result, "output")


def test_mixed_output_is_near_the_float32_output(case: Descriptor):
    full = built_under("float32", case)(case.features(), training=False).numpy()
    mixed = built_under("mixed_bfloat16", case)(case.features(), training=False).numpy()
    np.testing.assert_allclose(mixed, full, rtol=0, atol=TOLERANCE * np.abs(full).max())
    # Equal bits would mean that the policy was not followed. The quadratic is all output.
    assert np.array_equal(mixed, full) == (case.name == "quadratic")
