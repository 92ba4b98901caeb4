"""Law 6: XLA compiles the model, in inference and in training, and computes the same."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from descriptors import Descriptor, stir

# XLA sums in another order: a few units in the last place for each layer.
TOLERANCE = 2e-5


def test_xla_gives_the_same_output(case: Descriptor):
    model = stir(case.build())
    compiled = tf.function(lambda x: model(x, training=False), jit_compile=True)
    expected = model(case.features(), training=False).numpy()
    np.testing.assert_allclose(
        compiled(case.features()), expected, rtol=0, atol=TOLERANCE * np.abs(expected).max()
    )


def test_xla_gives_the_same_gradients(case: Descriptor):
    model = stir(case.build())

    def gradients(features, labels):
        with tf.GradientTape() as tape:
            loss = case.loss(labels, model(features, training=False))
        return tape.gradient(loss, model.trainable_variables)

    compiled = tf.function(gradients, jit_compile=True)(case.features(), case.labels())
    for ours, eager in zip(compiled, gradients(case.features(), case.labels()), strict=True):
        scale = max(float(tf.reduce_max(tf.abs(eager))), 1e-3)
        np.testing.assert_allclose(ours, eager, rtol=0, atol=10 * TOLERANCE * scale)
