"""Metrics by name, told what the labels and the model's outputs mean.

Shapes: B is the batch, K the number of classes, n the model's outputs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tfapp import names
from tfapp.data.splits import DataInfo
from tfapp.errors import UsageError
from tfapp.outputs import Outputs

_CLASSIFICATION = frozenset(
    {"accuracy", "auc", "f1_score", "precision", "recall", "top_5_accuracy"}
)


class TaskMetric:
    """A Keras metric over `[B]` labels and `[B, n]` outputs.

    Args:
        name: What it is called in tables and files.
        metric: Accumulates over batches.
        prepare: Brings labels and outputs into the form that the metric reads.
    """

    def __init__(
        self,
        name: str,
        metric: keras.metrics.Metric,
        prepare: Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
    ) -> None:
        self.name = name
        self.metric = metric
        self._prepare = prepare

    def update(self, labels: tf.Tensor, outputs: tf.Tensor) -> None:
        """Takes in one batch."""
        self.metric.update_state(*self._prepare(labels, outputs))


class MetricSet:
    """The mean loss and the named metrics of one split, accumulated since the last reset."""

    def __init__(self, metrics: Sequence[TaskMetric]) -> None:
        self.loss = keras.metrics.Mean(name="loss")
        self.metrics = tuple(metrics)

    @property
    def variables(self) -> list[Any]:
        """Every accumulator, in a fixed order."""
        return [v for m in (self.loss, *(m.metric for m in self.metrics)) for v in m.variables]

    def update(self, labels: tf.Tensor, outputs: tf.Tensor, loss: tf.Tensor) -> None:
        """Takes in one batch of B examples whose mean loss is `loss`."""
        with tf.name_scope("metrics"):
            self.loss.update_state(loss, sample_weight=tf.cast(tf.shape(labels)[0], tf.float32))
            for metric in self.metrics:
                metric.update(labels, outputs)

    def result(self) -> dict[str, float]:
        """Returns each value by name, `loss` first."""
        values = {"loss": float(self.loss.result())}
        return values | {m.name: float(m.metric.result()) for m in self.metrics}

    def reset(self) -> None:
        """Forgets every batch."""
        for metric in (self.loss, *(m.metric for m in self.metrics)):
            metric.reset_state()


def default_metrics(info: DataInfo, outputs: Outputs) -> list[str]:
    """Returns the metrics that suit the data."""
    if outputs.kind == "objective":
        return []
    return ["accuracy"] if info.task == "classification" else ["mean_absolute_error"]


def settle_metrics(metrics: Sequence[str], info: DataInfo, outputs: Outputs) -> list[str]:
    """Returns the names with each `auto` replaced by what suits the data, and each name once."""
    settled: list[str] = []
    for name in metrics:
        settled += default_metrics(info, outputs) if name == "auto" else [name]
    return list(dict.fromkeys(settled))


def default_monitor(metrics: Sequence[str]) -> str:
    """Returns the value that decides which checkpoint is best: `val_accuracy`, else `val_loss`."""
    return "val_accuracy" if "accuracy" in metrics else "val_loss"


def build_metrics(metrics: Sequence[str], info: DataInfo, outputs: Outputs) -> MetricSet:
    """Makes the metrics of one split.

    Args:
        metrics: Names from `names.METRICS`, import paths, or `auto`.
        info: Decides the form of the labels.
        outputs: Decides whether outputs become probabilities first.

    Raises:
        UsageError: A metric does not fit the task.
    """
    wanted = settle_metrics(metrics, info, outputs)
    built = MetricSet([_build(name, info, outputs) for name in wanted])
    known = ["loss", *(metric.name for metric in built.metrics)]
    if len(set(known)) < len(known):
        raise UsageError(f"train.metrics: two values have one name among {', '.join(known)}.")
    # Some of Keras's metrics make their variables in the first update; checkpoints need all.
    labels = tf.zeros([1], tf.int32 if info.task == "classification" else tf.float32)
    built.update(labels, tf.zeros([1, outputs.width]), tf.zeros([]))
    built.reset()
    return built


def _build(name: str, info: DataInfo, outputs: Outputs) -> TaskMetric:
    if names.is_import_path(name):
        return _imported(name, info)
    if (name in _CLASSIFICATION) != (info.task == "classification"):
        fitting = [
            n for n in names.METRICS if (n in _CLASSIFICATION) == (info.task == "classification")
        ]
        raise UsageError(
            f"train.metrics: {name!r} is not for {info.task}, which the labels of {info.source}"
            f" call for. Fitting: {', '.join(fitting)}."
        )
    maker = getattr(keras.metrics, names.METRICS[name])
    if info.task == "regression":
        return TaskMetric(name, maker(name=name), lambda labels, out: (labels[:, tf.newaxis], out))
    return _classification(name, maker, info, outputs)


def _classification(
    name: str, maker: Callable[..., keras.metrics.Metric], info: DataInfo, outputs: Outputs
) -> TaskMetric:
    classes = len(info.classes)
    if name == "accuracy":
        return TaskMetric(
            name,
            keras.metrics.SparseCategoricalAccuracy(name=name),
            lambda labels, out: (labels, outputs.probabilities(out)),
        )
    if name == "top_5_accuracy":
        return TaskMetric(
            name, maker(k=5, name=name), lambda labels, out: (labels, outputs.probabilities(out))
        )
    if name in ("precision", "recall") and classes != 2:
        raise UsageError(
            f"train.metrics: {name!r} is for two classes, {info.source} has {classes};"
            " use f1_score, which averages over classes."
        )
    if classes == 2 and name in ("precision", "recall", "auc"):
        return TaskMetric(
            name, maker(name=name), lambda labels, out: (labels, outputs.probabilities(out)[:, 1])
        )
    options = (
        {"multi_label": True, "num_labels": classes} if name == "auc" else {"average": "macro"}
    )
    return TaskMetric(
        name,
        maker(name=name, **options),
        lambda labels, out: (tf.one_hot(labels, classes), outputs.probabilities(out)),
    )


def _imported(path: str, info: DataInfo) -> TaskMetric:
    found = names.import_object("metric", path)
    if isinstance(
        found, keras.metrics.Metric
    ):  # one of our own: every split accumulates for itself
        found = type(found).from_config(found.get_config())
    elif inspect.isclass(found) and issubclass(found, keras.metrics.Metric):
        try:
            found = found()
        except TypeError as error:
            raise UsageError(
                f"train.metrics: {path!r} cannot be made without arguments: {error}."
                " Give its arguments defaults, or name an instance instead of the class."
            ) from error
    if not isinstance(found, keras.metrics.Metric):
        raise UsageError(
            f"train.metrics: {path!r} is a {type(found).__name__}, expected a keras.metrics.Metric."
        )
    name = path.rpartition(":")[2]
    if info.task == "regression":
        return TaskMetric(name, found, lambda labels, out: (labels[:, tf.newaxis], out))
    return TaskMetric(name, found, lambda labels, out: (labels, out))
