from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfapp.models.dropout import Dropout

X = tf.ones([400, 250])
RATE = 0.3


def make(seed=1, rate=RATE, **more):
    return Dropout(rate, seed=seed, **more), keras.layers.Dropout(rate, seed=seed, **more)


def compiled(layer):
    return tf.function(lambda x: layer(x, training=True), jit_compile=True)


def test_without_xla_it_is_kerass_layer_bit_for_bit():
    ours, kerass = make()
    for _ in range(3):
        np.testing.assert_array_equal(ours(X, training=True), kerass(X, training=True))
    graph = tf.function(lambda x: ours(x, training=True))
    np.testing.assert_array_equal(graph(X), kerass(X, training=True))


def test_under_xla_the_asked_share_is_dropped_and_the_rest_scaled_up():
    found = compiled(make()[0])(X).numpy()
    assert set(np.unique(found)) == {np.float32(0), np.float32(1) / np.float32(1 - RATE)}
    # 100,000 draws: five standard deviations are 0.0072.
    assert np.mean(found == 0) == pytest.approx(RATE, abs=0.0072)
    for axis in (0, 1):  # no row and no column is favoured: six deviations of its mean
        share = np.mean(found == 0, axis=axis)
        assert np.abs(share - RATE).max() < 6 * np.sqrt(RATE * (1 - RATE) / X.shape[axis])


def test_under_xla_every_call_draws_anew_and_the_seed_decides_what():
    ours = compiled(make()[0])
    first, second = ours(X).numpy(), ours(X).numpy()
    # Two independent masks agree in p^2 + (1 - p)^2 of the places.
    agreed = np.mean((first == 0) == (second == 0))
    assert agreed == pytest.approx(RATE**2 + (1 - RATE) ** 2, abs=0.01)
    np.testing.assert_array_equal(compiled(make()[0])(X), first)
    assert np.any(compiled(make(seed=2)[0])(X).numpy() != first)


def test_under_xla_the_gradient_goes_where_the_outputs_came_from():
    layer = make()[0]

    @tf.function(jit_compile=True)
    def both(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
        return y, tape.gradient(y, x)

    outputs, gradient = both(X)
    np.testing.assert_array_equal(outputs, gradient)


def test_under_xla_the_generator_moves_as_without_it():
    ours, kerass = make()
    compiled(ours)(X)
    kerass(X, training=True)
    np.testing.assert_array_equal(ours.seed_generator.state, kerass.seed_generator.state)


@pytest.mark.parametrize("more", [{"rate": 0.0}, {"noise_shape": (None, 1)}])
def test_what_is_left_to_keras(more):
    ours, _ = make(**more)
    found = compiled(ours)(X[:4]).numpy()
    if "rate" in more:
        np.testing.assert_array_equal(found, X[:4])
    else:
        assert all(len(np.unique(row)) == 1 for row in found)
    np.testing.assert_array_equal(ours(X, training=False), X)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_types_are_kept(dtype):
    ours, _ = make(dtype=dtype)
    assert compiled(ours)(X).dtype.name == ours.compute_dtype


def test_it_is_saved_with_its_arguments():
    ours, _ = make()
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(ours))
    assert isinstance(again, Dropout)
    assert again.get_config() == ours.get_config()
