"""The training step of a program in each form, as a user would write it.

A step updates the weights and gives the loss; where there are no weights it gives the gradients as
well, since nothing else would ask for them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from tfapp.compare.engines import keras_fit, tape
from tfapp.compare.task import Task

v1 = tf.compat.v1


def tape_step(task: Task) -> Callable[[dict[str, Any]], Any]:
    """Returns a function of a batch as tensors."""
    trainer = tape.TapeStep(task)
    # Partials, because TensorFlow counts the traces of a function's code and warns of many.
    return partial(_loss, trainer) if task.arrays.weights else partial(trainer.step)


def fed(task: Task) -> dict[str, Any]:
    """Returns the first batch as tensors."""
    return tape.fed(task, 0)


def fetches(training: Any) -> Any:
    """Returns what a session is asked for in one step.

    Args:
        training: As `engines.tf1.build` makes it.
    """
    if training.variables:
        return training.loss, training.update
    return training.loss, dict(training.gradients)


def fit_step(task: Task) -> tuple[Callable[[Any], Any], Any]:
    """Returns the step that Keras's `fit` compiles, and the first batch for it.

    The model is built; its metrics are updated as in `fit`.
    """
    model, _ = keras_fit.compile_model(task, keras.Model)
    features, targets = keras_fit.FORMS[task.program.kind].pair(task.batch(0))
    batch = tf.constant(features), tf.constant(targets)
    keras.Model.train_step(model, batch)  # makes the optimizer's and the metrics' variables
    return partial(keras.Model.train_step, model), batch


def _loss(trainer: tape.TapeStep, data: dict[str, Any]) -> Any:
    loss, _ = trainer.step(data)
    return loss
