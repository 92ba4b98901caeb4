"""Loops: who calls the step, and how many times for one trip out of the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfapp.data import OnePass
from tfapp.losses import TaskLoss
from tfapp.metrics import MetricSet
from tfapp.models.predictor import Predictor

Step = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class LoopResult:
    """What one call of a loop did.

    Attributes:
        steps: Updates applied.
        finite: False when the step after them met NaN or Inf and was not applied.
    """

    steps: int
    finite: bool


class StreamingLoop:
    """Runs many steps over an iterator in one compiled call.

    Python is paid once a call instead of once a batch, and the number of steps is a tensor, so
    that calls of any length share one trace.

    Args:
        step: Takes a batch and returns whether it was finite.
        batches: An endless `tf.data.Dataset` of `(features, labels)`.
    """

    def __init__(self, step: Step, batches: tf.data.Dataset) -> None:
        self._step = step
        self._iterator: Iterator[Any] = iter(batches)

    def run(self, num_steps: int) -> LoopResult:
        """Runs `num_steps` steps, fewer if one is not finite."""
        steps, finite = self._run(self._iterator, tf.constant(num_steps, tf.int64))
        return LoopResult(int(steps), bool(finite))

    @tf.function
    def _run(self, iterator: Iterator[Any], num_steps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        steps = tf.constant(0, tf.int64)
        finite = tf.constant(True)
        while steps < num_steps and finite:
            features, labels = next(iterator)
            finite = self._step(features, labels)
            steps += tf.cast(finite, tf.int64)
        return steps, finite


class EvaluationLoop:
    """Runs a model over a whole split in one compiled call.

    Args:
        predictor: The model behind its scaling.
        loss: Scalar loss of a batch.
        metrics: Reset at the start of each run.
        batches: The split's examples.
        also: Is given the labels `[B]` and the outputs `[B, n]` of each batch, inside the graph.
    """

    def __init__(
        self,
        predictor: Predictor,
        loss: TaskLoss,
        metrics: MetricSet,
        batches: OnePass,
        also: Callable[[tf.Tensor, tf.Tensor], None] | None = None,
    ) -> None:
        self._predictor = predictor
        self._loss = loss
        self._metrics = metrics
        self._batches = batches
        self._also = also

    def run(self) -> dict[str, float]:
        """Returns loss and metrics over the split."""
        self._metrics.reset()
        self._run()
        return self._metrics.result()

    @tf.function
    def _run(self) -> None:
        self._batches.visit(self._take_in)

    def _take_in(self, features: tf.Tensor, labels: tf.Tensor) -> None:
        outputs = self._predictor.outputs(features, training=False)
        loss = self._loss(labels, outputs) + self._predictor.regularization()
        self._metrics.update(labels, outputs, loss)
        if self._also is not None:
            self._also(labels, outputs)
