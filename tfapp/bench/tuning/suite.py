"""The benchmark of searches: every contender in a process of its own, one search each in turn.

    bench = run_tuning(SearchTask(trials=20))
    bench.rows[0].overhead_seconds.median

All run the same trials: the values that one seed draws, on the same arrays, for as many epochs.
What they have trained is compared afterwards, and who has trained something else is not timed.
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfapp.bench.tuning.check import find_objections
from tfapp.bench.tuning.results import (
    SearchRound,
    SearchRow,
    TuningBench,
    compare,
    mean_accuracy,
)
from tfapp.bench.tuning.roster import REFERENCE, find_searches
from tfapp.bench.tuning.targets import judge
from tfapp.bench.tuning.task import SOURCE, SearchTask, Values
from tfapp.environment import read_environment
from tfapp.timing.machine import Machine, read_machine
from tfapp.timing.process import ContenderFailed, Crew
from tfapp.timing.schedule import Schedule, Watch, unwatched
from tfapp.timing.turns import Turns, take_turns

PROCESSES = "tfapp.bench.tuning"
# Until one has been seen: of a trial with ten epochs on two cores.
_TRIAL_SECONDS = 1.5
_VERSIONS = ("python", "tfapp", "tensorflow", "keras", "numpy")


def run_tuning(
    task: SearchTask | None = None,
    contenders: Sequence[str] = (),
    *,
    rounds: int = 3,
    watch: Watch = unwatched,
) -> TuningBench:
    """Times searches over the same trials, and checks that they were the same.

    Args:
        task: Trials, epochs and batch size.
        contenders: Who searches, as `find_searches` takes them.
        rounds: Searches of each contender.
        watch: Is told what happens next.

    Raises:
        UnknownName: A contender is not known.
    """
    task = task or SearchTask()
    names = list(find_searches(contenders))
    machine, started = _machine(), time.perf_counter()
    schedule = Schedule(
        starts=len(names),
        checks=len(names),
        rounds=rounds,
        slice_seconds=_TRIAL_SECONDS * task.trials,
    )
    with Crew(PROCESSES) as crew, tempfile.TemporaryDirectory(prefix="tfapp-bench-") as folder:
        watch(schedule.now("", "starting", "all"))
        for name in crew.start(names, at_once=machine.cores):
            schedule.started()
            watch(schedule.now("", "started", name))
        contest = _Contest(task, crew, Path(folder), schedule, watch)
        rows = contest.run(names, rounds)
    reference, compared = compare(rows, REFERENCE)
    return TuningBench(
        machine=machine,
        source=SOURCE,
        task=task,
        rounds=rounds,
        networks=len({values.network for values in contest.wanted}),
        seconds=time.perf_counter() - started,
        reference=reference,
        rows=tuple(compared),
        targets=judge(compared),
    )


class _Contest:
    """All contenders are prepared, then search in turn, then are checked.

    Args:
        task: What they search.
        crew: Their processes.
        folder: Where their files go.
        schedule: Knows how far the benchmark is.
        watch: Is told what happens next.
    """

    def __init__(
        self, task: SearchTask, crew: Crew, folder: Path, schedule: Schedule, watch: Watch
    ) -> None:
        self._task = task
        self._crew = crew
        self._folder = folder
        self._schedule = schedule
        self._watch = watch
        self._validation = 0
        self.wanted: list[Values] = []

    def run(self, names: Sequence[str], rounds: int) -> list[SearchRow]:
        """Returns a row for each contender."""
        rows: dict[str, SearchRow] = {}
        ready: dict[str, float] = {}
        for name in names:
            self._watch(self._schedule.now(SOURCE, "warming up", name))
            with self._schedule.check():
                try:
                    ready[name] = self._prepare(name)
                except ContenderFailed as error:
                    rows[name] = SearchRow(name, "failed", str(error))
        turns = self._search(ready, rounds)
        for name, turn in turns.items():
            if turn.failure is not None:
                rows[name] = SearchRow(name, "failed", turn.failure)
        told = {
            name: [SearchRound.from_json(content) for content in turn.answer["rounds"]]
            for name, turn in turns.items()
            if turn.failure is None
        }
        objections = find_objections(
            told, self.wanted, epochs=self._task.epochs, validation=self._validation
        )
        for name, done in told.items():
            rows[name] = _row(name, turns[name], done, objections.get(name))
        return [rows[name] for name in names]

    def _prepare(self, name: str) -> float:
        """Returns about what a search of a contender takes, and the training alone after it."""
        own = self._folder / name.replace(":", "-")
        own.mkdir()
        answer = self._crew.ask(
            name, "prepare", task=dataclasses.asdict(self._task), folder=str(own)
        )
        self.wanted = [Values(**values) for values in answer["values"]]
        self._validation = answer["validation"]
        networks = len({values.network for values in self.wanted})
        return float(answer["trial_seconds"]) * (self._task.trials + networks)

    def _search(self, ready: Mapping[str, float], rounds: int) -> dict[str, Turns]:
        seconds = statistics.fmean(ready.values()) if ready else 0.0
        self._schedule.expect(seconds)
        return take_turns(
            self._crew,
            list(ready),
            workload=SOURCE,
            rounds=rounds,
            seconds=seconds,
            schedule=self._schedule,
            watch=self._watch,
        )


def _row(
    name: str, turns: Turns, rounds: Sequence[SearchRound], objection: str | None
) -> SearchRow:
    common: dict[str, Any] = {"idle_cores": max(turns.idle_cores)}
    if all(done.trials for done in rounds):
        common["accuracy"] = mean_accuracy(rounds)
    if objection is not None:
        return SearchRow(name, "differs", objection, **common)
    return SearchRow(name, "ok", turns.answer["remarks"], tuple(rounds), **common)


def _machine() -> Machine:
    machine = read_machine()
    tuner = {"keras-tuner": read_environment().packages["keras-tuner"]}
    versions = {name: machine.versions[name] for name in _VERSIONS} | tuner
    return dataclasses.replace(machine, versions=versions)
