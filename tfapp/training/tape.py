"""One update of a model from one batch, with an explicit gradient tape."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfapp.losses import TaskLoss
from tfapp.metrics import MetricSet
from tfapp.models.predictor import Predictor
from tfapp.optimizers import LossScaling, all_finite


class TapeStep:
    """Computes loss and gradients of one batch and applies them.

    It is plain Python over a built model and a built optimizer: whoever calls it decides whether
    it runs eagerly or compiled. Calling it is `gradients`, `goes_on` and `apply` one after the
    other; they are apart for those who add up the gradients of several devices in between.

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
            If the optimizer scales the loss, the gradients are those of the scaled one, which its
            `apply` takes; the loss is not scaled.
        """
        with tf.GradientTape() as tape:
            outputs = self.predictor.outputs(features, training=True)
            loss = self.loss(labels, outputs) + self.predictor.regularization()
            scaled = self.optimizer.scale_loss(loss)
        return outputs, loss, tape.gradient(scaled, self.predictor.model.trainable_variables)

    def goes_on(self, loss: tf.Tensor, gradients: list[Any]) -> tf.Tensor:
        """Tells whether training can go on with this loss and these gradients.

        Returns:
            Scalar bool: whether both are finite. Where the loss is scaled, gradients may have
            overflowed as long as the scale can be lowered.
        """
        with tf.name_scope("check"):
            if isinstance(self.optimizer, LossScaling):
                true = self.optimizer.unscale(gradients)
                finite = all_finite(true) | self.optimizer.can_lower_scale
            else:
                finite = all_finite(gradients)
            return tf.math.is_finite(loss) & finite

    def apply(self, gradients: list[Any]) -> None:
        """Has the optimizer change weights, or lower its scale where the gradients overflowed."""
        self.optimizer.apply(gradients, self.predictor.model.trainable_variables)

    def scalars(self) -> dict[str, float]:
        """Returns what is told of the optimizer at the end of an epoch."""
        values = {"learning_rate": self.optimizer.learning_rate}
        if isinstance(self.optimizer, LossScaling):
            values["loss_scale"] = self.optimizer.dynamic_scale
            values["skipped_steps"] = self.optimizer.skipped_steps
        return {name: float(keras.ops.convert_to_numpy(v)) for name, v in values.items()}

    def __call__(self, features: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Applies one update, unless loss or gradients are not finite.

        Returns:
            Scalar bool: whether training can go on. If not, weights, optimizer and metrics are as
            before, so that what went wrong can be looked at; moving averages and the states of
            random generators have moved with the forward pass.
        """
        outputs, loss, gradients = self.gradients(features, labels)
        goes_on = self.goes_on(loss, gradients)
        if goes_on:
            self.apply(gradients)
            self.metrics.update(labels, outputs, loss)
        return goes_on

    def unguarded(self, features: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Applies one update, be it finite or not: for a caller that can put every variable back.

        Returns:
            As from calling the step.
        """
        outputs, loss, gradients = self.gradients(features, labels)
        goes_on = self.goes_on(loss, gradients)  # of the scale before the update
        self.apply(gradients)
        self.metrics.update(labels, outputs, loss)
        return goes_on
