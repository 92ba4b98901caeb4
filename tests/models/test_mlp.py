from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfapp.models.mlp import MLP


def test_forward_equals_numpy():
    x = np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32)
    model = MLP(2, hidden=[7, 6], activation="tanh")
    result = model(x)
    w0, b0, w1, b1, w2, b2 = (w.numpy() for w in model.weights)
    h = np.tanh(np.tanh(x.reshape(5, 12) @ w0 + b0) @ w1 + b1)
    np.testing.assert_allclose(result, h @ w2 + b2, atol=1e-6)


def test_without_hidden_layers_it_is_linear():
    model = MLP(2, hidden=[])
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_allclose(model(x), x @ model.weights[0].numpy(), atol=1e-6)


def test_dropout_works_in_training_only():
    model = MLP(3, hidden=[50], dropout=0.5)
    x = tf.ones([4, 6])
    tf.debugging.assert_equal(model(x, training=False), model(x))
    assert np.abs(model(x, training=True) - model(x)).max() > 0


def test_size_of_the_notes_network():
    model = MLP(10)
    model.build((None, 28, 28, 1))
    assert model.count_params() == 235_146


@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden": 3},
        {"hidden": [0]},
        {"hidden": "ab"},
        {"hidden": [True]},
        {"dropout": 1},
        {"dropout": -0.1},
        {"dropout": "0.1"},
        {"activation": "rellu"},
        {"outputs": 0},
    ],
)
def test_wrong_options_are_refused_when_made(wrong: dict[str, object]):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MLP(**{"outputs": 2, **wrong})
