"""`tfapp tune` itself: leader, journal, and a run directory with all its files for each trial."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from tfapp.bench.tuning.contender import Given, SearchContender
from tfapp.bench.tuning.results import TrainedTrial
from tfapp.bench.tuning.task import values_of
from tfapp.settings import data_folder
from tfapp.training.assembly import assemble
from tfapp.training.program import Program, build_program
from tfapp.trials import Search, Trial
from tfapp.tuning.execution import config_of
from tfapp.tuning.leader import Assignment
from tfapp.tuning.search import tune_model


class TfappTune(SearchContender):
    """What the command calls, from the config on; reading the data is part of it.

    Args:
        given: The same trials that its own algorithm draws, which is checked.
    """

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        self._search: Search | None = None

    def search(self, folder: Path, trials: int) -> None:
        """Runs the first `trials` trials in a new run directory."""
        self._search = tune_model(self.given.task.config(trials), runs=folder)

    def told(self) -> list[TrainedTrial]:
        """Returns what the run directories of the trials say."""
        return [self._told(trial) for trial in self._newest.trials]

    def train_alone(self, number: int) -> float:
        """Runs the loop and the validation of a trial, and nothing around them."""
        trial = self._newest.trials[number]
        assignment = Assignment(number, 1, trial.values, number, until=None, parent=None)
        config = config_of(self.given.task.config(), self._newest, assignment, 0)
        parts = assemble(config, data_dir=data_folder(), splits=self.given.splits)
        program = build_program(parts)
        _train(program, 1)
        started = time.perf_counter()
        _train(program, self.given.task.epochs)
        return time.perf_counter() - started

    def remarks(self) -> str:
        """Returns what a trial took whose network was compiled for it, and what another one."""
        seconds: dict[bool, list[float]] = {True: [], False: []}  # by whether it is new
        seen = set()
        for trial in self._newest.trials:
            network = values_of(trial.values).network
            seconds[network not in seen].append(trial.seconds)
            seen.add(network)
        told = f"{statistics.median(seconds[True]):.2f} s where a network is new"
        if seconds[False]:
            told += f", {statistics.median(seconds[False]):.2f} s where not"
        return told

    @property
    def _newest(self) -> Search:
        assert self._search is not None, "a search comes first"
        return self._search

    def _told(self, trial: Trial) -> TrainedTrial:
        if trial.state != "done":
            raise RuntimeError(f"trial {trial.number} {trial.state}: {trial.reason}")
        rows = self._newest.run_of(trial).metrics()
        last = [row for row in rows if row["split"] == "validation"][-1]
        return TrainedTrial(values_of(trial.values), last["epoch"], last["accuracy"])


def _train(program: Program, epochs: int) -> None:
    parts, loop = program.parts, program.choice.loop
    loop.start(0)
    for _ in range(epochs):
        if not loop.run(parts.steps_per_epoch).finite:
            raise RuntimeError("a step was not finite")
        parts.metrics.result()
        parts.metrics.reset()
        if program.validation is not None:
            program.validation.run()
