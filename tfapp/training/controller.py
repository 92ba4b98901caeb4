"""The outer loop: trips of the compiled loop, ends of epochs, actions, and clean endings."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tfapp.errors import ExitCode
from tfapp.metrics import MetricSet
from tfapp.training.actions import Action, Monitor
from tfapp.training.loops import Loop
from tfapp.training.progress import Progress
from tfapp.training.together import Agreement, Alone
from tfapp.training.writers import Writer

# A trip this long keeps the progress bar alive and Ctrl-C prompt, and costs nothing measurable.
_TRIP_SECONDS = 0.25

StopRequest = Callable[[], ExitCode | None]


class NotFinite(Exception):
    """A step met NaN or Inf; `step` is the number of updates applied before it."""

    def __init__(self, step: int) -> None:
        super().__init__(f"step {step + 1} is not finite")
        self.step = step


class Controller:
    """Drives a loop from one step to the last.

    Args:
        loop: Runs steps.
        metrics: What the steps accumulate; read and reset at each end of an epoch.
        evaluate: Returns loss and metrics of the validation split; nothing if that is trained on.
        monitor: Watches one value over epochs.
        writer: Is told everything.
        actions: Are done after every trip, e.g. saving a checkpoint.
        scalars: Returns what an epoch's values are told with, such as the learning rate.
        batch_size: Examples of a step, for the speed shown.
        stop: Asked after every trip; a code ends the run there.
        agreement: With the other processes that train the same model.
    """

    def __init__(
        self,
        loop: Loop,
        *,
        metrics: MetricSet,
        evaluate: Callable[[], Mapping[str, float]],
        monitor: Monitor,
        writer: Writer,
        actions: Sequence[Action],
        scalars: Callable[[], Mapping[str, float]],
        batch_size: int,
        stop: StopRequest,
        agreement: Agreement | None = None,
    ) -> None:
        self._loop = loop
        self._metrics = metrics
        self._evaluate = evaluate
        self._monitor = monitor
        self._writer = writer
        self._actions = actions
        self._scalars = scalars
        self._batch_size = batch_size
        self._stop = stop
        self._agreement = agreement or Alone()
        self._steps_per_trip = 1  # the first trip is short: its time is mostly tracing

    def run(
        self, progress: Progress, *, stop_every: int | None = None
    ) -> tuple[Progress, ExitCode | None]:
        """Trains until the last step, early stopping, or a request to stop.

        Args:
            progress: Where to start.
            stop_every: Trips also end at multiples of this many steps, for actions that are due
                at exact steps.

        Returns:
            Where it ended, and the code of the request that ended it, if one did.

        Raises:
            NotFinite: A step met NaN or Inf; it was not applied.
        """
        while progress.step < progress.total_steps and not self._monitor.exhausted:
            progress = self._trip(progress, stop_every)
            if progress.at_epoch_end:
                progress = self._finish_epoch(progress)
            done = progress.step == progress.total_steps or self._monitor.exhausted
            request = None if done else self._agree()
            progress = replace(progress, finished=done or request is not None)
            for action in self._actions:
                action(progress)
            if request is not None:
                return progress, request
        return progress, None

    def _agree(self) -> ExitCode | None:
        """Settles with all processes how long the next trip is; returns a request to stop."""
        self._steps_per_trip, request = self._agreement.settle(self._steps_per_trip, self._stop())
        return request

    def _trip(self, progress: Progress, stop_every: int | None) -> Progress:
        steps = min(self._steps_per_trip, _until_multiple(progress.step, progress.steps_per_epoch))
        if stop_every:
            steps = min(steps, _until_multiple(progress.step, stop_every))
        started = time.perf_counter()
        result = self._loop.run(steps)
        seconds = time.perf_counter() - started
        if not result.finite:
            raise NotFinite(progress.step + result.steps)
        first = progress.examples_per_second == 0
        self._steps_per_trip = 8 if first else max(1, round(steps * _TRIP_SECONDS / seconds))
        progress = replace(
            progress,
            step=progress.step + result.steps,
            seconds=progress.seconds + seconds,
            examples_per_second=result.steps * self._batch_size / seconds,
            train=self._metrics.result(),
            improved=False,
        )
        self._writer.progress(progress)
        return progress

    def _finish_epoch(self, progress: Progress) -> Progress:
        started = time.perf_counter()
        validation = dict(self._evaluate())
        self._metrics.reset()
        values = {f"val_{name}": value for name, value in validation.items()} | dict(progress.train)
        progress = replace(
            progress,
            validation=validation,
            improved=self._monitor.update(progress.step, values[self._monitor.name]),
            seconds=progress.seconds + time.perf_counter() - started,
        )
        train = {**progress.train, **self._scalars()}
        self._writer.scalars("train", progress, train)
        if validation:
            self._writer.scalars("validation", progress, validation)
        return progress


def _until_multiple(step: int, period: int) -> int:
    return period - step % period
