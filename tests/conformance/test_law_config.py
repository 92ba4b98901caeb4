"""Law 4: a config is plain JSON and makes the same model again."""

from __future__ import annotations

import inspect
import json

import keras
import pytest
import tensorflow as tf
from descriptors import Descriptor, copy_weights, numbers, stir


def remade(model):
    return type(model).from_config(json.loads(json.dumps(model.get_config())))


def test_config_holds_every_argument(case: Descriptor):
    model = case.build()
    assert set(model.get_config()) == set(inspect.signature(type(model).__init__).parameters) - {
        "self"
    }


def test_config_holds_what_was_asked_for(case: Descriptor):
    assert case.build().get_config().items() >= dict(case.options).items()


def test_same_config_same_model(case: Descriptor):
    model = stir(case.build())
    twin = remade(model)
    twin(case.features(), training=False)
    assert twin.get_config() == model.get_config()
    assert [n.shape for n in numbers(twin)] == [n.shape for n in numbers(model)]
    copy_weights(model, twin)
    tf.debugging.assert_equal(
        twin(case.features(), training=False), model(case.features(), training=False)
    )


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_config_holds_the_precision(case: Descriptor, policy: str):
    keras.config.set_dtype_policy(policy)
    model = stir(case.build())
    expected = model(case.features(), training=False)
    keras.config.set_dtype_policy("float32")
    twin = remade(model)
    twin(case.features(), training=False)
    copy_weights(model, twin)
    tf.debugging.assert_equal(twin(case.features(), training=False), expected)
