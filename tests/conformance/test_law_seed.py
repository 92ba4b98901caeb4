"""Law 9: initial weights are a function of `keras.utils.set_random_seed`."""

from __future__ import annotations

import numpy as np
from descriptors import Descriptor, numbers


def test_same_seed_same_weights(case: Descriptor):
    for first, second in zip(numbers(case.build(3)), numbers(case.build(3)), strict=True):
        np.testing.assert_array_equal(first, second)


def test_other_seed_other_weights(case: Descriptor):
    pairs = zip(numbers(case.build(3)), numbers(case.build(4)), strict=True)
    differ = any(not np.array_equal(first, second) for first, second in pairs)
    assert differ == (case.name != "quadratic")  # its one weight starts at 0
