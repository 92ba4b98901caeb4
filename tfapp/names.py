"""Everything that can be asked for by name, as plain tables.

The tables are static so that a typo is answered in a fraction of a second: nothing here imports
TensorFlow. Tests hold them equal to what Keras itself offers.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tfapp.errors import UnknownName, UsageError

_Thing = TypeVar("_Thing")

MODELS: Mapping[str, str] = {
    "cnn": "tfapp.models.cnn:CNN",
    "course": "tfapp.models.course:Course",
    "mlp": "tfapp.models.mlp:MLP",
    "parallel_block": "tfapp.models.parallel_block:ParallelBlocks",
    "quadratic": "tfapp.models.quadratic:Quadratic",
    "raw_mlp": "tfapp.models.raw_mlp:RawMLP",
    "resnet": "tfapp.models.resnet:ResNet",
    "two_layer": "tfapp.models.two_layer:TwoLayer",
}

# Sources that need no network and no path.
EMBEDDED: tuple[str, ...] = ("breast_cancer", "digits", "iris", "wine")
SYNTHETIC: tuple[str, ...] = (
    "synthetic/blobs",
    "synthetic/coefficients",
    "synthetic/images",
    "synthetic/linear",
)

# Who calls the training step; `auto` chooses among them.
LOOPS: tuple[str, ...] = ("eager", "resident", "streaming", "streaming_xla")

# On which devices; `auto` chooses among them.
STRATEGIES: tuple[str, ...] = ("mirrored", "multiworker", "one", "tpu")

LOSSES: Mapping[str, str] = {
    "binary_crossentropy": "BinaryCrossentropy",
    "binary_focal_crossentropy": "BinaryFocalCrossentropy",
    "categorical_crossentropy": "CategoricalCrossentropy",
    "categorical_focal_crossentropy": "CategoricalFocalCrossentropy",
    "categorical_generalized_cross_entropy": "CategoricalGeneralizedCrossEntropy",
    "categorical_hinge": "CategoricalHinge",
    "cosine_similarity": "CosineSimilarity",
    "dice": "Dice",
    "hinge": "Hinge",
    "huber": "Huber",
    "kl_divergence": "KLDivergence",
    "log_cosh": "LogCosh",
    "mae": "MeanAbsoluteError",
    "mean_absolute_error": "MeanAbsoluteError",
    "mean_absolute_percentage_error": "MeanAbsolutePercentageError",
    "mean_squared_error": "MeanSquaredError",
    "mse": "MeanSquaredError",
    "mean_squared_logarithmic_error": "MeanSquaredLogarithmicError",
    "poisson": "Poisson",
    "sparse_categorical_crossentropy": "SparseCategoricalCrossentropy",
    "squared_hinge": "SquaredHinge",
    "tversky": "Tversky",
}
# Ours beside Keras's: the model's own output is what is minimized.
OUTPUT_LOSS = "model_output"

# In place of a name: what the model's own `compile()` was given.
COMPILED = "compiled"
# What a model that was not compiled is trained with.
DEFAULT_OPTIMIZER = "adam"
DEFAULT_RATE = 1e-3

METRICS: Mapping[str, str] = {
    "accuracy": "Accuracy",
    "auc": "AUC",
    "f1_score": "F1Score",
    "mae": "MeanAbsoluteError",
    "mean_absolute_error": "MeanAbsoluteError",
    "mean_absolute_percentage_error": "MeanAbsolutePercentageError",
    "mean_squared_error": "MeanSquaredError",
    "mse": "MeanSquaredError",
    "precision": "Precision",
    "r2_score": "R2Score",
    "recall": "Recall",
    "root_mean_squared_error": "RootMeanSquaredError",
    "top_5_accuracy": "SparseTopKCategoricalAccuracy",
}

# What every Keras optimizer takes besides its own arguments.
OPTIMIZER_OPTIONS: tuple[str, ...] = (
    "clipnorm",
    "clipvalue",
    "ema_momentum",
    "ema_overwrite_frequency",
    "global_clipnorm",
    "gradient_accumulation_steps",
    "learning_rate",
    "loss_scale_factor",
    "name",
    "use_ema",
    "weight_decay",
)
# Keras class, then the arguments of its own.
OPTIMIZERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "adadelta": ("Adadelta", ("epsilon", "rho")),
    "adafactor": (
        "Adafactor",
        ("beta_2_decay", "clip_threshold", "epsilon_1", "epsilon_2", "relative_step"),
    ),
    "adagrad": ("Adagrad", ("epsilon", "initial_accumulator_value")),
    "adam": ("Adam", ("amsgrad", "beta_1", "beta_2", "epsilon")),
    "adamax": ("Adamax", ("beta_1", "beta_2", "epsilon")),
    "adamw": ("AdamW", ("amsgrad", "beta_1", "beta_2", "epsilon")),
    "ftrl": (
        "Ftrl",
        (
            "beta",
            "initial_accumulator_value",
            "l1_regularization_strength",
            "l2_regularization_strength",
            "l2_shrinkage_regularization_strength",
            "learning_rate_power",
        ),
    ),
    "lamb": ("Lamb", ("beta_1", "beta_2", "epsilon")),
    "lion": ("Lion", ("beta_1", "beta_2")),
    "muon": (
        "Muon",
        (
            "adam_beta_1",
            "adam_beta_2",
            "adam_lr_ratio",
            "adam_weight_decay",
            "epsilon",
            "exclude_embeddings",
            "exclude_layers",
            "momentum",
            "muon_a",
            "muon_b",
            "muon_c",
            "nesterov",
            "ns_steps",
            "rms_rate",
        ),
    ),
    "nadam": ("Nadam", ("beta_1", "beta_2", "epsilon")),
    "rmsprop": ("RMSprop", ("centered", "epsilon", "momentum", "rho")),
    "schedule_free_adamw": ("ScheduleFreeAdamW", ("beta_1", "beta_2", "epsilon", "warmup_steps")),
    "sgd": ("SGD", ("momentum", "nesterov")),
}

# Keras class (`None`: the rate stays), then the arguments a user may set; the peak rate is the
# optimizer's `learning_rate`, and `warmup_steps` works before each of them.
SCHEDULES: Mapping[str, tuple[str | None, tuple[str, ...]]] = {
    "constant": (None, ()),
    "cosine": ("CosineDecay", ("alpha", "decay_steps")),
    "cosine_restarts": (
        "CosineDecayRestarts",
        ("alpha", "first_decay_steps", "m_mul", "t_mul"),
    ),
    "exponential": ("ExponentialDecay", ("decay_rate", "decay_steps", "staircase")),
    "inverse_time": ("InverseTimeDecay", ("decay_rate", "decay_steps", "staircase")),
    "piecewise": ("PiecewiseConstantDecay", ("boundaries", "values")),
    "polynomial": ("PolynomialDecay", ("cycle", "decay_steps", "end_learning_rate", "power")),
}


def check_name(kind: str, name: str, known: Iterable[str]) -> None:
    """Refuses a `name` that is neither in `known` nor an import path.

    Raises:
        UnknownName: With the nearest known name.
    """
    if is_import_path(name):
        return
    known = tuple(known)
    plural = f"{kind}es" if kind.endswith("s") else f"{kind}s"
    if name not in known:
        raise UnknownName(
            kind,
            name,
            known,
            f"For your own, give an import path such as 'mypackage.{plural}:Mine'.",
        )


def choose(kind: str, wanted: Iterable[str], known: Mapping[str, _Thing]) -> list[_Thing]:
    """Returns things by name, each once and in the order asked for; all when no name is given.

    Args:
        kind: What they are, in one word.
        wanted: Names.
        known: All there are.

    Raises:
        UnknownName: With the nearest known name.
    """
    names = list(dict.fromkeys(wanted)) or list(known)
    for name in names:
        if name not in known:
            raise UnknownName(kind, name, known)
    return [known[name] for name in names]


def missing_extra(module: str | None, extra: str | None) -> str | None:
    """Returns how to install a module that an extra of tfapp brings; `None` if it is there."""
    if module is None or importlib.util.find_spec(module) is not None:
        return None
    return f"not installed: pip install 'tfapp[{extra}]'"


def is_import_path(name: str) -> bool:
    """Tells whether `name` has the form `package.module:Object`."""
    module, colon, attribute = name.partition(":")
    return (
        bool(colon)
        and attribute.isidentifier()
        and all(part.isidentifier() for part in module.split("."))
    )


def import_object(kind: str, path: str) -> Any:
    """Imports what `package.module:Object` names, from installed packages or the working folder.

    Args:
        kind: What it is to be, for the error message, e.g. `model`.
        path: An import path for which `is_import_path` holds.

    Raises:
        UsageError: The module is not found, does not import, or lacks the object.
    """
    module_name, _, attribute = path.partition(":")
    here = str(Path.cwd())
    # The `tfapp` program starts without the working folder on the path, and keeps it so for what is
    # tfapp's own: a file there may have the name of a module that is yet to be imported.
    if here not in sys.path and not module_name.startswith("tfapp."):
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{kind} {path!r}: no module named {error.name!r}; it was looked for in {here} and"
            " among the installed packages. Run from the folder that holds it, or install it."
        ) from error
    except (Exception, SystemExit) as error:  # a script without a main guard exits when imported
        raise UsageError(
            f"{kind} {path!r}: importing {module_name} raised {type(error).__name__}: {error}."
            " Mend the module, or see where with --debug."
        ) from error
    if not hasattr(module, attribute):
        public = [name for name in vars(module) if not name.startswith("_")]
        raise UnknownName(f"object in {module_name}", attribute, public)
    return getattr(module, attribute)
