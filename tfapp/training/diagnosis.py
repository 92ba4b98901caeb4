"""After a step that was not finite: which tensor went bad first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from tfapp.training.tape import TapeStep


def first_bad_tensor(step: TapeStep, features: tf.Tensor, labels: tf.Tensor) -> str:
    """Computes one batch again, eagerly, and names the first tensor with NaN or Inf.

    The order is that of the computation: features, weights, the output of each layer as it is
    called, loss, gradients; then what the failing pass itself may have spoilt, such as moving
    averages. The update was not applied, so its cause is still there, unless it was a draw of
    dropout that does not come again.

    Args:
        step: The step with the variables it failed with.
        features: `[B, *feature_shape]`, the batch it failed on.
        labels: `[B]`.

    Returns:
        A phrase such as `the gradient of mlp/dense/kernel (3 of 8192 values: NaN)`.
    """
    if bad := _count(features):
        return f"the features of the batch ({bad})"
    if found_bad := _first_bad(step.predictor.model.trainable_variables):
        return found_bad
    found: list[str] = []
    with _watch_layers(step.predictor.model, found):
        outputs, loss, gradients = step.gradients(features, labels)
    if found:
        return found[0]
    if bad := _count(outputs):
        return f"the model's output ({bad})"
    if bad := _count(loss):
        return f"the loss ({bad})"
    for variable, gradient in zip(step.predictor.model.trainable_variables, gradients, strict=True):
        if gradient is not None and (bad := _count(gradient)):
            return f"the gradient of {_path(variable)} ({bad})"
    return _first_bad(step.predictor.model.variables) or (
        "the norm of all gradients together, or a value drawn at random that did not come again,"
    )


def _first_bad(variables: Iterable[Any]) -> str:
    for variable in variables:
        if bad := _count(variable):
            return f"the variable {_path(variable)} ({bad})"
    return ""


@contextmanager
def _watch_layers(model: Any, found: list[str]) -> Iterator[None]:
    """Notes the layers whose output is not finite, in the order in which they finish."""
    original = keras.layers.Layer.__call__

    def watched(layer: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(layer, *args, **kwargs)
        values = [] if layer is model else tf.nest.flatten(result)
        bad = [count for value in values if tf.is_tensor(value) and (count := _count(value))]
        found.extend(f"the output of layer {layer.path} ({count})" for count in bad)
        return result

    keras.layers.Layer.__call__ = watched
    try:
        yield
    finally:
        keras.layers.Layer.__call__ = original


def _count(value: Any) -> str:
    """Returns how many values are not finite and which kind, or an empty string."""
    tensor = tf.convert_to_tensor(value)
    if not tensor.dtype.is_floating:
        return ""
    tensor = tf.cast(tensor, tf.float32)
    bad = int(tf.math.count_nonzero(~tf.math.is_finite(tensor)))
    if not bad:
        return ""
    kind = "NaN" if bool(tf.reduce_any(tf.math.is_nan(tensor))) else "Inf"
    return f"{bad} of {int(tf.size(tensor))} values: {kind}"


def _path(variable: Any) -> str:
    return str(getattr(variable, "path", variable.name))
