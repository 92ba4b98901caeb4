"""Law 2: one step of plain SGD from a gradient tape lowers the loss on the same batch."""

from __future__ import annotations

import keras
import tensorflow as tf
from descriptors import Descriptor


def test_step_lowers_the_loss(case: Descriptor):
    model = case.build()
    features, labels = case.features(), case.labels()
    optimizer = keras.optimizers.SGD(case.rate)
    optimizer.build(model.trainable_variables)
    with tf.GradientTape() as tape:
        before = case.loss(labels, model(features, training=False))
    gradients = tape.gradient(before, model.trainable_variables)
    optimizer.apply(gradients, model.trainable_variables)
    assert float(case.loss(labels, model(features, training=False))) < float(before)
