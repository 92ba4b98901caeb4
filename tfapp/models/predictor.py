"""A model behind its scaling: raw features in, predictions out."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfapp.data.preprocess import Preprocess
from tfapp.data.splits import DataInfo
from tfapp.outputs import Outputs


class Predictor(tf.Module):
    """What a user of a trained model calls: it takes features as they are in the data.

    Training, evaluation and export all go through it, so the scaling that a model was trained
    with cannot be lost on the way to a server.

    Args:
        preprocess: Scaling fitted on the training split.
        model: A built `keras.Model` or `tf.Module` over scaled features.
        info: What the data is.
        head: What the model's outputs are.
    """

    def __init__(self, preprocess: Preprocess, model: Any, info: DataInfo, head: Outputs) -> None:
        super().__init__()
        self.preprocess = preprocess
        self.model = model
        self.info = info
        self.head = head

    def outputs(self, features: tf.Tensor, *, training: bool) -> tf.Tensor:
        """Returns the model's own outputs `[B, n]`, float32, for raw features."""
        return tf.cast(self.model(self.preprocess(features), training=training), tf.float32)

    def regularization(self) -> tf.Tensor:
        """Returns the sum of the losses that the model's own layers added in its last call."""
        # Under mixed precision a loss on what a layer gives out comes in that layer's type.
        return tf.add_n([0.0, *(tf.cast(x, tf.float32) for x in getattr(self.model, "losses", ()))])

    def __call__(self, features: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns predictions for raw features `[B, *feature_shape]`.

        Returns:
            For classes `probabilities` `[B, K]` and `class_id` `[B]` int64; for numbers `value`
            `[B]`.
        """
        outputs = self.outputs(features, training=False)
        if self.info.task == "regression":
            return {"value": tf.reduce_mean(outputs, axis=-1)}
        probabilities = self.head.probabilities(outputs)
        return {"probabilities": probabilities, "class_id": tf.argmax(probabilities, axis=-1)}
