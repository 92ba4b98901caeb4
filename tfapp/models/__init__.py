"""The models that can be asked for by name, and how one of them, or the user's own, is built.

    from tfapp.models import build_model, list_models

    [model.name for model in list_models()]          # TensorFlow is not imported
    build_model("mlp", {"hidden": [64]}, feature_shape=(8, 8, 1), outputs=10)

Importing this package imports nothing heavy: every public name is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfapp.lazy import lazy_names

if TYPE_CHECKING:
    from tfapp.models.catalogue import ModelSummary as ModelSummary
    from tfapp.models.catalogue import OutputKind as OutputKind
    from tfapp.models.catalogue import list_models as list_models
    from tfapp.models.dropout import Dropout as Dropout
    from tfapp.models.hypermodels import discover_space as discover_space
    from tfapp.models.normalization import FusedBatchNormalization as FusedBatchNormalization
    from tfapp.models.registry import build_model as build_model
    from tfapp.models.report import Argument as Argument
    from tfapp.models.report import ModelReport as ModelReport
    from tfapp.models.report import VariableRow as VariableRow
    from tfapp.models.report import describe_model as describe_model

_MODULES = {
    "catalogue": ("ModelSummary", "OutputKind", "list_models"),
    "dropout": ("Dropout",),
    "hypermodels": ("discover_space",),
    "normalization": ("FusedBatchNormalization",),
    "registry": ("build_model",),
    "report": ("Argument", "ModelReport", "VariableRow", "describe_model"),
}

__getattr__, __all__ = lazy_names(__name__, _MODULES)
