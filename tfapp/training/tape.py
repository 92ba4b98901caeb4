"""One update of a model from one batch, with an explicit gradient tape."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfapp.losses import TaskLoss
from tfapp.metrics import MetricSet
from tfapp.models.predictor import Predictor


class TapeStep:
    """Computes loss and gradients of one batch and applies them.

    It is plain Python over a built model and a built optimizer: whoever calls it decides whether
    it runs eagerly or compiled.

    Args:
        predictor: The model behind its scaling.
        loss: Scalar loss of a batch.
        optimizer: A Keras optimizer; built here for the model's trainable variables.
        metrics: Take in every batch, with the outputs from before the update.
    """

    def __init__(
        self,
        predictor: Predictor,
        loss: TaskLoss,
        optimizer: keras.optimizers.Optimizer,
        metrics: MetricSet,
    ) -> None:
        self.predictor = predictor
        self.loss = loss
        self.optimizer = optimizer
        self.metrics = metrics
        optimizer.build(predictor.model.trainable_variables)

    def gradients(
        self, features: tf.Tensor, labels: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, list[Any]]:
        """Differentiates the loss of one batch.

        Args:
            features: `[B, *feature_shape]` raw features.
            labels: `[B]` class indices or targets.

        Returns:
            Outputs `[B, n]`, scalar loss with the model's own regularization losses added, and
            one gradient for each trainable variable (`None` where the loss does not depend on it).
        """
        with tf.GradientTape() as tape:
            outputs = self.predictor.outputs(features, training=True)
            loss = self.loss(labels, outputs) + self.predictor.regularization()
        return outputs, loss, tape.gradient(loss, self.predictor.model.trainable_variables)

    def __call__(self, features: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Applies one update, unless loss or gradients are not finite.

        Returns:
            Scalar bool: whether they were finite. If not, weights, optimizer and metrics are as
            before, so that what went wrong can be looked at; moving averages and the states of
            random generators have moved with the forward pass.
        """
        outputs, loss, gradients = self.gradients(features, labels)
        finite = tf.math.is_finite(loss) & tf.math.is_finite(tf.linalg.global_norm(gradients))
        if finite:
            self.optimizer.apply(gradients, self.predictor.model.trainable_variables)
            self.metrics.update(labels, outputs, loss)
        return finite
