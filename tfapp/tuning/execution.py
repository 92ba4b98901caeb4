"""Runs a trial: one training, or several with other seeds, each in a run directory of its own."""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from tfapp.config import Config
from tfapp.errors import (
    Diverged,
    ExitCode,
    Interrupted,
    StorageError,
    TfappError,
    reason_of,
    storage_errors,
)
from tfapp.runs import Run, claim_run
from tfapp.training.program import Programs
from tfapp.training.session import TrainedRun
from tfapp.training.train import train_program
from tfapp.training.writers import Writer
from tfapp.trials import FOLDER, Search, Trial
from tfapp.tuning.leader import Assignment, Outcome
from tfapp.tuning.seeds import derive_seed

Stop = Callable[[], ExitCode | None]


class TrialRunner:
    """Runs trials of one search, one after another.

    Args:
        run: The run that the search belongs to.
        config: What is searched, with its `tune` table.
        search: Its objective and seed.
        data_dir: Where prepared data sets are kept.
    """

    def __init__(self, run: Run, config: Config, search: Search, *, data_dir: Path) -> None:
        self._run = run
        self._config = config
        self._search = search
        self._programs = Programs(data_dir)

    def run(self, assignment: Assignment, *, writers: Sequence[Writer], stop: Stop) -> Outcome:
        """Runs a trial; whatever it raises is its outcome.

        Args:
            assignment: What to run.
            writers: Are told of each of its trainings.
            stop: Asked a few times a second; a code ends the trial, which then counts for nothing.

        Raises:
            StorageError: The disk refused, which it will do to every other trial.
        """
        try:
            with _retracing_expected():
                results = [
                    self._execute(assignment, execution, writers, stop)
                    for execution in range(self._search.executions)
                ]
        except StorageError:
            raise
        except Interrupted:
            return Outcome("stopped")
        except Diverged as error:
            return Outcome("diverged", reason=str(error))
        except Exception as error:
            if (cause := _out_of_memory(error)) is None:
                return Outcome("failed", reason=_one_line(error))
            self._programs.clear()
            return Outcome("failed", reason=f"out of memory: {reason_of(cause)}")
        return _outcome(results)

    def _execute(
        self, assignment: Assignment, execution: int, writers: Sequence[Writer], stop: Stop
    ) -> TrainedRun:
        config = config_of(self._config, self._search, assignment, execution)
        program = self._programs.build(config)
        folder = self._search.run_of(_named(assignment.number), execution).path
        with storage_errors(folder):
            if folder.exists():  # of an earlier attempt, which nobody has waited for
                shutil.rmtree(folder)
        run = claim_run(
            self._run.path / FOLDER, program.parts.config, name=folder.name, latest=False
        )
        parent = None
        if assignment.parent is not None:
            parent = self._search.run_of(_named(assignment.parent), execution)
        return train_program(
            program,
            run,
            writers=writers,
            stop=stop,
            until=assignment.until,
            parent=parent,
            graph=False,  # one trial's is like another's, and each would be traced
        )


def config_of(config: Config, search: Search, assignment: Assignment, execution: int) -> Config:
    """Returns the config of one training of a trial.

    Args:
        config: What is searched.
        search: Its objective and seed.
        assignment: The trial.
        execution: Which of its trainings, from 0.
    """
    made = config.with_values(assignment.values)
    seed = derive_seed(search.seed, assignment.root, execution)
    if "seed" in assignment.values:
        seed = derive_seed(made.seed, execution) if execution else made.seed
    # Which loop is fastest is found by timing, which does not come out the same each time.
    loop = "streaming" if made.train.loop == "auto" else made.train.loop
    train = made.train.model_copy(
        update={"monitor": search.objective, "monitor_mode": search.direction, "loop": loop}
    )
    name = f"{config.label}-{assignment.number:04d}"
    return made.model_copy(update={"name": name, "seed": seed, "train": train})


@contextmanager
def _retracing_expected() -> Iterator[None]:
    """Keeps TensorFlow from warning of trials of another shape, each of which is traced."""

    def is_other(record: logging.LogRecord) -> bool:
        return "triggered tf.function retracing" not in record.getMessage()

    logger = tf.get_logger()
    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)


def _named(number: int) -> Trial:
    return Trial(number, {})


def _outcome(results: Sequence[TrainedRun]) -> Outcome:
    scores = [result.best for result in results]
    if any(score is None or not math.isfinite(score) for score in scores):
        return Outcome("failed", reason=f"its {results[0].monitor} is not a finite number")
    first = results[0]
    per_epoch = max(first.step // max(first.epoch, 1), 1)
    return Outcome(
        "done", tuple(float(s) for s in scores if s is not None), first.best_step // per_epoch
    )


def _out_of_memory(error: BaseException | None) -> BaseException | None:
    """Returns what says that there was too little memory, which a model may have wrapped."""
    while error is not None:
        if isinstance(error, MemoryError | tf.errors.ResourceExhaustedError):
            return error
        error = error.__cause__
    return None


def _one_line(error: Exception) -> str:
    text = str(error) if isinstance(error, TfappError) else reason_of(error)
    return " ".join(text.split())
