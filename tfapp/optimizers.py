"""Optimizers by name: all of Keras's, with every argument of their constructors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from tfapp import names
from tfapp.config import OptimizerConfig, ScheduleConfig
from tfapp.errors import UsageError, did_you_mean, reason_of
from tfapp.schedules import build_schedule
from tfapp.xla import in_xla


class LossScaling(keras.optimizers.LossScaleOptimizer):
    """Multiplies the loss, so that small gradients do not vanish in float16.

    Arguments, variables and use are Keras's: gradients of the scaled loss go into `apply`, which
    hands the inner optimizer the true ones; clipping, weight decay, moving averages, schedule and
    `iterations` are the inner optimizer's and know of the applied steps only. Where gradients have
    overflowed, the step is skipped and the scale halved; after `dynamic_growth_steps` good steps
    in a row it is doubled.

    `apply` is written anew, because Keras's doubles without end, up to an Inf that no halving
    undoes; halves without end, down to a 0 that makes the weights NaN; does not count what it
    skips; and refuses to work in the cross-replica context of `tf.distribute`.
    """

    # Where the largest float16, 65504, stands for a gradient of 1e9: what exceeds that is no
    # matter of float16.
    LEAST_SCALE = 2.0**-14
    # Where the smallest float16, 6e-8, stands for a gradient of 4e-15.
    MOST_SCALE = 2.0**24

    def build(self, var_list: Sequence[Any]) -> None:
        """Makes the variables, of the inner optimizer too."""
        super().build(var_list)
        self.skipped_steps = self.add_variable(
            shape=(), dtype="int", aggregation="only_first_replica", name="skipped_steps"
        )

    @property
    def can_lower_scale(self) -> tf.Tensor:
        """Scalar bool: False when gradients that overflow now will do so at any scale."""
        return self.dynamic_scale.value > self.LEAST_SCALE

    def unscale(self, gradients: Sequence[Any]) -> list[Any]:
        """Returns the true gradients for those of the scaled loss; `None` stays."""
        # Not a quotient, which rows of an embedding (`tf.IndexedSlices`) do not have.
        factor = 1.0 / self.dynamic_scale.value
        return [
            g if g is None else tf.math.scalar_mul(tf.cast(factor, g.dtype), g) for g in gradients
        ]

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Applies gradients of the scaled loss, or skips the step if they are not all finite."""
        gradients = self.unscale(grads)
        tf.cond(
            all_finite(gradients),
            lambda: self._apply_finite(gradients, trainable_variables or self._trainable_variables),
            self._skip,
        )

    def _apply_finite(self, gradients: list[Any], variables: Sequence[Any]) -> None:
        self.inner_optimizer.apply(gradients, variables)
        scale = tf.convert_to_tensor(self.dynamic_scale.value)
        steps = self.step_counter.value + 1
        due = steps >= self.dynamic_growth_steps
        grows = due & (scale < self.MOST_SCALE)
        self.dynamic_scale.assign(tf.where(grows, 2.0 * scale, scale))
        self.step_counter.assign(tf.where(due, tf.zeros_like(steps), steps))

    def _skip(self) -> None:
        self.step_counter.assign(0)
        self.dynamic_scale.assign(tf.maximum(0.5 * self.dynamic_scale.value, self.LEAST_SCALE))
        self.skipped_steps.assign_add(1)


def all_finite(gradients: Sequence[Any]) -> tf.Tensor:
    """Returns a scalar bool: whether neither NaN nor Inf is in any gradient, nor in its norm."""
    finite = [tf.math.is_finite(_sum_of_squares(g)) for g in gradients if g is not None]
    return tf.reduce_all(tf.stack([tf.constant(True), *finite]))


def _sum_of_squares(gradient: tf.Tensor | tf.IndexedSlices) -> tf.Tensor:
    values = gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
    if values.dtype in (tf.float16, tf.bfloat16):
        values = tf.cast(values, tf.float32)  # the square of 256 is too large for float16
    if not in_xla():
        return tf.nn.l2_loss(values)
    squares = tf.square(values)
    if squares.shape.rank is None or squares.shape.rank < 2:
        return tf.reduce_sum(squares)
    # A product with ones: XLA adds up all numbers of a tensor one after the other on a CPU, which
    # took a quarter of a step of a small network.
    columns = tf.shape(squares)[-1]
    rows = tf.reshape(squares, [-1, columns])
    return tf.reduce_sum(tf.linalg.matvec(rows, tf.ones([columns], rows.dtype)))


