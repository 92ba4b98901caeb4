"""Keras: a model, compiled and trained by `fit`.

`fit` tells only a loss that is rounded and averaged on its way to the log. So the training step
keeps the loss and the gradients it has used in variables, and a callback reads them, and the
weights, after every batch. B is the batch size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfapp.compare.engines.losses import EPSILON, MOMENTUM
from tfapp.compare.task import Task
from tfapp.compare.trace import Array, Step, Train

# Steps of one call of `fit`: as many are held in memory.
CHUNK = 32

Ends = tuple[Any, Any]  # symbolic inputs and outputs of a model


@dataclass(frozen=True)
class Form:
    """How a kind of program looks in Keras.

    Attributes:
        connect: Makes inputs and outputs of a model from the shape of one example.
        loss: Of targets and predictions.
        names: The program's names of the model's weights, in Keras's order.
        pair: Cuts a batch of the program into features and targets.
    """

    connect: Callable[[tuple[int, ...]], Ends]
    loss: Any
    names: tuple[str, ...]
    pair: Callable[[Mapping[str, Array]], tuple[Array, Array]]


def run(task: Task) -> Iterator[Step]:
    """Yields the steps of `fit`, which is called for 32 of them at a time."""
    model, weights = compile_model(task, RecordedModel)
    model.make_room()
    reader, batches = Reader(weights), cut(task)
    for start in range(0, task.steps, CHUNK):
        some = batches(start, min(CHUNK, task.steps - start))
        model.fit(some, shuffle=False, verbose=0, callbacks=[reader])
        yield from reader.take()


def train(task: Task) -> Train:
    """Returns what calls `fit` for as many steps as it is asked for.

    Nothing is kept, so that this is Keras's own training step; the loss is the one that `fit`
    keeps of its last batch.
    """
    model, _ = compile_model(task, keras.Model)
    batches, done = cut(task), 0

    def fit(steps: int) -> float:
        nonlocal done
        last = LastLoss()
        model.fit(batches(done, steps), shuffle=False, verbose=0, callbacks=[last])
        done += steps
        return last.loss

    return fit


def compile_model(task: Task, made: type[keras.Model]) -> tuple[Any, dict[str, Any]]:
    """Returns the compiled model, and its variables by the program's names.

    Args:
        task: What is computed.
        made: The class of the model, which takes inputs and outputs.
    """
    form = FORMS[task.program.kind]
    features, _ = form.pair(task.batch(0))
    inputs, outputs = form.connect(features.shape[1:])
    model = made(inputs, outputs)
    weights = dict(zip(form.names, model.weights, strict=True))
    for name, variable in weights.items():
        variable.assign(task.arrays.weights[name])
    optimizer = keras.optimizers.SGD(task.program.learning_rate)
    model.compile(optimizer, form.loss, jit_compile=False)
    return model, weights


class RecordedModel(keras.Model):
    """A model of layers whose training step keeps its loss and gradients."""

    def train_step(self, data: Any) -> dict[str, Any]:
        """Does what Keras's own step does, and keeps what it has used.

        Args:
            data: Features `[B, ...]` and targets `[B, ...]`.
        """
        features, targets = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(features, targets, self(features, training=True))
        gradients = tape.gradient(loss, [v.value for v in self.trainable_variables])
        for kept, value in zip(self.kept, (loss, *gradients), strict=True):
            kept.assign(value)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}

    def make_room(self) -> None:
        """Makes the variables that keep the loss and the gradients."""
        shapes = [(), *(variable.shape for variable in self.trainable_variables)]
        self.kept = [tf.Variable(tf.zeros(shape), trainable=False) for shape in shapes]


class Reader(keras.callbacks.Callback):
    """Reads a step after every batch.

    Args:
        weights: The model's variables by the program's names.
    """

    def __init__(self, weights: Mapping[str, Any]) -> None:
        super().__init__()
        self._weights = weights
        self._steps: list[Step] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Adds the step that has just been done."""
        loss, *gradients = (kept.numpy() for kept in self.model.kept)
        trained = [name for name, variable in self._weights.items() if variable.trainable]
        values = {name: np.array(variable) for name, variable in self._weights.items()}
        self._steps.append(Step(loss, dict(zip(trained, gradients, strict=True)), values))

    def take(self) -> list[Step]:
        """Returns the steps read since the last call."""
        taken, self._steps = self._steps, []
        return taken


