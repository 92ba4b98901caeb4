"""`tfapp train` itself, with all it does besides training; it is held between slices."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from tfapp.bench.contenders.base import Contender, Losses, Task
from tfapp.bench.contenders.tfapp_loop import (
    config_of,
    in_stored_order,
    options_of,
    set_weights,
)
from tfapp.bench.workloads import Workload
from tfapp.errors import ExitCode, Interrupted
from tfapp.models import build_model
from tfapp.timing.slices import Slice
from tfapp.training.progress import Progress
from tfapp.training.train import train_model
from tfapp.training.writers import Writer

# As many training examples as MNIST has, or about: what is done once an epoch weighs as it would.
_COPIES = 5


class TfappTrain(Contender):
    """A whole run: metrics, log, event files, checkpoints, a writer that follows the progress.

    Validation at the ends of epochs is not counted: nobody else does it. `train_model` works in a
    thread; where it asks whether it should stop, it is made to wait.
    """

    def __init__(self, task: Task) -> None:
        self._gate = _Gate()
        self._meter = _Meter()
        self._failure: BaseException | None = None
        self._whole_us = float("nan")
        config = config_of(task.workload, in_stored_order(task, copies=_COPIES))
        options = {"workload": task.workload.to_json()}
        model = {"name": f"{__name__}:initial_model", "options": options, "outputs": "logits"}
        config = type(config).model_validate(config.model_dump() | {"model": model})

        def train() -> None:
            try:
                train_model(
                    config,
                    runs=task.folder / "runs",
                    writers=[self._meter],
                    stop=self._gate.wait,
                )
            except Interrupted:
                pass
            except BaseException as error:  # belongs to the thread that asked for it
                self._failure = error
            finally:
                self._gate.end()

        self._thread = threading.Thread(target=train, name="tfapp-train", daemon=True)
        self._thread.start()
        self._train_until(1)

    def first_losses(self, steps: int) -> Sequence[Losses]:
        """Returns the mean losses of the first trips; the first two are one and eight steps."""
        self._train_until(steps)
        ends = itertools.accumulate(trip.steps for trip in self._meter.losses)
        return [trip for trip, end in zip(self._meter.losses, ends, strict=True) if end <= steps]

    def run(self, steps: int) -> None:
        """Trains at least `steps` steps, to the end of a trip."""
        self._train_until(self._meter.step + steps)

    def time(self, steps: int) -> Slice:
        """Trains at least `steps` steps; all that a run does counts, but for validation."""
        step, validation = self._meter.step, self._meter.validation_seconds
        started = time.perf_counter()
        self.run(steps)
        seconds = time.perf_counter() - started
        steps = self._meter.step - step
        self._whole_us = seconds / steps * 1e6
        return Slice(steps, seconds - (self._meter.validation_seconds - validation))

    def remarks(self) -> str:
        """Returns what a step took at last with its share of validation."""
        return f"{self._whole_us:,.0f} us with validation"

    def loss(self) -> float:
        """Returns the mean loss since the epoch began."""
        return self._meter.loss

    def close(self) -> None:
        """Ends the run as a signal would."""
        self._gate.close()
        self._thread.join()

    def _train_until(self, step: int) -> None:
        self._gate.open(lambda: self._meter.step >= step)
        if self._failure is not None:
            raise self._failure


class _Gate:
    """Holds a thread that asks whether it should stop, until it is let go on.

    The first question comes before training begins and is not held.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._enough: Callable[[], bool] = lambda: True
        self._asked = False
        self._held = False
        self._closed = False

    def wait(self) -> ExitCode | None:
        """Is what the run takes for the question whether to stop."""
        with self._changed:
            if not self._asked:
                self._asked = True
                return None
            if self._enough():
                self._held = True
                self._changed.notify_all()
                self._changed.wait_for(lambda: not self._held)
            return ExitCode.TERMINATED if self._closed else None

    def open(self, enough: Callable[[], bool]) -> None:
        """Lets the run go on, and returns when `enough()` holds or the run has ended."""
        with self._changed:
            self._enough = enough
            self._held = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._held)

    def close(self) -> None:
        """Lets the run go on to its end."""
        with self._changed:
            self._closed, self._held = True, False
            self._changed.notify_all()

    def end(self) -> None:
        """Tells whoever waits that the run is over."""
        with self._changed:
            self._held = True
            self._changed.notify_all()


class _Meter(Writer):
    """Counts steps and seconds of validation, and takes the first epoch's losses apart."""

    def __init__(self) -> None:
        self.step = 0
        self.loss = float("nan")
        self.losses: list[Losses] = []
        self.validation_seconds = 0.0
        self._seconds = 0.0

    def progress(self, progress: Progress) -> None:
        """Is told the mean loss since the epoch began after every trip."""
        mean, steps = progress.train["loss"], progress.step - self.step
        if progress.step <= progress.steps_per_epoch:
            before = self.loss * self.step if self.step else 0.0
            self.losses.append(Losses(steps, (mean * progress.step - before) / steps))
        self.step, self.loss, self._seconds = progress.step, mean, progress.seconds

    def scalars(self, split: str, progress: Progress, values: Mapping[str, float]) -> None:
        """Is told the values of an epoch, when the time of its validation has been added."""
        if split == "validation":
            self.validation_seconds += progress.seconds - self._seconds


def initial_model(outputs: int, *, workload: dict[str, Any]) -> keras.Model:
    """Returns the model of a workload with the weights that every contender starts from."""
    task = Workload.from_json(workload)
    model = build_model(
        task.architecture,
        options_of(task),
        feature_shape=task.feature_shape,
        outputs=outputs,
    )
    set_weights(model, task)
    return model
