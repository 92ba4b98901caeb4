"""From a run directory back to its model, without the data it was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tfapp.config import Config
from tfapp.data.preprocess import Preprocess
from tfapp.data.splits import ArraySplit, Column, DataInfo
from tfapp.errors import MissingError, UsageError
from tfapp.models.predictor import Predictor
from tfapp.optimizers import build_optimizer, keeps_averages
from tfapp.runs import Run
from tfapp.training.assembly import Assembly, build_predictor
from tfapp.training.checkpoints import Checkpoints

_FILE = "data.json"


@dataclass(frozen=True)
class TrainedModel:
    """A model as a run left it.

    Attributes:
        predictor: Raw features to predictions, with the weights of `step`.
        config: The run's resolved configuration.
        run: Where it comes from.
        step: Step of the checkpoint.
    """

    predictor: Predictor
    config: Config
    run: Run
    step: int


@dataclass(frozen=True)
class Counts:
    """How much data a run had.

    Attributes:
        sizes: Examples of each split; without validation where that was trained on.
        classes: The same by class, in the order of the classes; without splits that were streamed.
    """

    sizes: Mapping[str, int]
    classes: Mapping[str, Sequence[int]]


def describe_data(run: Run, parts: Assembly) -> None:
    """Writes `data.json`: all that a model needs to know of its data, and how much there was."""
    predictor, sizes = parts.predictor, parts.sizes
    splits = {name: getattr(parts.splits, name) for name in sizes}
    classes = len(predictor.info.classes)
    content = {
        "info": asdict(predictor.info),
        "preprocess": predictor.preprocess.config(),
        "sizes": sizes,
        "class_counts": {
            name: np.bincount(split.labels, minlength=classes).tolist()
            for name, split in splits.items()
            if classes and isinstance(split, ArraySplit)
        },
    }
    run.write_json(_FILE, content)


def read_counts(run: Run) -> Counts:
    """Reads how much data a run had; empty for a run of an older version, which did not say."""
    content = run.read_json(_FILE)
    return Counts(content.get("sizes", {}), content.get("class_counts", {}))


def read_info(run: Run) -> tuple[DataInfo, Preprocess]:
    """Reads `data.json`.

    Raises:
        MissingError: The run ended before it was written.
        UsageError: The file is not what a run writes.
    """
    content = run.read_json(_FILE)
    if not (run.path / _FILE).exists():
        raise MissingError(
            f"{run.path} has no {_FILE}: it ended before training began. Train again."
        )
    try:
        return info_from_json(content["info"]), Preprocess.from_config(content["preprocess"])
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{run.path / _FILE} is damaged ({error}); restore it from a copy, or train again."
        ) from error


def load_trained(
    run: Run, *, step: int | None = None, precision: str | None = None
) -> TrainedModel:
    """Builds the model of a run and reads its weights.

    With `use_ema` in the optimizer, the weights are the moving averages: those were evaluated
    while it trained.

    Args:
        run: A run with at least one checkpoint.
        step: Step of a checkpoint; when omitted the best one, of a run with `train.refit` the last.
        precision: Keras dtype policy to compute in; the run's own when omitted.

    Raises:
        MissingError: There is no checkpoint, or none of this step.
        CheckpointError: It is damaged or another model's.
    """
    config = run.config()
    checkpoints = Checkpoints(run.checkpoints)
    if step is None:
        # With `refit` nothing is held out that could tell which is best.
        step = checkpoints.newest() if config.train.refit else checkpoints.best()
    if step not in checkpoints.steps():
        known = ", ".join(map(str, checkpoints.steps())) or "none"
        raise MissingError(f"{run.path} has no checkpoint of step {step}; it has: {known}.")
    info, preprocess = read_info(run)
    predictor = build_predictor(config.model, precision or config.train.precision, preprocess, info)
    model = predictor.model
    # How long the run was decides the learning rate only, which is not used here.
    optimizer = build_optimizer(
        config.train.optimizer,
        config.train.schedule,
        total_steps=10**9,
        precision=config.train.precision,
        model=model,
    )
    if not keeps_averages(optimizer):
        checkpoints.restore(step, {"model": model.variables})
        return TrainedModel(predictor, config, run, step)
    optimizer.build(model.trainable_variables)
    checkpoints.restore(step, {"model": model.variables, "optimizer": optimizer.variables})
    optimizer.finalize_variable_values(model.trainable_variables)
    return TrainedModel(predictor, config, run, step)


def info_from_json(content: dict[str, Any]) -> DataInfo:
    """Returns the description that `dataclasses.asdict` turned into JSON."""
    columns = content["columns"]
    return DataInfo(
        source=content["source"],
        task=content["task"],
        feature_shape=tuple(content["feature_shape"]),
        feature_dtype=content["feature_dtype"],
        classes=tuple(content["classes"]),
        columns=None
        if columns is None
        else tuple(
            Column(c["name"], None if c["vocabulary"] is None else tuple(c["vocabulary"]))
            for c in columns
        ),
        fingerprint=content["fingerprint"],
        label=content["label"],
    )
