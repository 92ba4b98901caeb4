"""What a report measures of a run, for which TensorFlow is needed.

    measured = measure_run(run, data_dir=data_folder())
    measured.answers.calibration.error

N is the number of examples of the split that is measured on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfapp.data import evaluation_batches
from tfapp.data.splits import DataInfo, Split
from tfapp.errors import TfappError
from tfapp.evaluation import Evaluation, evaluate
from tfapp.losses import build_loss
from tfapp.report.calibration import Calibration, calibrate
from tfapp.report.norms import Norms, measure_norms
from tfapp.report.survey import Survey, examples_at, survey_samples, survey_splits
from tfapp.runs import Run
from tfapp.training.assembly import Assembly, assemble
from tfapp.training.restore import TrainedModel, load_trained

_MOST_MISTAKES = 16


@dataclass(frozen=True)
class Mistake:
    """An example that the model is far off on.

    Attributes:
        place: Its place in its split, from 0.
        features: `[*feature_shape]` raw features.
        true: Class index, or target.
        predicted: Class index, or value.
        probability: Of the predicted class; `None` for regression.
        loss: Its loss by itself, without class weights.
    """

    place: int
    features: npt.NDArray[Any]
    true: float
    predicted: float
    probability: float | None
    loss: float


@dataclass(frozen=True)
class Answers:
    """What the model says of one split.

    Attributes:
        evaluation: Loss, metrics, confusion matrix and classes.
        true: `[N]` class indices or targets.
        predicted: `[N]` class indices or values.
        wrong: How many are of the wrong class; N for regression.
        mistakes: Those of the largest loss among the wrong ones, the worst first.
        calibration: `None` for regression.
    """

    evaluation: Evaluation
    true: npt.NDArray[Any]
    predicted: npt.NDArray[Any]
    wrong: int
    mistakes: tuple[Mistake, ...]
    calibration: Calibration | None


@dataclass(frozen=True)
class Measurements:
    """What could be measured of a run.

    Attributes:
        missing: Why something could not, in sentences.
        step: Step of the best checkpoint; `None` if there is no model.
        info: What the data is; `None` if there is no model.
        answers: `None` without data, or where the model has nothing to predict.
        survey: `None` if there are no examples.
        norms: `None` if there is no model.
    """

    missing: tuple[str, ...] = ()
    step: int | None = None
    info: DataInfo | None = None
    answers: Answers | None = None
    survey: Survey | None = None
    norms: Norms | None = None


def measure_run(run: Run, *, data_dir: Path) -> Measurements:
    """Measures the best checkpoint of a run on the test split of its own data.

    Where the model or the data cannot be loaded any more, the result says so and holds the rest.

    Args:
        run: It may still be going on.
        data_dir: Where prepared data sets are kept.
    """
    try:
        trained = load_trained(run)
    except TfappError as error:
        return Measurements((f"Nothing was measured, because the model cannot be loaded: {error}",))
    info = trained.predictor.info
    parts, reason = _own_parts(trained, data_dir)
    answers = None
    if parts is None:
        survey = survey_samples(run, info)
    else:
        survey = survey_splits(parts.splits)
        if trained.predictor.head.kind == "objective":
            reason = "The model gives what is minimized; it has nothing to predict."
        else:
            answers = _answer(trained, parts)
    norms = measure_norms(trained, parts)  # the last: it spends the model
    return Measurements((reason,) if reason else (), trained.step, info, answers, survey, norms)


def _own_parts(trained: TrainedModel, data_dir: Path) -> tuple[Assembly | None, str]:
    """Returns what the run was trained with, else why there is none."""
    config = trained.config
    # Whatever it was trained on: other devices may not be there.
    train = config.train.model_copy(update={"strategy": "one"})
    try:
        parts = assemble(config.model_copy(update={"train": train}), data_dir=data_dir)
    except TfappError as error:
        return None, f"Nothing was measured on its data, which cannot be loaded: {error}"
    if parts.splits.info.fingerprint != trained.predictor.info.fingerprint:
        return None, (
            f"Nothing was measured on its data: {config.data.source} has changed since training, so"
            " its splits are others and may hold examples of training."
        )
    return parts, ""


def _answer(trained: TrainedModel, parts: Assembly) -> Answers:
    name = "test" if parts.splits.test.size else "validation"
    split: Split = getattr(parts.splits, name)
    evaluation = evaluate(trained, split, source=trained.config.data.source, split=name)
    true, predicted, probability, losses = _each(trained, split)
    classes = bool(trained.predictor.info.classes)
    wrong = np.flatnonzero(predicted != true) if classes else np.arange(len(true))
    worst = wrong[np.argsort(-losses[wrong], kind="stable")][:_MOST_MISTAKES]
    features = examples_at(split, worst.tolist())
    mistakes = tuple(
        Mistake(
            place=int(place),
            features=raw,
            true=true[place].item(),
            predicted=predicted[place].item(),
            probability=float(probability[place]) if classes else None,
            loss=float(losses[place]),
        )
        for place, raw in zip(worst, features, strict=True)
    )
    calibration = calibrate(probability, predicted == true) if classes else None
    return Answers(evaluation, true, predicted, len(wrong), mistakes, calibration)


def _each(trained: TrainedModel, split: Split) -> tuple[npt.NDArray[Any], ...]:
    """Returns label, prediction, its probability and loss of each example, each `[N]`."""
    predictor = trained.predictor
    # Without class weights, as an evaluation has it.
    loss = build_loss(trained.config.train.loss, predictor.info, predictor.head)

    def loss_of_one(example: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        label, outputs = example
        return tf.cast(loss(label[tf.newaxis], outputs[tf.newaxis]), tf.float32)

    @tf.function(reduce_retracing=True)
    def answer(features: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, ...]:
        outputs = predictor.outputs(features, training=False)
        losses = tf.map_fn(loss_of_one, (labels, outputs), fn_output_signature=tf.float32)
        if predictor.info.task == "regression":
            value = tf.reduce_mean(outputs, axis=-1)
            return labels, value, tf.ones_like(value), losses
        probabilities = predictor.head.probabilities(outputs)
        found = tf.argmax(probabilities, axis=-1)
        return labels, found, tf.reduce_max(probabilities, axis=-1), losses

    batches = evaluation_batches(split, trained.config.data.batch_size)
    answers = [[part.numpy() for part in answer(*batch)] for batch in batches]
    return tuple(np.concatenate(parts) for parts in zip(*answers, strict=True))
