"""Reads a SavedModel back and compares it with the model it was written from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfapp.errors import ExportError
from tfapp.exported import named_inputs
from tfapp.models.predictor import Predictor

# The reloaded graph may fuse operations differently: a few units in the last place of
# float32, or of the type that layers compute in.
TOLERANCE = {"float32": 1e-5, "mixed_bfloat16": 2e-2, "mixed_float16": 2.5e-3}


def largest_difference(predictor: Predictor, folder: Path, features: npt.NDArray[Any]) -> float:
    """Returns the largest difference between live and reloaded outputs.

    It is relative to the largest value of an output, or to 1 where all values are smaller: the
    rounding of a price of 200,000 is not that of a probability.

    Args:
        predictor: The live model.
        folder: The SavedModel.
        features: `[N, *feature_shape]` raw examples, sent as a client would send them.

    Raises:
        ExportError: The SavedModel cannot be read or called.
    """
    live = predictor(tf.constant(features))
    try:
        loaded = tf.saved_model.load(str(folder))
        reloaded = loaded.signatures["serving_default"](**named_inputs(predictor.info, features))
    except (OSError, KeyError, TypeError, ValueError, tf.errors.OpError) as error:
        raise ExportError(f"the SavedModel just written cannot be read back: {error}") from error
    # `class_id` may flip between two classes of equal probability.
    names = [name for name in live if name != "class_id"]
    return max(_difference(live[name].numpy(), reloaded[name].numpy()) for name in names)


def _difference(live: npt.NDArray[Any], reloaded: npt.NDArray[Any]) -> float:
    scale = max(1.0, float(np.max(np.abs(live), initial=0.0)))
    return float(np.max(np.abs(live - reloaded), initial=0.0)) / scale


def refuse_difference(difference: float, precision: str) -> None:
    """Raises `ExportError` when a difference is more than rounding, or not a number."""
    if not difference <= TOLERANCE[precision]:
        raise ExportError(
            "the SavedModel computes something else than the live model: outputs differ by"
            f" {difference:.3g} of the largest, at most {TOLERANCE[precision]:g} is rounding."
            " It was not kept. If call() of your model depends on Python state or on"
            " training=None, give it an explicit `training=False` default."
        )
