"""Law 1: built by name, a model has the documented size and gives float32 `[batch, outputs]`."""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
from descriptors import BATCH, Descriptor, weights

from tfapp import names


def test_output_shape_and_type(case: Descriptor):
    result = case.build()(case.features(), training=False)
    assert result.shape == (BATCH, case.outputs)
    assert result.dtype == tf.float32


def test_parameter_count(case: Descriptor):
    assert sum(math.prod(variable.shape) for variable in weights(case.build())) == case.parameters


def test_name_belongs_to_the_class(case: Descriptor):
    assert type(case.build()) is names.import_object("model", names.MODELS[case.name])


def test_training_gives_every_trainable_variable_a_finite_gradient(case: Descriptor):
    model = case.build()
    with tf.GradientTape() as tape:
        loss = case.loss(case.labels(), model(case.features(), training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    assert gradients
    for gradient in gradients:
        tf.debugging.assert_all_finite(gradient, "gradient")


def test_variable_names_are_unique_and_the_same_in_a_second_model(case: Descriptor):
    # Checkpoints find variables by these paths; Keras would number a second model `mlp_1`.
    def paths() -> list[str]:
        return [getattr(variable, "path", variable.name) for variable in weights(case.build())]

    first = paths()
    assert len(set(first)) == len(first)
    assert paths() == first


def test_inference_changes_nothing(case: Descriptor):
    model = case.build()
    before = [variable.numpy() for variable in weights(model)]
    first = model(case.features(), training=False)
    tf.debugging.assert_equal(model(case.features(), training=False), first)
    for variable, value in zip(weights(model), before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
