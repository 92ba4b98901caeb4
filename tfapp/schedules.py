"""Learning-rate schedules: Keras's own, each with a linear warm-up in front."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tfapp import names
from tfapp.config import ScheduleConfig
from tfapp.errors import UsageError


@keras.saving.register_keras_serializable(package="tfapp")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly from 0 to `peak` in `warmup_steps`, then follows `decay` from its step 0.

    Args:
        peak: Learning rate at the end of the rise.
        warmup_steps: Steps of the rise, at least 1.
        decay: What follows, counted from the end of the rise; `None` stays at `peak`.

    Source: Goyal et al. 2017, "Accurate, Large Minibatch SGD", section 2.2 (gradual warm-up).
    """

    def __init__(
        self,
        peak: float,
        warmup_steps: int,
        decay: keras.optimizers.schedules.LearningRateSchedule | None = None,
    ) -> None:
        super().__init__()
        self.peak = peak
        self.warmup_steps = warmup_steps
        self.decay = decay

    def __call__(self, step: Any) -> tf.Tensor:
        """Returns the learning rate, a float32 scalar, of the update that makes `step` + 1."""
        step = tf.cast(step, tf.float32)
        rise = self.peak * (step + 1.0) / self.warmup_steps
        after = self.peak if self.decay is None else self.decay(step - self.warmup_steps)
        return tf.where(step < self.warmup_steps, rise, after)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        decay = None if self.decay is None else keras.saving.serialize_keras_object(self.decay)
        return {"peak": self.peak, "warmup_steps": self.warmup_steps, "decay": decay}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WarmUp:
        """Makes the schedule that `get_config` described."""
        decay = config["decay"]
        if isinstance(decay, dict):
            decay = keras.saving.deserialize_keras_object(decay)
        return cls(config["peak"], config["warmup_steps"], decay)


def build_schedule(
    config: ScheduleConfig, *, peak: float, total_steps: int
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Makes the learning rate of a run.

    Args:
        config: Name, warm-up and options.
        peak: The optimizer's `learning_rate`.
        total_steps: Steps of the whole run; what is left after warm-up is the default length of
            the decay.

    Returns:
        The constant itself, or a schedule over steps.

    Raises:
        UsageError: Warm-up is longer than the run, or Keras refuses an option.
    """
    if config.warmup_steps >= total_steps:
        raise UsageError(
            f"train.schedule.warmup_steps is {config.warmup_steps}, but the run has only"
            f" {total_steps} steps. Lower it, or raise train.epochs."
        )
    try:
        decay = _build_decay(config, peak, total_steps - config.warmup_steps)
    except (TypeError, ValueError) as error:
        raise UsageError(f"train.schedule {config.name!r}: {error}") from error
    if config.warmup_steps:
        return WarmUp(peak, config.warmup_steps, decay)
    return peak if decay is None else decay


def _build_decay(
    config: ScheduleConfig, peak: float, steps: int
) -> keras.optimizers.schedules.LearningRateSchedule | None:
    class_name, known = names.SCHEDULES[config.name]
    if class_name is None:
        return None
    options = config.options
    if config.name == "piecewise":
        missing = sorted({"boundaries", "values"} - set(options))
        if missing:
            raise ValueError(
                f"needs {' and '.join(missing)}, e.g. boundaries = [100], values = [0.1, 0.01]"
            )
        boundaries = [float(boundary) for boundary in options["boundaries"]]
        if boundaries != sorted(boundaries):
            raise ValueError(f"boundaries must rise, found {options['boundaries']}")
        options["values"] = [float(value) for value in options["values"]]  # TOML may mix 1 and 0.1
    else:
        options.setdefault("initial_learning_rate", peak)
    for key, default in (("decay_steps", steps), ("first_decay_steps", steps), ("decay_rate", 0.1)):
        if key in known:
            options.setdefault(key, default)
    return getattr(keras.optimizers.schedules, class_name)(**options)
