"""JAX: pure functions under `jax.jit`, an epoch a call or a step a call."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from tfapp.bench.contenders.base import Contender, Losses, Task, one_by_one
from tfapp.bench.examples import (
    Array,
    batch_indices,
    epoch_indices,
    initial_weights,
    read_examples,
)
from tfapp.bench.workloads import ADAM, NORM_EPSILON, NORM_MOMENTUM, Workload

Arrays = list[jax.Array]


class State(NamedTuple):
    """Everything that a step changes.

    Attributes:
        weights: As in `initial_weights`.
        averages: Moving mean and variance of each normalization.
        first: Adam's mean of the gradients; empty for gradient descent.
        second: Adam's mean of their squares.
        step: Updates done.
    """

    weights: Arrays
    averages: Arrays
    first: Arrays
    second: Arrays
    step: jax.Array


class JaxLoop(Contender):
    """Data on the device; a program gathers its batch by index, and the state is donated to it."""

    def __init__(self, task: Task) -> None:
        workload = task.workload
        examples = read_examples(task.source)
        squared = workload.loss == "squared_error"
        labels = examples.one_hot(workload.classes) if squared else examples.labels
        self._data = jnp.asarray(examples.features), jnp.asarray(labels)
        self._state = _first_state(workload)
        self._workload = workload
        self._indices = self._order()
        self._last = jnp.asarray(float("nan"))
        self._program = jax.jit(self._make_program(), donate_argnums=0)

    def run(self, steps: int) -> None:
        """Trains `steps` steps more."""
        for _ in range(0, steps, self.unit):
            self._call()
        self._last.block_until_ready()

    def loss(self) -> float:
        """Returns the newest loss."""
        return float(self._last.ravel()[-1])

    def _call(self) -> jax.Array:
        indices = next(self._indices).astype("int32")
        self._state, self._last = self._program(self._state, self._data, indices)
        return self._last

    @abc.abstractmethod
    def _order(self) -> Iterator[Array]:
        """Returns the indices of one call after another."""

    @abc.abstractmethod
    def _make_program(self) -> Any:
        """Returns a function of state, data and indices that returns state and losses."""

    def _step(self, state: State, data: tuple[jax.Array, jax.Array], rows: jax.Array) -> Any:
        features, labels = data[0][rows], data[1][rows]
        return _update(self._workload, state, features, labels)


class JaxScan(JaxLoop):
    """One call of one program an epoch: `lax.scan` over the batches."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.unit = task.workload.steps_per_epoch

    def first_losses(self, steps: int) -> Sequence[Losses]:
        """Trains on the first batches of the stored order and returns their losses."""
        return one_by_one(self._call().tolist()[:steps])

    def _order(self) -> Iterator[Array]:
        return (epoch_indices(self._workload, epoch) for epoch in itertools.count())

    def _make_program(self) -> Any:
        def epoch(state: State, data: Any, indices: jax.Array) -> Any:
            return lax.scan(lambda carry, rows: self._step(carry, data, rows), state, indices)

        return epoch


class JaxStep(JaxLoop):
    """One call a step: on a CPU XLA computes convolutions inside a loop without its libraries."""

    def first_losses(self, steps: int) -> Sequence[Losses]:
        """Trains on the first batches of the stored order and returns their losses."""
        return one_by_one(float(self._call()) for _ in range(steps))

    def _order(self) -> Iterator[Array]:
        return batch_indices(self._workload)

    def _make_program(self) -> Any:
        return self._step


def _first_state(workload: Workload) -> State:
    weights = [jnp.asarray(weight) for weight in initial_weights(workload)]
    filters = workload.hidden[:-1] if workload.architecture == "cnn" else ()
    averages = [value for count in filters for value in (jnp.zeros(count), jnp.ones(count))]
    adam = workload.optimizer == "adam"
    return State(
        weights,
        averages,
        [jnp.zeros_like(weight) for weight in weights] if adam else [],
        [jnp.zeros_like(weight) for weight in weights] if adam else [],
        jnp.zeros((), jnp.int32),
    )


def _update(
    workload: Workload, state: State, features: jax.Array, labels: jax.Array
) -> tuple[State, jax.Array]:
    def objective(weights: Arrays) -> tuple[jax.Array, Arrays]:
        outputs, averages = _forward(workload, weights, state.averages, features)
        return _loss(workload, outputs, labels), averages

    (loss, averages), gradients = jax.value_and_grad(objective, has_aux=True)(state.weights)
    rate, step = workload.learning_rate, state.step + 1
    if workload.optimizer == "sgd":
        weights = [w - rate * g for w, g in zip(state.weights, gradients, strict=True)]
        return State(weights, averages, [], [], step), loss
    beta_1, beta_2, epsilon = ADAM["beta_1"], ADAM["beta_2"], ADAM["epsilon"]
    first = [m + (1 - beta_1) * (g - m) for m, g in zip(state.first, gradients, strict=True)]
    second = [v + (1 - beta_2) * (g * g - v) for v, g in zip(state.second, gradients, strict=True)]
    scaled = rate * jnp.sqrt(1 - beta_2**step) / (1 - beta_1**step)
    weights = [
        w - scaled * m / (jnp.sqrt(v) + epsilon)
        for w, m, v in zip(state.weights, first, second, strict=True)
    ]
    return State(weights, averages, first, second, step), loss


def _forward(
    workload: Workload, weights: Arrays, averages: Arrays, x: jax.Array
) -> tuple[jax.Array, Arrays]:
    """Returns the outputs `[B, classes]` and the moving averages after them."""
    if workload.architecture == "quadratic":
        (w,) = weights
        return x[:, 0] * w**2 + x[:, 1] * w + x[:, 2], averages
    moved: Arrays = []
    for layer in range(0, len(averages), 2):
        kernel, scale, offset, *weights = weights
        x, changed = _convolution(x, kernel, scale, offset, averages[layer : layer + 2])
        moved += changed
    x = x.reshape(len(x), -1)
    stride = 2 if workload.has_biases else 1
    for start in range(0, len(weights), stride):
        x = x @ weights[start]
        if workload.has_biases:
            x = x + weights[start + 1]
        if start + stride < len(weights):
            x = jnp.maximum(x, 0)
    return x, moved


def _convolution(
    x: jax.Array,
    kernel: jax.Array,
    scale: jax.Array,
    offset: jax.Array,
    averages: Arrays,
) -> tuple[jax.Array, Arrays]:
    """Convolution, batch normalization, relu and pooling by 2."""
    x = lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    mean, variance = x.mean(axis=(0, 1, 2)), x.var(axis=(0, 1, 2))
    x = (x - mean) * (scale * lax.rsqrt(variance + NORM_EPSILON)) + offset
    x = lax.reduce_window(jnp.maximum(x, 0), -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "SAME")
    moved = [
        NORM_MOMENTUM * old + (1 - NORM_MOMENTUM) * new
        for old, new in zip(averages, (mean, variance), strict=True)
    ]
    return x, moved


def _loss(workload: Workload, outputs: jax.Array, labels: jax.Array) -> jax.Array:
    if workload.loss == "squared_error":
        return jnp.mean(jnp.square(outputs - labels))
    if workload.loss == "cross_entropy":
        shares = jax.nn.log_softmax(outputs)
        return -jnp.mean(jnp.take_along_axis(shares, labels[:, None], axis=1))
    return outputs.mean()
