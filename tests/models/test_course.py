from __future__ import annotations

import numpy as np

from tfapp.models.course import Course


def test_parameter_count_of_the_notes():
    model = Course()
    model.build((None, 128, 128, 3))
    assert model.count_params() == 50_927_559


def test_forward_equals_numpy():
    x = np.random.default_rng(0).normal(size=(5, 4, 4, 3)).astype(np.float32)
    model = Course([6, 5])
    result = model(x)
    *hidden, kernel, bias = (w.numpy() for w in model.weights)
    h = x.reshape(5, 48)
    for w, b in zip(hidden[::2], hidden[1::2], strict=True):
        h = np.maximum(h @ w + b, 0)
    np.testing.assert_allclose(result, 1 / (1 + np.exp(-(h @ kernel + bias))), atol=1e-6)


def test_last_layer_starts_glorot_uniform():
    model = Course([2000])
    model.build((None, 3))
    kernel = model.probability.kernel.numpy()
    limit = np.sqrt(6 / (2000 + 1))
    assert 0.99 * limit < np.abs(kernel).max() <= limit
