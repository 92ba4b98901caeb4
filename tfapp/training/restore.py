"""From a run directory back to its model, without the data it was trained on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tfapp.config import Config
from tfapp.data.preprocess import Preprocess
from tfapp.data.splits import Column, DataInfo
from tfapp.errors import MissingError, UsageError
from tfapp.models.predictor import Predictor
from tfapp.optimizers import build_optimizer, keeps_averages
from tfapp.runs import Run
from tfapp.training.assembly import build_predictor
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


def describe_data(run: Run, predictor: Predictor) -> None:
    """Writes `data.json`: all that a model needs to know of its data."""
    content = {"info": asdict(predictor.info), "preprocess": predictor.preprocess.config()}
    run.write_json(_FILE, content)


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


def load_trained(run: Run, *, step: int | None = None) -> TrainedModel:
    """Builds the model of a run and reads its weights.

    With `use_ema` in the optimizer, the weights are the moving averages: those were evaluated
    while it trained.

    Args:
        run: A run with at least one checkpoint.
        step: Step of a checkpoint; the best one when omitted.

    Raises:
        MissingError: There is no checkpoint, or none of this step.
        CheckpointError: It is damaged or another model's.
    """
    config = run.config()
    checkpoints = Checkpoints(run.checkpoints)
    chosen = checkpoints.best() if step is None else step
    if chosen not in checkpoints.steps():
        known = ", ".join(map(str, checkpoints.steps())) or "none"
        raise MissingError(f"{run.path} has no checkpoint of step {step}; it has: {known}.")
    info, preprocess = read_info(run)
    predictor = build_predictor(config.model, config.train.precision, preprocess, info)
    model = predictor.model
    # How long the run was decides the learning rate only, which is not used here.
    optimizer = build_optimizer(
        config.train.optimizer,
        config.train.schedule,
        total_steps=10**9,
        precision=config.train.precision,
    )
    if not keeps_averages(optimizer):
        checkpoints.restore(chosen, {"model": model.variables})
        return TrainedModel(predictor, config, run, chosen)
    optimizer.build(model.trainable_variables)
    checkpoints.restore(chosen, {"model": model.variables, "optimizer": optimizer.variables})
    optimizer.finalize_variable_values(model.trainable_variables)
    return TrainedModel(predictor, config, run, chosen)


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
