"""The benchmark of servers: every contender in a process of its own, asked in turn.

    bench = run_serving(find_points(["rest"]), find_servers(["tfapp", "fastapi"]))
    bench.points[0].rows[0].per_second.median

The process of a contender is the client, and starts the server. Each of its connections asks again
once it has its answer; the first answer of each is compared with what NumPy computes. At every
point slices of all contenders take turns, A B C A B C, and only one of them is asked at any time.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from tfapp.bench.serving.points import POINT, Point, probe_of
from tfapp.bench.serving.results import (
    TIMED,
    Load,
    PointResult,
    Row,
    ServingBench,
    Started,
    compare,
)
from tfapp.bench.serving.roster import FILES, Entry, assign, find_servers, reference_of
from tfapp.bench.serving.targets import judge
from tfapp.timing.machine import Machine, read_machine
from tfapp.timing.process import ContenderFailed, Crew
from tfapp.timing.schedule import Schedule, Watch, unwatched
from tfapp.timing.turns import PAUSE_SECONDS, Turns, take_turns

PROCESSES = "tfapp.bench.serving"
_WARM_UP_SECONDS = 0.3
_MODULES = ("uvicorn", "uvloop", "grpcio", "fastapi", "kserve", "litserve")
_VERSIONS = ("python", "tfapp", "tensorflow", "numpy")


def run_serving(
    points: Sequence[Point] = tuple(POINT.values()),
    contenders: Sequence[Entry] = (),
    *,
    rounds: int = 5,
    seconds: float = 2.0,
    watch: Watch = unwatched,
) -> ServingBench:
    """Times servers, and calls without one.

    Args:
        points: What is asked.
        contenders: Who is asked; empty: all of the roster.
        rounds: Slices of each contender at each point.
        seconds: Length of a slice, about.
        watch: Is told what happens next.

    Raises:
        UsageError: No contender takes part in any of the points.
        ContenderFailed: The models could not be exported.
    """
    machine, started = _machine(), time.perf_counter()
    teams = assign(points, contenders or find_servers(()))
    present = _present(teams)
    schedule = Schedule(
        starts=len(present) + 1,
        checks=sum(entry.missing is None for team in teams.values() for entry in team),
        rounds=rounds,
        slice_seconds=seconds + PAUSE_SECONDS,
    )
    with Crew(PROCESSES) as crew, tempfile.TemporaryDirectory(prefix="tfapp-bench-") as folder:
        watch(schedule.now("", "starting", "all"))
        for name in crew.start([FILES, *present], at_once=machine.cores):
            schedule.started()
            watch(schedule.now("", "started", name))
        asked = [point for name in teams for point in (POINT[name], probe_of(POINT[name]))]
        names = list(dict.fromkeys(point.request for point in asked))
        watch(schedule.now("", "writing", FILES))
        sizes = crew.ask(FILES, "write", folder=folder, names=names)["bytes"]
        contest = _Contest(crew, Path(folder), schedule, watch, rounds, seconds)
        results = []
        for _, group in groupby(teams, lambda name: POINT[name].workload):
            mine = {name: teams[name] for name in group}
            results += contest.run(mine, sizes)
    return ServingBench(
        machine=machine,
        rounds=rounds,
        slice_seconds=seconds,
        seconds=time.perf_counter() - started,
        points=tuple(results),
        targets=judge(results),
    )


class _Contest:
    """One workload after another: its servers are started, then asked in turn at each point.

    Args:
        crew: The processes of the contenders.
        folder: Models, requests and answers.
        schedule: Knows how far the benchmark is.
        watch: Is told what happens next.
        rounds: Slices of each contender.
        seconds: Length of a slice, about.
    """

    def __init__(
        self,
        crew: Crew,
        folder: Path,
        schedule: Schedule,
        watch: Watch,
        rounds: int,
        seconds: float,
    ) -> None:
        self._crew = crew
        self._folder = folder
        self._schedule = schedule
        self._watch = watch
        self._rounds = rounds
        self._seconds = seconds

    def run(
        self, teams: Mapping[str, Sequence[Entry]], sizes: Mapping[str, int]
    ) -> list[PointResult]:
        """Returns what came of the points of one workload.

        Args:
            teams: Who takes part, by the name of each point.
            sizes: Of the requests, by their names.
        """
        opened: dict[str, Row] = {}
        results = []
        for name, team in teams.items():
            point = POINT[name]
            rows = self._time(point, [self._prepare(entry, point, opened) for entry in team])
            size = sizes[point.request]
            reference, compared = compare(rows, reference_of(point), size)
            results.append(
                PointResult(name, point.workload, point.about, size, reference, compared)
            )
        for name, row in opened.items():
            if row.status in TIMED:
                self._drop(name)
        return results

    def _prepare(self, entry: Entry, point: Point, opened: dict[str, Row]) -> Row:
        """Returns the row of a contender that is ready for a point, or that says why it is not."""
        if entry.missing is not None:
            return Row(entry.name, "not installed", entry.missing)
        if entry.name in opened and opened[entry.name].status not in TIMED:
            return opened[entry.name]
        self._watch(self._schedule.now(point.name, "preparing", entry.name))
        with self._schedule.check():
            if entry.name not in opened:
                opened[entry.name] = self._open(entry, point)
            row = opened[entry.name]
            if row.status in TIMED:
                try:
                    self._crew.ask(entry.name, "aim", point=point.name, seconds=self._warm_up)
                except ContenderFailed as error:
                    return Row(entry.name, "failed", str(error))
            return row

    def _open(self, entry: Entry, first: Point) -> Row:
        try:
            answer = self._crew.ask(
                entry.name,
                "open",
                workload=first.workload,
                first=probe_of(first).name,
                folder=str(self._folder),
            )
        except ContenderFailed as error:
            return Row(entry.name, "failed", str(error))
        started = answer["started"] and Started(**answer["started"])
        return Row(entry.name, "limit" if entry.limit else "ok", started=started)

    def _time(self, point: Point, rows: Sequence[Row]) -> list[Row]:
        turns = take_turns(
            self._crew,
            [row.contender for row in rows if row.status in TIMED],
            workload=point.name,
            rounds=self._rounds,
            seconds=self._seconds,
            schedule=self._schedule,
            watch=self._watch,
        )
        return [_with_turns(row, turns.get(row.contender)) for row in rows]

    @property
    def _warm_up(self) -> float:
        return min(_WARM_UP_SECONDS, self._seconds)

    def _drop(self, name: str) -> None:
        try:
            self._crew.ask(name, "drop")
        except ContenderFailed:
            return  # its rows say so already, or nothing is lost


def _with_turns(row: Row, turns: Turns | None) -> Row:
    if turns is None:
        return row
    if turns.failure is not None:
        return Row(row.contender, "failed", turns.failure)
    rounds = tuple(Load(**load) for load in turns.answer["rounds"])
    return dataclasses.replace(row, rounds=rounds)


def _present(teams: Mapping[str, Sequence[Entry]]) -> list[str]:
    found = {entry.name: entry for team in teams.values() for entry in team}
    return [name for name, entry in found.items() if entry.missing is None]


def _machine() -> Machine:
    machine = read_machine()
    versions = {name: machine.versions[name] for name in _VERSIONS}
    for name in _MODULES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "missing"
    return dataclasses.replace(machine, versions=versions)
