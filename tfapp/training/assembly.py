"""From a config to the parts of a training: data, scaled model, loss, metrics, optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfapp.config import Config, DataConfig, ModelConfig
from tfapp.data import (
    evaluation_batches,
    first_examples,
    fit_preprocess,
    load_splits,
    steps_per_epoch,
)
from tfapp.data.preprocess import Preprocess, Scaling
from tfapp.data.splits import ArraySplit, DataInfo, Split, Splits
from tfapp.errors import UnknownName, UsageError
from tfapp.losses import TaskLoss, build_loss, check_outputs, default_loss
from tfapp.metrics import MetricSet, build_metrics, default_monitor, settle_metrics
from tfapp.models import build_model
from tfapp.models.predictor import Predictor
from tfapp.models.registry import find_maker
from tfapp.optimizers import build_optimizer
from tfapp.outputs import Outputs, recognize_outputs
from tfapp.training.cluster import check_batch
from tfapp.training.compiled import settle_compiled
from tfapp.training.replicas import ReplicatedMetrics
from tfapp.training.strategy import Place, check_even, find_place


@dataclass(frozen=True)
class Assembly:
    """The parts of one training, built and not yet trained.

    Attributes:
        config: With every `auto` replaced by what it came to.
        splits: The examples.
        predictor: The model behind its scaling.
        loss: Scalar loss of a training batch, with class weights.
        validation_loss: The same without them, so that it is what an evaluation measures.
        optimizer: Not yet built for the model's variables.
        metrics: Of the training split.
        validation_metrics: The same metrics for the validation split.
        steps_per_epoch: Steps of one pass over the training split.
        place: The devices that the variables are on.
        notes: What is for the log: of the model's `compile()`.
    """

    config: Config
    splits: Splits
    predictor: Predictor
    loss: TaskLoss
    validation_loss: TaskLoss
    optimizer: keras.optimizers.Optimizer
    metrics: MetricSet
    validation_metrics: MetricSet
    steps_per_epoch: int
    place: Place
    notes: tuple[str, ...] = ()

    @property
    def total_steps(self) -> int:
        """Steps of the whole run."""
        return self.steps_per_epoch * self.config.train.epochs

    def with_loop(self, name: str) -> Assembly:
        """Returns the same parts, with the loop settled in the config."""
        train = self.config.train.model_copy(update={"loop": name})
        return replace(self, config=self.config.model_copy(update={"train": train}))

    @property
    def sizes(self) -> dict[str, int]:
        """Examples of each split; without validation where that is trained on."""
        names = ("train", "test") if self.config.train.refit else ("train", "validation", "test")
        return {name: getattr(self.splits, name).size for name in names}

    @property
    def variables(self) -> dict[str, Sequence[Any]]:
        """Every variable that a step may change, by part; whole once the optimizer is built."""
        return {
            "model": self.predictor.model.variables,
            "optimizer": self.optimizer.variables,
            "metrics": self.metrics.variables,
        }

    @property
    def parameters(self) -> int:
        """Number of trainable values of the model."""
        return count_parameters(self.predictor.model)


def assemble(
    config: Config,
    *,
    data_dir: Path,
    place: Place | None = None,
    splits: Splits | None = None,
    seed: Callable[[int], None] = keras.utils.set_random_seed,
) -> Assembly:
    """Loads the data and builds every part that `config` asks for.

    Args:
        config: Names and sizes; `auto` values are settled here, by data and model.
        data_dir: Where prepared data sets are kept.
        place: The devices; those that `train.strategy` asks for when omitted.
        splits: The data, where it has been loaded already.
        seed: Sets the global seeds that a model's first values come from.

    Raises:
        TfappError: With what is wrong in data, model or options; nothing was written.
    """
    place = place or find_place(config.train.strategy)
    check_batch(config.data.batch_size, place.replicas)
    with place.strategy.scope():
        if splits is None:
            splits = load_splits(config.data, data_dir=data_dir, refit=config.train.refit)
        return _assemble(config, splits, place, seed)


def _assemble(
    config: Config, splits: Splits, place: Place, seed: Callable[[int], None]
) -> Assembly:
    scaling = _scaling(config)
    seed(config.seed)
    predictor = _build_predictor(config, scaling, splits)
    model, head = predictor.model, predictor.head
    train, notes = settle_compiled(config.train, model, splits.info, head)
    config = config.model_copy(update={"train": train})
    config = _with_strategy(resolve(config, scaling, splits.info, head), place)
    if place.name == "tpu":
        check_even(splits.train.size, config.data.batch_size)
    per_epoch = steps_per_epoch(splits.train.size, config.data.batch_size)
    weights = _class_weights(config, splits)
    return Assembly(
        config=config,
        splits=splits,
        predictor=predictor,
        loss=build_loss(config.train.loss, splits.info, head, weights, model=model),
        validation_loss=build_loss(config.train.loss, splits.info, head, model=model),
        optimizer=build_optimizer(
            config.train.optimizer,
            config.train.schedule,
            total_steps=per_epoch * config.train.epochs,
            precision=config.train.precision,
            model=model,
        ),
        metrics=_build_metrics(config, splits, predictor, place),
        validation_metrics=_build_metrics(config, splits, predictor, place),
        steps_per_epoch=per_epoch,
        place=place,
        notes=notes,
    )


def _build_metrics(config: Config, splits: Splits, predictor: Predictor, place: Place) -> MetricSet:
    metrics = build_metrics(config.train.metrics, splits.info, predictor.head)
    return ReplicatedMetrics(metrics, place.strategy) if place.replicas > 1 else metrics


def _with_strategy(config: Config, place: Place) -> Config:
    train = config.train.model_copy(update={"strategy": place.name})
    return config.model_copy(update={"train": train})


def build_predictor(
    config: ModelConfig, precision: str, preprocess: Preprocess, info: DataInfo
) -> Predictor:
    """Builds a model for data that is known only by its description.

    Args:
        config: Name, options and, settled, what its outputs are.
        precision: Keras dtype policy that its layers compute in.
        preprocess: Scaling fitted on the training split.
        info: Shape and classes.
    """
    with dtype_policy(precision):
        model = build_model(
            config.name,
            config.options,
            feature_shape=preprocess.output_shape,
            outputs=len(info.classes) or 1,
        )
    sample = tf.zeros([2, *preprocess.output_shape])
    return Predictor(
        preprocess, model, info, recognize_outputs(model, sample, info, config.outputs)
    )


def resolve(config: Config, scaling: Scaling, info: DataInfo, head: Outputs) -> Config:
    """Returns `config` with scaling, task, loss, metrics, monitor and outputs settled.

    Raises:
        ModelMismatch: The model's outputs do not fit the classes.
        UnknownName: `train.monitor` names no value of this run.
    """
    check_outputs(info, head)
    train = config.train
    metrics = settle_metrics(train.metrics, info, head)
    default = "loss" if train.refit else default_monitor(metrics)
    monitor = default if train.monitor == "auto" else train.monitor
    if monitor not in (known := monitored_values(metrics, held_out=not train.refit)):
        raise UnknownName("value to monitor", monitor, known, "Set train.monitor to one of them.")
    return config.model_copy(
        update={
            "data": config.data.model_copy(update={"task": info.task, "scaling": scaling}),
            "model": config.model.model_copy(
                update={"outputs": head.kind} if head.kind in ("logits", "probabilities") else {}
            ),
            "train": train.model_copy(
                update={
                    "loss": default_loss(info, head) if train.loss == "auto" else train.loss,
                    "metrics": metrics,
                    "monitor": monitor,
                }
            ),
        }
    )


def monitored_values(metrics: Sequence[str], *, held_out: bool = True) -> list[str]:
    """Returns the names of the values that an epoch ends with.

    Args:
        metrics: Of a resolved config.
        held_out: Whether there is a validation split.
    """
    plain = [name.rpartition(":")[2] for name in ("loss", *metrics)]
    return [prefix + name for prefix in ("", "val_")[: 1 + held_out] for name in plain]


@contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Lets Keras layers made inside the block compute in `name`; what was set before returns."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def count_parameters(model: Any) -> int:
    """Returns the number of trainable values."""
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


def _scaling(config: Config) -> Scaling:
    if config.data.scaling != "auto":
        return config.data.scaling
    raw = getattr(find_maker(config.model.name), "takes_raw_features", False)
    return "none" if raw else "standard"


def _build_predictor(config: Config, scaling: Scaling, splits: Splits) -> Predictor:
    preprocess = fit_preprocess(splits, scaling)
    predictor = build_predictor(config.model, config.train.precision, preprocess, splits.info)
    # Zeros are enough to build a model, but not to tell probabilities from logits.
    features, _ = first_examples(splits.train, config.data.batch_size)
    head = recognize_outputs(
        predictor.model, preprocess(features), splits.info, config.model.outputs
    )
    return Predictor(preprocess, predictor.model, splits.info, head)


def _class_weights(config: Config, splits: Splits) -> Sequence[float] | None:
    weights = config.train.class_weights
    if weights != "balanced":
        return weights
    if not splits.info.classes:
        raise UsageError(
            "train.class_weights is 'balanced', but the data has no classes: it is regression."
            " Leave it out."
        )
    counts = np.bincount(_labels(splits.train, config.data), minlength=len(splits.info.classes))
    # n / (K n_k), so that the mean weight of an example is 1.
    # Source: G. King and L. Zeng 2001, "Logistic Regression in Rare Events Data".
    return [float(counts.sum() / (len(counts) * count)) for count in counts]


def _labels(split: Split, config: DataConfig) -> np.ndarray[Any, Any]:
    if isinstance(split, ArraySplit):
        return split.labels
    batches = evaluation_batches(split, config.batch_size)
    return np.concatenate([labels.numpy() for _, labels in batches])
