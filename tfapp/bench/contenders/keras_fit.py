"""Keras: `compile` and `fit`, as documented and in every variation that is said to be fast."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import keras
import numpy as np
import tensorflow as tf

from tfapp.bench.contenders.base import Contender, Losses, Task
from tfapp.bench.contenders.input_pipeline import shuffled_batches, stored_batches
from tfapp.bench.examples import initial_weights, read_examples
from tfapp.bench.workloads import ADAM, NORM_MOMENTUM, Workload
from tfapp.timing.slices import Slice

# `fit` on arrays gets them so often after one another that a slice is one pass, up to this size.
_MOST_BYTES = 2**28


class KerasFit(Contender):
    """A model compiled with loss, optimizer and, for classes, accuracy: what tfapp computes too."""

    jit_compile: ClassVar[bool | Literal["auto"]] = "auto"
    steps_per_execution: ClassVar[int] = 1

    def __init__(self, task: Task) -> None:
        keras.utils.clear_session()
        self._workload = workload = task.workload
        self.unit = self._least_steps()
        examples = read_examples(task.source)
        squared = workload.loss == "squared_error"
        self._features = examples.features
        self._labels = examples.one_hot(workload.classes) if squared else examples.labels
        self._model = _build(workload)
        self._model.set_weights(_with_averages(workload))
        self._model.compile(
            optimizer=_optimizer(workload),
            loss=_LOSSES[workload.loss],
            metrics=[] if workload.loss == "output" else ["accuracy"],
            jit_compile=self.jit_compile,
            steps_per_execution=self.steps_per_execution,
        )
        self._loss = float("nan")

    def first_losses(self, steps: int) -> Sequence[Losses]:
        """Trains on the first batches of the stored order and returns their losses."""
        means = _Means()
        batches = stored_batches(self._workload, self._features, self._labels, steps)
        self._model.fit(batches, shuffle=False, verbose=0, callbacks=[means])
        return means.losses()

    def run(self, steps: int) -> None:
        """Trains `steps` steps more."""
        self.time(steps)

    def time(self, steps: int) -> Slice:
        """Trains by one call of `fit` and tells how long its epochs took.

        What it does before the first of them and after the last is left out: a user pays it once.
        """
        clock = _Clock()
        history = self._fit(steps, clock)
        self._loss = history.history["loss"][-1]
        return Slice(clock.steps, clock.seconds)

    def loss(self) -> float:
        """Returns the newest loss."""
        return self._loss

    def _least_steps(self) -> int:
        return self._workload.steps_per_epoch

    def _fit(self, steps: int, clock: _Clock) -> Any:
        size = self._workload.examples
        most = max(1, _MOST_BYTES // self._features.nbytes) * size
        passes = -(-min(steps * self._workload.batch_size, most) // size)
        per_epoch = passes * self._workload.steps_per_epoch
        return self._model.fit(
            np.concatenate([self._features] * passes),
            np.concatenate([self._labels] * passes),
            batch_size=self._workload.batch_size,
            epochs=max(1, round(steps / per_epoch)),
            verbose=0,
            callbacks=[clock],
        )


class FitFromDataset(KerasFit):
    """The same from a `tf.data` pipeline without end."""

    def _least_steps(self) -> int:
        return self.steps_per_execution

    def _fit(self, steps: int, clock: _Clock) -> Any:
        features, labels = tf.constant(self._features), tf.constant(self._labels)
        return self._model.fit(
            shuffled_batches(self._workload, features, labels),
            steps_per_epoch=steps,
            epochs=1,
            shuffle=False,  # the pipeline does
            verbose=0,
            callbacks=[clock],
        )


class Fit1(FitFromDataset):
    """Without XLA, one step an execution."""

    jit_compile = False


class Fit32(Fit1):
    """Without XLA, 32 steps an execution."""

    steps_per_execution = 32


class Fit128(Fit1):
    """Without XLA, 128 steps an execution."""

    steps_per_execution = 128


class FitJit1(FitFromDataset):
    """With XLA, one step an execution."""

    jit_compile = True


class FitJit32(FitJit1):
    """With XLA, 32 steps an execution."""

    steps_per_execution = 32


class FitJit128(FitJit1):
    """With XLA, 128 steps an execution."""

    steps_per_execution = 128


class _Clock(keras.callbacks.Callback):
    """Adds up steps and seconds between begin and end of the epochs."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 0
        self.seconds = 0.0
        self._started = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clock."""
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stops it."""
        self.seconds += time.perf_counter() - self._started
        self.steps += self.params["steps"]


class _Means(keras.callbacks.Callback):
    """Notes the mean loss since the epoch began after each execution of one or more steps."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: list[tuple[int, float]] = [(0, 0.0)]  # steps so far, sum of their losses

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Takes the mean of all steps so far."""
        steps = min(batch + 1, self.params["steps"])
        self._seen.append((steps, float(logs["loss"]) * steps))

    def losses(self) -> list[Losses]:
        """Returns the mean loss of each execution."""
        return [
            Losses(steps - before, (total - sum_before) / (steps - before))
            for (before, sum_before), (steps, total) in zip(
                self._seen, self._seen[1:], strict=False
            )
        ]


class Quadratic(keras.Model):
    """The cost c0 w^2 + c1 w + c2 of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.w = self.add_weight(shape=(), initializer="zeros", name="w")

    def call(self, coefficients: Any) -> Any:
        """Returns `[B]` costs for coefficients `[B, 3]`."""
        c = coefficients
        return c[:, 0] * self.w**2 + c[:, 1] * self.w + c[:, 2]


def mean_output(_: Any, outputs: Any) -> Any:
    """A loss that is the model's output."""
    return keras.ops.mean(outputs, axis=-1)


_LOSSES: dict[str, Any] = {
    "squared_error": "mean_squared_error",
    "cross_entropy": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    "output": mean_output,
}


def _build(workload: Workload) -> keras.Model:
    if workload.architecture == "quadratic":
        model = Quadratic()
        model.build((None, 3))
        return model
    layers: list[Any] = [keras.Input(workload.feature_shape)]
    dense = workload.hidden
    if workload.architecture == "cnn":
        *filters, last = workload.hidden
        for count in filters:
            layers += [
                keras.layers.Conv2D(count, 3, padding="same", use_bias=False),
                keras.layers.BatchNormalization(momentum=NORM_MOMENTUM),
                keras.layers.Activation("relu"),
                keras.layers.MaxPooling2D(2, padding="same"),
            ]
        layers.append(keras.layers.Flatten())
        dense = (last,)
    for width in dense:
        layers.append(keras.layers.Dense(width, "relu", use_bias=workload.has_biases))
    layers.append(keras.layers.Dense(workload.classes, use_bias=workload.has_biases))
    return keras.Sequential(layers)


def _with_averages(workload: Workload) -> list[Any]:
    """Returns the initial weights with moving mean and variance after scale and offset."""
    weights = initial_weights(workload)
    if workload.architecture != "cnn":
        return weights
    for layer in reversed(range(len(workload.hidden) - 1)):
        count = len(weights[3 * layer + 1])
        weights[3 * layer + 3 : 3 * layer + 3] = [np.zeros(count), np.ones(count)]
    return weights


def _optimizer(workload: Workload) -> keras.optimizers.Optimizer:
    if workload.optimizer == "sgd":
        return keras.optimizers.SGD(workload.learning_rate)
    return keras.optimizers.Adam(workload.learning_rate, **ADAM)