class LastLoss(keras.callbacks.Callback):
    """Keeps what `fit` tells after its last batch: the mean loss of all batches of the call."""

    loss: float

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Reads the loss, as a progress bar would."""
        self.loss = float(logs["loss"])


def cut(task: Task) -> Callable[[int, int], Any]:
    """Returns a function of the first batch's number and how many there are to be.

    It gives batches of features and targets in their order, as a `tf.data.Dataset`.
    """
    pair, size = FORMS[task.program.kind].pair(task.arrays.data), task.program.batch_size
    if size is None:
        return lambda start, steps: tf.data.Dataset.from_tensors(pair).repeat(steps)
    arrays = tuple(tf.constant(array) for array in pair)
    starts = tf.range(0, len(pair[0]), size, tf.int64)

    def batch(number: Any) -> Any:
        first = starts[number % len(starts)]
        return tuple(array[first : first + size] for array in arrays)

    # Not `skip`: it would produce the batches and throw them away.
    return lambda start, steps: tf.data.Dataset.range(start, start + steps).map(batch)


class Polynomial(keras.layers.Layer):
    """The cost c0 w^2 + c1 w + c2 of one weight, for coefficients `[B, 3]`."""

    def build(self, shape: Any) -> None:
        """Makes the weight."""
        self.w = self.add_weight(shape=(), initializer="zeros", name="w")

    def call(self, coefficients: Any) -> Any:
        """Returns `[B]` costs."""
        c0, c1, c2 = coefficients[:, 0], coefficients[:, 1], coefficients[:, 2]
        return c0 * self.w**2 + c1 * self.w + c2


def connect_polynomial(shape: tuple[int, ...]) -> Ends:
    """Connects the cost as a layer."""
    return _sequence(shape, [Polynomial()])


def connect_two_layer(shape: tuple[int, ...]) -> Ends:
    """Connects two dense layers without biases.

    The program says maximum(x, 0), whose gradient at exactly 0 is 1; that of relu is 0.
    """
    dense, maximum = keras.layers.Dense, keras.ops.maximum
    first = dense(100, activation=lambda x: maximum(x, 0), use_bias=False)
    return _sequence(shape, [first, dense(1000, use_bias=False)])


def connect_mlp(shape: tuple[int, ...]) -> Ends:
    """Connects three dense layers."""
    dense = keras.layers.Dense
    return _sequence(
        shape, [dense(256, activation="relu"), dense(128, activation="relu"), dense(10)]
    )


def connect_cnn(shape: tuple[int, ...]) -> Ends:
    """Connects convolution, normalization, relu, pooling and a dense layer."""
    layers = keras.layers
    return _sequence(
        shape,
        [
            layers.Conv2D(8, 3, padding="same", use_bias=False),
            layers.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(10),
        ],
    )


def squared_sum(targets: Any, predictions: Any) -> Any:
    """Returns `[B]` sums of a row's squared errors; `fit` takes their mean."""
    return keras.ops.sum((predictions - targets) ** 2, axis=-1)


def itself(targets: Any, predictions: Any) -> Any:
    """Returns the predictions `[B]`, which are costs already."""
    return predictions


def _sequence(shape: tuple[int, ...], layers: list[Any]) -> Ends:
    inputs = x = keras.Input(shape)
    for layer in layers:
        x = layer(x)
    return inputs, x


def _coefficients(batch: Mapping[str, Array]) -> tuple[Array, Array]:
    return batch["coefficients"].reshape(1, 3), np.zeros(1, np.float32)


def _pair(batch: Mapping[str, Array]) -> tuple[Array, Array]:
    return batch["x"], batch["y"]


def _one_hot(batch: Mapping[str, Array]) -> tuple[Array, Array]:
    return batch["images"], np.eye(10, dtype=np.float32)[batch["labels"]]


def _labels(batch: Mapping[str, Array]) -> tuple[Array, Array]:
    return batch["images"], batch["labels"]


_POLYNOMIAL = Form(connect_polynomial, itself, ("w",), _coefficients)
FORMS: Mapping[str, Form] = {
    "polynomial": _POLYNOMIAL,
    "fed polynomial": _POLYNOMIAL,
    "two-layer": Form(connect_two_layer, squared_sum, ("w1", "w2"), _pair),
    "mlp": Form(connect_mlp, "mean_squared_error", ("w1", "b1", "w2", "b2", "w3", "b3"), _one_hot),
    "cnn": Form(
        connect_cnn,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        (
            *("conv/kernel", "bn/gamma", "bn/beta", "bn/moving_mean", "bn/moving_variance"),
            *("dense/kernel", "dense/bias"),
        ),
        _labels,
    ),
}