def build_optimizer(
    config: OptimizerConfig,
    schedule: ScheduleConfig,
    *,
    total_steps: int,
    precision: str = "float32",
    model: Any = None,
) -> keras.optimizers.Optimizer:
    """Makes the optimizer of a run, not yet built for any variables.

    Args:
        config: Name, learning rate and options. Of a compiled optimizer what is said here changes
            what `compile()` was given; the rest stays.
        schedule: How the learning rate moves.
        total_steps: Steps of the whole run.
        precision: What layers compute in; for `mixed_float16` the optimizer scales the loss.
        model: Holds the optimizer that is called `compiled`.

    Raises:
        UsageError: An option has a value that Keras refuses or that does not go with the
            precision, or an import path gives no optimizer.
    """
    if config.name == names.COMPILED:
        return _with_loss_scaling(_compiled(config, schedule, total_steps, model), precision)
    if schedule.name == names.COMPILED:
        raise UsageError(
            f"train.schedule is 'compiled', but train.optimizer is {config.name!r}. Name a"
            " schedule, e.g. --set train.schedule.name=constant."
        )
    peak = names.DEFAULT_RATE if config.learning_rate is None else config.learning_rate
    rate = build_schedule(schedule, peak=peak, total_steps=total_steps)
    if names.is_import_path(config.name):
        maker = names.import_object("optimizer", config.name)
    else:
        name = names.DEFAULT_OPTIMIZER if config.name == "auto" else config.name
        maker = getattr(keras.optimizers, names.OPTIMIZERS[name][0])
    try:
        optimizer = maker(learning_rate=rate, **config.options)
    except (TypeError, ValueError) as error:
        raise UsageError(f"train.optimizer {config.name!r}: {error}") from error
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise UsageError(
            f"train.optimizer {config.name!r} gives a {type(optimizer).__name__},"
            " expected a keras.optimizers.Optimizer."
        )
    return _with_loss_scaling(optimizer, precision)


def compiled_optimizer(model: Any) -> keras.optimizers.Optimizer | None:
    """Returns the optimizer that a model was compiled with; `None` if there is none."""
    return getattr(model, "optimizer", None) if getattr(model, "compiled", False) else None


def constant_rate(optimizer: keras.optimizers.Optimizer) -> float | None:
    """Returns the learning rate; `None` if it follows a schedule."""
    try:
        rate = _inner(optimizer).get_config()["learning_rate"]
    except NotImplementedError:  # of a schedule without `get_config`
        return None
    return rate if isinstance(rate, float) else None


def _compiled(
    config: OptimizerConfig, schedule: ScheduleConfig, total_steps: int, model: Any
) -> keras.optimizers.Optimizer:
    """Returns a model's own optimizer, made anew where the config changes it."""
    found = compiled_optimizer(model)
    if found is None:
        raise UsageError(
            "train.optimizer is 'compiled', but the model was not compiled with one. Leave"
            " train.optimizer out, or name one, e.g. --optimizer adam."
        )
    inner = _inner(found)
    changes = dict(config.options)
    if (rate := _changed_rate(config, schedule, total_steps, found)) is not None:
        changes["learning_rate"] = rate
    if not changes and not inner.built:  # built: it has served another model
        return found
    try:
        own = inner.get_config()
        if unknown := [key for key in changes if key not in own]:
            near = did_you_mean(unknown[0], own)
            raise ValueError(f"{type(inner).__name__} has no option {unknown[0]!r}.{near}")
        made = type(inner).from_config({**own, **changes})
    except (TypeError, ValueError, NotImplementedError) as error:
        raise UsageError(f"train.optimizer 'compiled': {reason_of(error)}") from error
    if found is inner:
        return made
    return keras.optimizers.LossScaleOptimizer(
        made, initial_scale=found.initial_scale, dynamic_growth_steps=found.dynamic_growth_steps
    )


def _changed_rate(
    config: OptimizerConfig, schedule: ScheduleConfig, total_steps: int, found: Any
) -> Any:
    """Returns what takes the place of the compiled optimizer's learning rate, if anything does."""
    rate = config.learning_rate
    if schedule.name == names.COMPILED:
        if rate is not None:
            raise UsageError(
                "train.schedule is 'compiled', so there is no train.optimizer.learning_rate beside"
                " it. Leave one of them out."
            )
        return None
    if schedule.name == "constant" and not schedule.warmup_steps:
        return rate
    peak = constant_rate(found) if rate is None else rate
    if peak is None:
        raise UsageError(
            f"train.schedule {schedule.name!r} needs a rate to start from, and the compiled"
            " optimizer has a schedule of its own. Give one, e.g. --learning-rate 0.001."
        )
    return build_schedule(schedule, peak=peak, total_steps=total_steps)


def _inner(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return optimizer.inner_optimizer
    return optimizer


def _with_loss_scaling(
    optimizer: keras.optimizers.Optimizer, precision: str
) -> keras.optimizers.Optimizer:
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):  # of the user's own
        return LossScaling(
            optimizer.inner_optimizer,
            initial_scale=optimizer.initial_scale,
            dynamic_growth_steps=optimizer.dynamic_growth_steps,
        )
    if precision != "mixed_float16":
        return optimizer
    if optimizer.loss_scale_factor is not None:
        raise UsageError(
            "train.optimizer.loss_scale_factor does not go with train.precision 'mixed_float16',"
            " which finds the scale while it trains. Leave it out."
        )
    return LossScaling(optimizer)


def keeps_averages(optimizer: keras.optimizers.Optimizer) -> bool:
    """Tells whether the optimizer has moving averages of the weights (`use_ema`)."""
    return bool(_inner(optimizer).use_ema)  # that of loss scaling is False whatever it wraps


@contextmanager
def averaged_weights(
    optimizer: keras.optimizers.Optimizer, variables: Sequence[Any]
) -> Iterator[None]:
    """Puts the moving averages of `use_ema` in place of the weights for the time of the block.

    Without `use_ema` nothing happens. What is evaluated and exported is the average; what training
    goes on with is the weight.
    """
    if not keeps_averages(optimizer):
        yield
        return
    kept = [keras.ops.convert_to_numpy(variable) for variable in variables]
    optimizer.finalize_variable_values(variables)
    try:
        yield
    finally:
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(value)
