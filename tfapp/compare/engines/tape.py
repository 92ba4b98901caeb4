"""TensorFlow 2: one step with a gradient tape, called in three ways."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import tensorflow as tf

from tfapp.compare.engines.losses import LOSSES, MOMENTUM
from tfapp.compare.task import Task
from tfapp.compare.trace import Step, Train, step_by_step

_SWITCH = "disable_meta_optimizer"
# Programs whose data are constants of the graph, or what is differentiated.
_UNFED = ("polynomial", "sum")


def run_eager(task: Task) -> Iterator[Step]:
    """Yields the steps of the tape as it is, operation by operation."""
    return _run(task, _as_it_is)


def run_function(task: Task) -> Iterator[Step]:
    """Yields the steps of the tape in a `tf.function`."""
    return _run(task, tf.function)


def run_xla(task: Task) -> Iterator[Step]:
    """Yields the steps of the tape compiled by XLA."""
    return _run(task, _by_xla)


def train_eager(task: Task) -> Train:
    """Returns what makes the steps of `run_eager`."""
    return _train(task, _as_it_is)


def train_function(task: Task) -> Train:
    """Returns what makes the steps of `run_function`."""
    return _train(task, tf.function)


def train_xla(task: Task) -> Train:
    """Returns what makes the steps of `run_xla`."""
    return _train(task, _by_xla)


@contextmanager
def rewriting(*, grappler: bool) -> Iterator[None]:
    """Sets whether Grappler may rewrite the functions that are traced inside, and puts it back."""
    before = tf.config.optimizer.get_experimental_options().get(_SWITCH, False)
    tf.config.optimizer.set_experimental_options({_SWITCH: not grappler})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({_SWITCH: before})


class TapeStep:
    """A program's variables, and the step that updates them.

    Args:
        task: What is computed.
    """

    def __init__(self, task: Task) -> None:
        self._loss = LOSSES[task.program.kind]
        self._constants = task.arrays.data if task.program.kind in _UNFED else {}
        self._learning_rate = task.program.learning_rate
        self._updates = bool(task.arrays.weights)
        initial = task.arrays.weights or task.arrays.data
        self._trained = task.trained or tuple(initial)
        self.variables = {
            name: tf.Variable(value, trainable=name in self._trained)
            for name, value in initial.items()
        }

    def step(self, data: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Updates once.

        Args:
            data: Tensors of a batch; nothing if the program's data are constants.

        Returns:
            The loss before the update, and the gradients by name.
        """
        with tf.GradientTape() as tape:
            loss, statistics = self._loss(self.variables, {**self._constants, **data})
        gradients = tape.gradient(loss, {name: self.variables[name] for name in self._trained})
        if self._updates:
            for name, gradient in gradients.items():
                self.variables[name].assign_sub(self._learning_rate * gradient)
            for name, value in statistics.items():
                average = self.variables[name]
                average.assign_sub((average - value) * (1 - MOMENTUM))
        return loss, gradients

    def weights(self) -> dict[str, Any]:
        """Returns the values of what is updated."""
        if not self._updates:
            return {}
        return {name: variable.numpy() for name, variable in self.variables.items()}


def _as_it_is(step: Any) -> Any:
    return step


def _by_xla(step: Any) -> Any:
    return tf.function(step, jit_compile=True)


def _train(task: Task, compiled: Callable[[Any], Any]) -> Train:
    trainer = TapeStep(task)

    def update(data: dict[str, Any]) -> Any:
        loss, gradients = trainer.step(data)
        # What no update needs and no one asks for would not be computed.
        return loss if task.arrays.weights else (loss, gradients)

    # A partial, as in `_run`.
    step = compiled(partial(update))
    if task.arrays.weights:
        return step_by_step(lambda number: step(fed(task, number)))
    return step_by_step(lambda number: step(fed(task, number))[0])


def _run(task: Task, compiled: Callable[[Any], Any]) -> Iterator[Step]:
    trainer = TapeStep(task)
    # TensorFlow counts the traces of a function's code and warns of many. Those of a partial it
    # counts apart, and every program here is traced for itself.
    step = compiled(partial(trainer.step))
    for number in range(task.steps):
        loss, gradients = step(fed(task, number))
        found = {name: gradient.numpy() for name, gradient in gradients.items()}
        yield Step(loss.numpy(), found, trainer.weights())


def fed(task: Task, number: int) -> dict[str, Any]:
    """Returns the batch of a step as tensors; nothing if the program's data are constants."""
    if task.program.kind in _UNFED:
        return {}
    return {name: tf.constant(array) for name, array in task.batch(number).items()}
