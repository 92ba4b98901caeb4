"""What happens between steps: *when* (a condition) is kept apart from *what* (an action)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tfapp import names
from tfapp.training.progress import Progress

Action = Callable[[Progress], None]
Condition = Callable[[Progress], bool]


@dataclass(frozen=True)
class When:
    """Does `action` whenever `condition` holds."""

    condition: Condition
    action: Action

    def __call__(self, progress: Progress) -> None:
        """Tests the condition once, and acts on it."""
        if self.condition(progress):
            self.action(progress)


def any_of(*conditions: Condition) -> Condition:
    """Holds when at least one does; each is asked every time, so that clocks keep running."""

    def holds(progress: Progress) -> bool:
        answers = [condition(progress) for condition in conditions]
        return any(answers)

    return holds


def every_steps(steps: int) -> Condition:
    """Holds at multiples of `steps`."""
    return lambda progress: progress.step % steps == 0


def improved(progress: Progress) -> bool:
    """Holds at the end of an epoch that was the best so far."""
    return progress.improved


def finished(progress: Progress) -> bool:
    """Holds at the end of the run."""
    return progress.finished


class EverySeconds:
    """Holds when `seconds` have passed since it last held.

    Args:
        seconds: Least time between two.
        clock: Seconds that only grow.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._last = clock()

    def __call__(self, progress: Progress) -> bool:
        """Looks at the clock."""
        due = self._clock() - self._last >= self._seconds
        if due:
            self._last = self._clock()
        return due


@dataclass(frozen=True)
class Best:
    """The best value of the monitored metric so far.

    Attributes:
        step: The step that reached it.
        value: The value.
    """

    step: int
    value: float


class Monitor:
    """Watches one value over epochs: which was best, and for how long none was better.

    Args:
        name: `val_` and a metric for the validation split, or a metric of the training split.
        mode: `min` or `max` is better; `auto` goes by the name.
        min_delta: Least change that counts as better.
        patience: Epochs without improvement after which it is `exhausted`; `None` for never.
        best: Best so far, when a run is continued.
        stale_epochs: Epochs since then.
    """

    def __init__(
        self,
        name: str,
        *,
        mode: Literal["auto", "min", "max"] = "auto",
        min_delta: float = 0.0,
        patience: int | None = None,
        best: Best | None = None,
        stale_epochs: int = 0,
    ) -> None:
        self.name = name
        self.best = best
        self.stale_epochs = stale_epochs
        self._min_delta = min_delta
        self._patience = patience
        lower = mode == "min" or (mode == "auto" and lower_is_better(name))
        self._sign = -1.0 if lower else 1.0

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return self._patience is not None and self.stale_epochs >= self._patience

    def update(self, step: int, value: float) -> bool:
        """Takes the value after an epoch that ended at `step`; tells whether it is the best."""
        best = self.best
        # NaN is better than nothing, and anything is better than NaN.
        if best is None or math.isnan(best.value):
            better = best is None or not math.isnan(value)
        else:
            better = self._sign * (value - best.value) > self._min_delta
        if better:
            self.best = Best(step, value)
        self.stale_epochs = 0 if better else self.stale_epochs + 1
        return better


def lower_is_better(name: str) -> bool:
    """Tells whether a value is a loss or an error (the smaller the better) by its name."""
    plain = name.removeprefix("val_")
    described = names.METRICS.get(plain, plain).lower()  # `mse` is MeanSquaredError
    return "loss" in described or "error" in described
