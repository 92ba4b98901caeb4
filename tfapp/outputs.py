"""What a model's last layer gives, and how it becomes probabilities.

Shapes: B is the batch, K the number of classes, n the model's outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from tfapp.data.splits import DataInfo

OutputKind = Literal["logits", "probabilities", "objective", "values"]


@dataclass(frozen=True)
class Outputs:
    """What a model's last layer gives.

    Attributes:
        kind: Logits or probabilities of a classifier, values of a regressor, or the objective
            itself.
        width: Size n of the last axis.
    """

    kind: OutputKind
    width: int

    def probabilities(self, outputs: tf.Tensor) -> tf.Tensor:
        """Returns class probabilities `[B, K]`; a single output becomes `[B, 2]`."""
        if self.width == 1:
            positive = tf.sigmoid(outputs) if self.kind == "logits" else outputs
            return tf.concat([1.0 - positive, positive], axis=-1)
        return tf.nn.softmax(outputs) if self.kind == "logits" else outputs

    def targets(self, labels: tf.Tensor) -> tf.Tensor:
        """Returns class indices `[B]` as float32 targets of the outputs' shape `[B, n]`."""
        if self.width == 1:
            return tf.cast(labels, tf.float32)[:, tf.newaxis]
        return tf.one_hot(labels, self.width)


def recognize_outputs(model: Any, scaled: tf.Tensor, info: DataInfo, said: str) -> Outputs:
    """Finds out what a built model gives.

    A registered model declares it in `output_kind`. A user's classifier is looked at: rows that
    are not negative and sum to 1 (a single output: that lies strictly between 0 and 1) can only
    come from a softmax (sigmoid); everything else is taken as logits.

    Args:
        model: Called on one batch.
        scaled: `[B, *feature_shape]` scaled features.
        info: Tells classes from numbers.
        said: `model.outputs` of the config; anything but `auto` settles it.
    """
    outputs = tf.cast(model(scaled, training=False), tf.float32).numpy()
    width = int(outputs.shape[-1])
    declared = getattr(model, "output_kind", None)
    if declared == "objective":
        return Outputs("objective", width)
    if info.task == "regression":
        return Outputs("values", width)
    if "logits" in (said, declared) and said != "probabilities":
        return Outputs("logits", width)
    if "probabilities" in (said, declared):
        return Outputs("probabilities", width)
    return Outputs("probabilities" if _are_probabilities(outputs) else "logits", width)


def _are_probabilities(outputs: np.ndarray[Any, Any]) -> bool:
    if outputs.shape[-1] == 1:
        return bool(np.all((outputs > 0) & (outputs < 1)))
    # bfloat16 keeps 8 bits of each of the terms, hence the width of the tolerance.
    return bool(np.all(outputs >= 0) and np.allclose(outputs.sum(axis=-1), 1.0, atol=2e-2))
