"""The benchmark of training: every contender in a process of its own, asked in turn.

    bench = run_training(find_workloads(["mlp-sgd"]), find_contenders(["tfapp", "fit"]))
    bench.workloads[0].rows[0].step_us.median

A contender is first checked: from the same weights, on the same batches in the same order, its
first losses must be those of backpropagation in NumPy and float64 (a network with convolutions is
compared with the first contender that tells the loss of each step instead). Then slices of every
contender take turns, A B C A B C, and only one of them works at any time.
"""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tfapp.bench.check import Finding, check_losses
from tfapp.bench.contenders.base import Losses
from tfapp.bench.examples import read_examples, write_examples
from tfapp.bench.reference import reference_losses
from tfapp.bench.results import Row, TrainingBench, WorkloadResult, rank
from tfapp.bench.roster import REFERENCE, Entry, assign
from tfapp.bench.targets import judge
from tfapp.bench.workloads import Workload
from tfapp.timing.machine import read_machine
from tfapp.timing.process import ContenderFailed, Crew
from tfapp.timing.schedule import Schedule, Watch, unwatched
from tfapp.timing.turns import PAUSE_SECONDS, take_turns

CONTENDERS = "tfapp.bench.contenders"
CHECK_STEPS = 20
# Relative. In float32 the losses of dense networks agree to 2e-5; through convolutions and
# normalizations the last bits grow faster, to 4e-4. Hardware may round more coarsely.
TOLERANCE = 1e-3
CNN_TOLERANCE = 3e-3


def run_training(
    workloads: Sequence[Workload],
    contenders: Sequence[Entry] = (),
    *,
    rounds: int = 5,
    seconds: float = 0.3,
    watch: Watch = unwatched,
) -> TrainingBench:
    """Checks and times contenders.

    Args:
        workloads: What is trained, one after another.
        contenders: Who trains; empty: whoever does so by default.
        rounds: Slices of each contender.
        seconds: Length of a slice, about.
        watch: Is told what happens next.

    Raises:
        UsageError: No contender can train one of the workloads.
    """
    machine, started = read_machine(), time.perf_counter()
    teams = assign(workloads, contenders)
    present = {e.name: e for team in teams.values() for e in team if e.missing is None}
    schedule = Schedule(
        starts=len(present),
        checks=sum(e.name in present for team in teams.values() for e in team),
        rounds=rounds,
        slice_seconds=seconds + PAUSE_SECONDS,
    )
    results = []
    with Crew(CONTENDERS) as crew, tempfile.TemporaryDirectory(prefix="tfapp-bench-") as folder:
        watch(schedule.now("", "starting", "all"))
        for name in crew.start(list(present), at_once=machine.cores):
            schedule.started()
            watch(schedule.now("", "started", name))
        for workload in workloads:
            round_robin = RoundRobin(crew, workload, Path(folder), schedule, watch)
            results.append(round_robin.run(teams[workload.name], rounds, seconds))
    return TrainingBench(
        machine=machine,
        rounds=rounds,
        slice_seconds=seconds,
        seconds=time.perf_counter() - started,
        workloads=tuple(results),
        targets=judge(results),
    )


class RoundRobin:
    """One workload: all contenders are prepared and checked, then timed in turn.

    Args:
        crew: Their processes.
        workload: What they train.
        folder: Where its examples and their files go.
        schedule: Knows how far the benchmark is.
        watch: Is told what happens next.
    """

    def __init__(
        self, crew: Crew, workload: Workload, folder: Path, schedule: Schedule, watch: Watch
    ) -> None:
        self._crew = crew
        self._workload = workload
        self._folder = folder / workload.name.replace(" ", "-")
        self._folder.mkdir()
        self._schedule = schedule
        self._watch = watch

    def run(self, team: Sequence[Entry], rounds: int, seconds: float) -> WorkloadResult:
        """Returns what the contenders of `team` came to; whoever fails is a row that says so.

        Args:
            team: Who takes part, started before unless it is missing.
            rounds: Slices of each contender.
            seconds: Length of a slice, about.
        """
        source = self._folder / "examples.npz"
        write_examples(self._workload, source)
        steps = min(CHECK_STEPS, self._workload.steps_per_epoch)
        rows: dict[str, Row] = {}
        told: dict[str, Sequence[Losses]] = {}
        for entry in team:
            rows[entry.name], losses = self._prepare(entry, source, steps)
            if losses is not None:
                told[entry.name] = losses
        for name, finding in self._check(told, source, steps).items():
            rows[name] = _with_finding(rows[name], finding)
        ready = [entry for entry in team if rows[entry.name].status in ("ok", "limit")]
        self._time(ready, rows, rounds, seconds)
        for entry in team:
            if entry.missing is None:
                self._drop(entry)
        return rank(self._workload.name, list(rows.values()), REFERENCE)

    def _prepare(
        self, entry: Entry, source: Path, steps: int
    ) -> tuple[Row, Sequence[Losses] | None]:
        """Returns a contender's row, and its first losses if it is there and trains."""
        if entry.missing is not None:
            return Row(entry.name, "not installed", entry.missing), None
        self._watch(self._schedule.now(self._workload.name, "compiling", entry.name))
        own = self._folder / entry.name.replace(":", "-")
        own.mkdir()
        with self._schedule.check():
            try:
                answer = self._crew.ask(
                    entry.name,
                    "prepare",
                    workload=self._workload.to_json(),
                    source=str(source),
                    folder=str(own),
                    check_steps=steps,
                )
            except ContenderFailed as error:
                return Row(entry.name, "failed", str(error)), None
        row = Row(
            entry.name,
            "ok" if answer["trains"] else "limit",
            compile_seconds=answer["compile_seconds"],
            import_seconds=self._crew.import_seconds(entry.name),
        )
        return row, [Losses(**loss) for loss in answer["losses"]] if answer["trains"] else None

    def _check(
        self, told: Mapping[str, Sequence[Losses]], source: Path, steps: int
    ) -> dict[str, Finding]:
        cnn = self._workload.architecture == "cnn"
        return check_losses(
            told,
            reference_losses(self._workload, read_examples(source), steps),
            steps=steps,
            tolerance=CNN_TOLERANCE if cnn else TOLERANCE,
        )

    def _time(
        self, ready: Sequence[Entry], rows: dict[str, Row], rounds: int, seconds: float
    ) -> None:
        """Times slices in turn; who fails drops out."""
        turns = take_turns(
            self._crew,
            [entry.name for entry in ready],
            workload=self._workload.name,
            rounds=rounds,
            seconds=seconds,
            schedule=self._schedule,
            watch=self._watch,
        )
        for name, turn in turns.items():
            if turn.failure is not None:
                rows[name] = Row(name, "failed", turn.failure)
            else:
                rows[name] = dataclasses.replace(
                    rows[name],
                    slices=tuple(turn.slices),
                    idle_cores=max(turn.idle_cores),
                    detail=turn.answer["remarks"],
                    loss=turn.answer["loss"],
                )

    def _drop(self, entry: Entry) -> None:
        try:
            self._crew.ask(entry.name, "drop")
        except ContenderFailed:
            return  # it is in its row already, or nothing is lost


def _with_finding(row: Row, finding: Finding) -> Row:
    row = dataclasses.replace(row, check=finding.deviation)
    if finding.objection:
        return dataclasses.replace(row, status="differs", detail=finding.objection)
    return row
