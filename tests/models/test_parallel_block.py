from __future__ import annotations

import numpy as np

from tfapp.models.parallel_block import ParallelBlocks


def test_parameter_count_of_the_lecture():
    model = ParallelBlocks(10)
    model.build((None, 1000))
    assert model.count_params() == 221_410


def test_forward_equals_numpy():
    x = np.random.default_rng(0).normal(size=(5, 2, 3)).astype(np.float32)
    model = ParallelBlocks(2, hidden=7)
    model(x)
    for weight in model.weights:  # biases start at 0 and would hide that one is missing
        weight.assign(np.random.default_rng(weight.shape[-1]).normal(size=weight.shape))
    *blocks, kernel, bias = (np.asarray(w.numpy(), np.float64) for w in model.weights)
    h = x.reshape(5, 6)
    for first in (0, 4):
        w_left, b_left, w_right, b_right = blocks[first : first + 4]
        h = np.maximum((h @ w_left + b_left) * (h @ w_right + b_right), 0)
    expected = h @ kernel + bias
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())
