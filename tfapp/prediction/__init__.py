"""Predictions for raw examples, by a run, by a SavedModel, or by a model that is served.

Names are imported on first use: a model that is served is asked by REST without TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfapp.lazy import lazy_names

if TYPE_CHECKING:
    from tfapp.prediction.answers import Prediction as Prediction
    from tfapp.prediction.answers import Predictions as Predictions
    from tfapp.prediction.answers import parse_rows as parse_rows
    from tfapp.prediction.answers import predict as predict
    from tfapp.prediction.answers import predict_rows as predict_rows
    from tfapp.prediction.model import Model as Model
    from tfapp.prediction.model import load_model as load_model

_MODULES = {
    "answers": ("Prediction", "Predictions", "parse_rows", "predict", "predict_rows"),
    "model": ("Model", "load_model"),
}

__getattr__, __all__ = lazy_names(__name__, _MODULES)
