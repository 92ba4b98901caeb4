"""How good a trained model is on one split: loss, metrics, confusion matrix, each class."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfapp.data import OnePass, load_examples, load_splits
from tfapp.data.splits import DataInfo, Split
from tfapp.errors import DataError, UsageError
from tfapp.losses import build_loss
from tfapp.metrics import build_metrics
from tfapp.runs import Run, open_run
from tfapp.settings import data_folder
from tfapp.training.loops import EvaluationLoop
from tfapp.training.restore import TrainedModel, load_trained

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class ClassScore:
    """How one class fared.

    Attributes:
        name: Class name.
        examples: Examples whose true class it is.
        precision: Share of the predictions of this class that are right; 0 if there are none.
        recall: Share of its examples that were found; 0 if it has none.
    """

    name: str
    examples: int
    precision: float
    recall: float


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate_run` found; kept as `evaluation.json`.

    Attributes:
        run: The run directory.
        step: Step of the checkpoint.
        source: Where the examples come from.
        split: Which of its splits; `all` for other data that has none.
        examples: How many there were.
        metrics: Loss and metrics by name.
        confusion: `[K, K]` counts, rows are true classes and columns predicted ones; empty for
            regression.
        classes: One score a class, in the order of the rows.
    """

    run: Path
    step: int
    source: str
    split: str
    examples: int
    metrics: dict[str, float]
    confusion: tuple[tuple[int, ...], ...]
    classes: tuple[ClassScore, ...]


def evaluate_run(
    run: Run | str | Path,
    *,
    split: str | None = None,
    data: str | None = None,
    step: int | None = None,
    data_dir: str | Path | None = None,
) -> Evaluation:
    """Evaluates a run's model and keeps the result as `evaluation.json` in the run.

    Args:
        run: A run with a checkpoint, or its path or name.
        split: `train`, `validation` or `test`; `test` when omitted.
        data: Another source than the run's own. Without `split`, its test split if it has one,
            else all of it.
        step: Step of a checkpoint; the best one when omitted.
        data_dir: Where prepared data sets are kept; `settings` decides when omitted.

    Raises:
        DataError: Other data does not have the features or classes the model was trained on.
        UsageError: The validation split was trained on.
        MissingError: There is no checkpoint.
    """
    opened = open_run(run)
    trained = load_trained(opened, step=step)
    examples, name = _examples(trained, split, data, data_folder(data_dir))
    evaluation = evaluate(trained, examples, source=data or trained.config.data.source, split=name)
    opened.write_json("evaluation.json", {"schema_version": 1} | _plain(evaluation))
    return evaluation


def evaluate(trained: TrainedModel, examples: Split, *, source: str, split: str) -> Evaluation:
    """Evaluates a model on examples that are at hand.

    Args:
        trained: The model.
        examples: Raw features and labels.
        source: What they are called.
        split: What the split is called.
    """
    predictor, train = trained.predictor, trained.config.train
    classes = len(predictor.info.classes)
    counts = tf.Variable(tf.zeros([classes, classes], tf.int64))

    def count(labels: tf.Tensor, outputs: tf.Tensor) -> None:
        predicted = tf.argmax(predictor.head.probabilities(outputs), axis=-1)
        counts.assign_add(tf.math.confusion_matrix(labels, predicted, classes, dtype=tf.int64))

    metrics = EvaluationLoop(
        predictor,
        build_loss(train.loss, predictor.info, predictor.head, model=predictor.model),
        build_metrics(train.metrics, predictor.info, predictor.head),
        OnePass(examples, trained.config.data.batch_size),
        also=count if classes else None,
    ).run()
    confusion: npt.NDArray[np.int64] = counts.numpy()
    return Evaluation(
        run=trained.run.path,
        step=trained.step,
        source=source,
        split=split,
        examples=examples.size,
        metrics=metrics,
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        classes=_class_scores(confusion, predictor.info.classes),
    )


def _examples(
    trained: TrainedModel, split: str | None, data: str | None, data_dir: Path
) -> tuple[Split, str]:
    config = trained.config.data
    if data is None:
        name, refit = split or "test", trained.config.train.refit
        if refit and name == "validation":
            raise UsageError(
                f"run {trained.run.name} was trained on the validation split too (train.refit), so"
                " that tells nothing. Measure --split test, which was held out, or --split train,"
                " which holds all examples of training."
            )
        splits = load_splits(config, data_dir=data_dir, refit=refit)
        _check_same_data(trained, splits.info)
        return getattr(splits, name), name
    other = config.model_copy(update={"source": data})
    return load_examples(other, trained.predictor.info, split=split, data_dir=data_dir)


def _check_same_data(trained: TrainedModel, now: DataInfo) -> None:
    if now.fingerprint != trained.predictor.info.fingerprint:
        raise DataError(
            f"{now.source} has changed since run {trained.run.name} was trained on it, so its"
            " splits are others and may hold examples of training. Put the old data back, or"
            f" measure all of the new with --data {now.source}."
        )


def _class_scores(
    confusion: npt.NDArray[np.int64], classes: tuple[str, ...]
) -> tuple[ClassScore, ...]:
    right = np.diag(confusion)
    predicted, true = confusion.sum(axis=0), confusion.sum(axis=1)
    return tuple(
        ClassScore(
            name=name,
            examples=int(true[index]),
            precision=float(right[index] / max(predicted[index], 1)),
            recall=float(right[index] / max(true[index], 1)),
        )
        for index, name in enumerate(classes)
    )


def _plain(evaluation: Evaluation) -> dict[str, Any]:
    return asdict(evaluation) | {"run": str(evaluation.run)}
