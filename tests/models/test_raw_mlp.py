from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfapp.models.raw_mlp import RawMLP


def test_forward_equals_numpy():
    x = np.random.default_rng(0).normal(size=(5, 28, 28)).astype(np.float32)
    model = RawMLP((28, 28), 10)
    (w0, w1, w2), (b0, b1, b2) = (
        [v.numpy() for v in group] for group in (model.weights, model.biases)
    )
    h = np.maximum(x.reshape(5, 784) @ w0 + b0, 0)
    np.testing.assert_allclose(model(x), np.maximum(h @ w1 + b1, 0) @ w2 + b2, atol=1e-4)


def test_shapes_and_initial_values_are_those_of_the_notes():
    model = RawMLP((784,), 10)
    assert [tuple(w.shape) for w in model.weights] == [(784, 256), (256, 128), (128, 10)]
    assert all(not bias.numpy().any() for bias in model.biases)
    first = model.weights[0].numpy()
    assert np.abs(first).max() <= 0.2  # cut at two deviations
    assert first.std() == pytest.approx(0.088, abs=1e-3)  # which narrows 0.1 to 0.088


def test_seed_decides_alone():
    keras.utils.set_random_seed(1)
    first = RawMLP((4,), 2, seed=5)
    keras.utils.set_random_seed(2)
    second = RawMLP((4,), 2, seed=5)
    tf.debugging.assert_equal(first.weights[0], second.weights[0])
    assert np.abs(first.weights[0] - RawMLP((4,), 2, seed=6).weights[0]).max() > 0


def test_layers_of_one_seed_differ():
    model = RawMLP((6,), 6, hidden=[6], seed=0)
    assert np.abs(model.weights[0] - model.weights[1]).max() > 0


def test_keras_optimizers_train_it():
    model = RawMLP((4,), 3, hidden=[8], seed=0)
    optimizer = keras.optimizers.Adam(0.05)
    optimizer.build(model.trainable_variables)
    x = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    labels = np.argmax(x[:, :3], axis=1)
    losses = []
    for _ in range(60):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(labels, model(x, training=True))
            )
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        losses.append(float(loss))
    assert losses[-1] < 0.3 * losses[0]
