"""One process's work on a run: from a state to the end, with everything saved on the way."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tfapp.data import read_batch
from tfapp.errors import (
    CheckpointError,
    CheckpointMismatch,
    Diverged,
    ExitCode,
    Interrupted,
    MissingError,
    TfappError,
)
from tfapp.optimizers import averaged_weights
from tfapp.runs import Run
from tfapp.settings import is_supervised
from tfapp.training.actions import (
    Best,
    Condition,
    EverySeconds,
    Monitor,
    When,
    any_of,
    every_steps,
    finished,
    improved,
)
from tfapp.training.checkpoints import Checkpoints, TrainingState
from tfapp.training.controller import Controller, NotFinite, StopRequest
from tfapp.training.diagnosis import first_bad_tensor
from tfapp.training.identity import changed_surroundings, identity
from tfapp.training.program import Program
from tfapp.training.progress import Progress
from tfapp.training.replicas import ReplicatedMetrics, take_snapshot
from tfapp.training.together import agreement_of
from tfapp.training.writers import Writer

_SAVE_SECONDS = 60.0


@dataclass(frozen=True)
class TrainedRun:
    """What a training came to.

    Attributes:
        path: The run directory.
        state: `done`, `stopped early`, or `paused` where it was to end before its last epoch.
        step: Updates done.
        epoch: Whole epochs done.
        parameters: Trainable values of the model.
        monitor: The value that decided which checkpoint is best.
        best: Its best value; `None` if no epoch was finished, or nothing was held out to decide by.
        best_step: The step that reached it; without one the last step.
        train: Loss and metrics of the last epoch on the training split.
        validation: Loss and metrics after the last epoch on the validation split; empty where that
            was trained on.
        seconds: Time spent training and validating, over all sessions of the run.
        worker: Which process of several this is; only 0 has written the run.
    """

    path: Path
    state: str
    step: int
    epoch: int
    parameters: int
    monitor: str
    best: float | None
    best_step: int
    train: Mapping[str, float]
    validation: Mapping[str, float]
    seconds: float
    worker: int = 0


class Session:
    """Trains a program into a run directory.

    Args:
        run: Where checkpoints and status go.
        program: What is trained.
        writer: Is told everything.
        stop: Asked a few times a second; an exit code ends the run after a clean save.
        until: Epoch after which the run pauses; `None` to go on to its end.
    """

    def __init__(
        self,
        run: Run,
        program: Program,
        *,
        writer: Writer,
        stop: StopRequest,
        until: int | None = None,
    ) -> None:
        self._run = run
        self._parts = parts = program.parts
        self._writer = writer
        self._stop = stop
        self._step = program.step
        self._loop = program.choice.loop
        self._agreement = agreement_of(parts.place)
        self._validation = program.validation
        self._epochs = min(until or parts.config.train.epochs, parts.config.train.epochs)
        self._checkpoints = Checkpoints(run.checkpoints, keep=parts.config.train.checkpoint.keep)
        self._identity = identity(parts)
        self._start = TrainingState()
        self._monitor = self._make_monitor()

    @property
    def first_step(self) -> int:
        """Updates that were done before this session."""
        return self._start.step

    def restore(self, *, force: bool = False) -> None:
        """Reads the newest checkpoint that is whole; without any, the run starts again.

        Args:
            force: Take what fits from another model's checkpoint.

        Raises:
            CheckpointError: There are checkpoints, but none can be read.
            CheckpointMismatch: They are another model's.
            MissingError: There were checkpoints, but they are gone.
        """
        failure: CheckpointError | None = None
        damaged: list[int] = []
        for step in reversed(self._checkpoints.steps()):
            try:
                self._start = self._read(step, force)
            except CheckpointMismatch:
                raise
            except CheckpointError as error:
                failure = error
                damaged.append(step)
            else:
                self._monitor = self._make_monitor()
                for change in changed_surroundings(self._start.identity, self._identity):
                    self._writer.note(f"{change}: the last bits may differ from an unbroken run's")
                self._set_aside(damaged)
                self._check_shared_start()
                return
        if failure is not None:
            raise failure
        if self._run.read_json("status.json").get("step", 0):
            raise MissingError(
                f"run {self._run.name} had checkpoints, but {self._checkpoints.folder} holds none"
                " any more. Restore them from a copy, or train a new run."
            )
        self._writer.note("there is no checkpoint yet: starting from step 0")
        self._check_shared_start()

    def _set_aside(self, damaged: Sequence[int]) -> None:
        """Renames checkpoints that would count as the newest, and outlive whole ones."""
        for step in damaged if self._parts.place.is_chief else ():
            aside = self._checkpoints.set_aside(step)
            self._writer.note(f"passed over step {step}: it is damaged, now {aside}")

    def _check_shared_start(self) -> None:
        if (chief := self._agreement.from_chief(self._start.step)) != self._start.step:
            raise CheckpointError(
                f"the chief goes on from step {chief}, but this worker has read step"
                f" {self._start.step} in {self._checkpoints.folder}: it is not the same folder."
                " Put the runs where all workers see them."
            )

    def _read(self, step: int, force: bool) -> TrainingState:
        variables = self._parts.variables
        try:
            return self._checkpoints.restore(step, variables)
        except CheckpointMismatch as error:
            if not force:
                raise CheckpointMismatch(
                    f"{error} To take from it what fits: tfapp train --resume {self._run.name}"
                    " --force"
                ) from error
        anew = self._checkpoints.restore_matching(step, variables)
        self._writer.note(f"not in step {step}, so begun anew: {', '.join(anew)}")
        return self._checkpoints.state(step)

    def train(self) -> TrainedRun:
        """Trains to the last step, or until early stopping.

        Raises:
            Diverged: A step met NaN or Inf; the last good checkpoint is kept.
            Interrupted: `stop` gave a code; everything is saved.
        """
        progress = Progress(
            step=self._start.step,
            total_steps=self._epochs * self._parts.steps_per_epoch,
            steps_per_epoch=self._parts.steps_per_epoch,
            epochs=self._epochs,
            seconds=self._start.seconds,
        )
        self._write_status("running", progress)
        try:
            every = self._parts.config.train.checkpoint.every_steps
            progress, request = self._controller(every).run(progress, stop_every=every)
            if request is not None:
                raise self._interrupted(progress, request)
        except NotFinite as error:
            self._amend_status("diverged")
            raise self._diverged(error.step) from error
        except BaseException as error:
            self._amend_status("interrupted" if isinstance(error, Interrupted) else "failed")
            raise
        return self._finish(progress)

    @property
    def _best(self) -> Best | None:
        # The least loss on what is trained on says nothing: the last checkpoint is taken.
        return self._monitor.best if self._validation else None

    def _make_monitor(self) -> Monitor:
        train = self._parts.config.train
        return Monitor(
            train.monitor,
            mode=train.monitor_mode,
            min_delta=train.early_stopping.min_delta if train.early_stopping else 0.0,
            patience=train.early_stopping.patience if train.early_stopping else None,
            best=self._start.best,
            stale_epochs=self._start.stale_epochs,
        )

    def _controller(self, save_every: int | None) -> Controller:
        config, parts = self._parts.config, self._parts
        self._loop.start(self._start.step)
        once_a_minute = EverySeconds(_SAVE_SECONDS, self._agreement.clock)
        due: list[Condition] = [finished, once_a_minute]
        if self._validation:
            due.append(improved)
        if save_every:
            due.append(every_steps(save_every))
        return Controller(
            self._loop,
            metrics=parts.metrics,
            evaluate=self._validate,
            monitor=self._monitor,
            writer=self._writer,
            actions=[When(any_of(*due), self._save)],
            scalars=self._step.scalars,
            batch_size=config.data.batch_size,
            stop=self._stop,
            agreement=self._agreement,
        )

    def _validate(self) -> Mapping[str, float]:
        if self._validation is None:
            return {}
        variables = self._parts.predictor.model.trainable_variables
        with averaged_weights(self._parts.optimizer, variables):
            return self._validation.run()

    def _save(self, progress: Progress) -> None:
        state = TrainingState(
            step=progress.step,
            best=self._monitor.best,
            stale_epochs=self._monitor.stale_epochs,
            seconds=progress.seconds,
            identity=self._identity,
        )
        place = self._parts.place
        variables: Mapping[str, Sequence[Any]] = self._parts.variables
        metrics = self._parts.metrics
        if isinstance(metrics, ReplicatedMetrics):
            variables = take_snapshot(variables, metrics)
        if place.is_chief:
            self._checkpoints.save(state, variables)
        self._write_status(self._state_at(progress), progress)

    def _finish(self, progress: Progress) -> TrainedRun:
        state = self._state_at(progress)
        self._write_status(state, progress)
        if state == "stopped early":
            self._writer.note(
                f"stopped early: {self._monitor.name} has not improved for"
                f" {self._monitor.stale_epochs} epochs"
            )
        best = self._best
        return TrainedRun(
            path=self._run.path,
            state=state,
            step=progress.step,
            epoch=progress.epoch,
            parameters=self._parts.parameters,
            monitor=self._monitor.name,
            best=best.value if best else None,
            best_step=best.step if best else progress.step,
            train=dict(progress.train),
            validation=dict(progress.validation),
            seconds=progress.seconds,
            worker=self._parts.place.worker,
        )

    def _state_at(self, progress: Progress) -> str:
        if progress.step == self._parts.total_steps:
            return "done"
        if self._monitor.exhausted:
            return "stopped early"
        return "paused" if progress.step == progress.total_steps else "running"

    def _interrupted(self, progress: Progress, code: ExitCode) -> Interrupted:
        workers = f" --workers {self._parts.place.workers}" if is_supervised() else ""
        return Interrupted(
            f"stopped at step {progress.step} of {progress.total_steps}, saved in"
            f" {self._checkpoints.path(progress.step)}."
            f" Continue with: tfapp train --resume {self._run.path}{workers}",
            code,
        )

    def _diverged(self, steps_done: int) -> Diverged:
        data = self._parts.config.data
        features, labels = read_batch(
            self._parts.splits.train,
            batch_size=data.batch_size,
            seed=self._parts.config.seed,
            step=steps_done,
        )
        culprit = first_bad_tensor(self._step, features, labels)
        steps = self._checkpoints.steps()
        kept = (
            f"The last good checkpoint is {self._checkpoints.path(steps[-1])}."
            if steps
            else "There was no checkpoint yet."
        )
        rate = self._parts.config.train.optimizer.learning_rate  # None: the compiled one's
        rate = rate or self._step.scalars()["learning_rate"]
        return Diverged(
            f"step {steps_done + 1}: {culprit} is not finite; the update was not applied."
            f" {kept} Try a lower rate"
            f" (--learning-rate {rate / 10:g}) or --set train.optimizer.global_clipnorm=1.0."
        )

    def _write_status(self, state: str, progress: Progress) -> None:
        if not self._parts.place.is_chief:
            return
        best = self._best
        self._run.write_json(
            "status.json",
            {
                "state": state,
                "pid": os.getpid(),
                "step": progress.step,
                "total_steps": self._parts.total_steps,
                "epoch": progress.epoch,
                "monitor": self._monitor.name,
                "best": asdict(best) if best else None,
                "seconds": round(progress.seconds, 3),
                "parameters": self._parts.parameters,
            },
        )

    def _amend_status(self, state: str) -> None:
        """Records how it ended; the error that ended it must not be hidden by a full disk."""
        if not self._parts.place.is_chief:
            return
        try:
            self._run.write_json(
                "status.json", self._run.read_json("status.json") | {"state": state}
            )
        except TfappError as error:
            with suppress(TfappError):
                self._writer.note(f"status.json could not be written: {error}")
