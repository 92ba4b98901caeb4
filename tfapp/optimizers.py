"""Optimizers by name: all of Keras's, with every argument of their constructors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from tfapp import names
from tfapp.config import OptimizerConfig, ScheduleConfig
from tfapp.errors import UsageError
from tfapp.schedules import build_schedule


def build_optimizer(
    config: OptimizerConfig, schedule: ScheduleConfig, *, total_steps: int
) -> keras.optimizers.Optimizer:
    """Makes the optimizer of a run, not yet built for any variables.

    Args:
        config: Name, learning rate and options.
        schedule: How the learning rate moves.
        total_steps: Steps of the whole run.

    Raises:
        UsageError: An option has a value that Keras refuses, or an import path gives no optimizer.
    """
    rate = build_schedule(schedule, peak=config.learning_rate, total_steps=total_steps)
    if names.is_import_path(config.name):
        maker = names.import_object("optimizer", config.name)
    else:
        maker = getattr(keras.optimizers, names.OPTIMIZERS[config.name][0])
    try:
        optimizer = maker(learning_rate=rate, **config.options)
    except (TypeError, ValueError) as error:
        raise UsageError(f"train.optimizer {config.name!r}: {error}") from error
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise UsageError(
            f"train.optimizer {config.name!r} gives a {type(optimizer).__name__},"
            " expected a keras.optimizers.Optimizer."
        )
    return optimizer


@contextmanager
def averaged_weights(
    optimizer: keras.optimizers.Optimizer, variables: Sequence[Any]
) -> Iterator[None]:
    """Puts the moving averages of `use_ema` in place of the weights for the time of the block.

    Without `use_ema` nothing happens. What is evaluated and exported is the average; what training
    goes on with is the weight.
    """
    if not optimizer.use_ema:
        yield
        return
    kept = [keras.ops.convert_to_numpy(variable) for variable in variables]
    optimizer.finalize_variable_values(variables)
    try:
        yield
    finally:
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(value)
