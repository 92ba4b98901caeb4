from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfapp.models.two_layer import TwoLayer


def test_forward_equals_numpy():
    x = np.random.default_rng(0).normal(size=(64, 1000)).astype(np.float32)
    model = TwoLayer(1000)
    result = model(x)
    w1, w2 = (np.asarray(w.numpy(), np.float64) for w in (model.w1, model.w2))
    assert (w1.shape, w2.shape) == ((1000, 100), (100, 1000))
    np.testing.assert_allclose(result, np.maximum(x @ w1, 0) @ w2, atol=1e-5)


def test_gradients_equal_the_backward_pass_by_hand():
    random = np.random.default_rng(1)
    x, y = random.normal(size=(6, 5)), random.normal(size=(6, 3))
    model = TwoLayer(3, hidden=4)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.reduce_sum((model(np.float32(x)) - np.float32(y)) ** 2, axis=1))
    gradients = tape.gradient(loss, [model.w1, model.w2])
    w1, w2 = model.w1.numpy(), model.w2.numpy()
    h = np.maximum(x @ w1, 0)
    grad_y = 2 * (h @ w2 - y) / len(x)
    np.testing.assert_allclose(gradients[1], h.T @ grad_y, atol=1e-5)
    np.testing.assert_allclose(gradients[0], x.T @ (grad_y @ w2.T * (x @ w1 > 0)), atol=1e-5)


def test_gradient_at_exactly_zero_is_that_of_maximum_not_of_relu():
    model = TwoLayer(1, hidden=1)
    model(tf.zeros([1, 1]))
    model.w1.assign([[0.0]])
    model.w2.assign([[1.0]])
    with tf.GradientTape() as tape:
        result = model(tf.ones([1, 1]))
    assert tape.gradient(result, model.w1).numpy().item() == 1.0


def test_initial_outputs_are_about_one_wide():
    x = np.random.default_rng(2).normal(size=(64, 1000)).astype(np.float32)
    assert 0.1 < np.std(TwoLayer(1000)(x)) < 2.0  # the lecture's unit normal: about 220


@pytest.mark.parametrize("inputs", [10, 1000])
def test_first_matrix_is_he_normal(inputs: int):
    model = TwoLayer(2, hidden=2000)
    model.build((None, inputs))
    assert model.w1.numpy().std() == pytest.approx(np.sqrt(2 / inputs), rel=0.03)


def test_mixed_precision_does_not_round_the_second_matrix():
    model = TwoLayer(1, hidden=1, dtype="mixed_bfloat16")
    model(tf.zeros([1, 1]))
    model.w1.assign([[1.0]])
    model.w2.assign([[1.001]])  # bfloat16 would make it 1
    assert float(model(tf.ones([1, 1]))[0, 0]) == pytest.approx(1.001, rel=1e-6)


def test_images_are_flattened():
    model = TwoLayer(10)
    assert model(tf.zeros([2, 8, 8, 1])).shape == (2, 10)
    assert model.w1.shape == (64, 100)
