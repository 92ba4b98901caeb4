"""Carries out the studies of a plan: what is compared and is no program on several engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from tfapp.compare.frameworks.roster import PROGRAMS as WRITTEN
from tfapp.compare.frameworks.roster import REFERENCE
from tfapp.compare.frameworks.study import TASK
from tfapp.compare.frameworks.timing import framework_timers
from tfapp.compare.plan import Plan
from tfapp.compare.programs import PROGRAMS
from tfapp.errors import reason_of
from tfapp.timing.schedule import Moment, Stages, Watch

if TYPE_CHECKING:
    from tfapp.compare.frameworks import FrameworkStudy
    from tfapp.compare.graphs import GraphStudy
    from tfapp.compare.notes import NoteResult, NoteRow
    from tfapp.compare.results import ProgramResult
    from tfapp.compare.timing import Timers


@dataclass
class Studied:
    """What came of the studies of a plan.

    Attributes:
        agrees: Whether everything came out as it must.
        results: By the name of the study.
        failures: Why a study has no result, by its name.
    """

    agrees: bool = True
    results: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, run: Callable[[], tuple[bool, Any]]) -> None:
        """Carries out one study; whatever it raises does not end the others."""
        try:
            agrees, self.results[name] = run()
        except Exception as error:
            agrees, self.failures[name] = False, reason_of(error)
        self.agrees = self.agrees and agrees


def run_studies(plan: Plan, compared: Sequence[ProgramResult], stages: Stages) -> Studied:
    """Carries out the studies of a plan.

    Args:
        plan: What was asked for.
        compared: What is known of programs already.
        stages: Knows how far all of it is.
    """
    studied, names = Studied(), {study.name for study in plan.studies}
    with ExitStack() as stack:
        timers = None
        if "frameworks" in names and plan.rounds:  # its processes start while notes are reproduced
            timers = stack.enter_context(framework_timers(TASK.name))
        if "notes" in names:
            with stages.stage("notes") as tell:
                studied.add("notes", partial(_notes, tell))
        if "frameworks" in names:
            with stages.stage("frameworks") as tell:
                studied.add("frameworks", partial(_frameworks, timers, plan.rounds, tell))
    if "graphs" in names:  # it is timed in this process, so nothing else may run
        with stages.stage("graphs") as tell:
            studied.add("graphs", partial(_graphs, compared, tell))
    return studied


def _notes(tell: Watch) -> tuple[bool, tuple[NoteResult, ...]]:
    from tfapp.compare.notes import ROWS, reproduce_notes

    def watch(row: NoteRow) -> None:
        done = (row.number - 1) / len(ROWS)
        tell(Moment("notes", f"{row.number}/{len(ROWS)}", row.title, done, None))

    results = reproduce_notes(watch=watch)
    return all(result.status != "differs" for result in results), results


def _graphs(compared: Sequence[ProgramResult], tell: Watch) -> tuple[bool, GraphStudy]:
    from tfapp.compare.graphs import study_graphs

    drawn = [program for program in PROGRAMS.values() if program.draw is not None]
    parts = count()

    def watch(part: str) -> None:
        # Control flow and retracing take about as long as a program each.
        tell(Moment("graphs", "measuring", part, next(parts) / (len(drawn) + 2), None))

    sizes = {
        result.program: {row.engine: row.graph for row in result.rows if row.graph is not None}
        for result in compared
    }
    study = study_graphs(drawn, sizes=sizes, watch=watch)
    return study.agrees, study


def _frameworks(timers: Timers | None, rounds: int, tell: Watch) -> tuple[bool, FrameworkStudy]:
    from tfapp.compare.frameworks import study_frameworks

    stages = Stages({"timing": 10.0 if timers else 0.0, "comparing": 5.0}, tell)
    timings = None
    if timers is not None:
        with stages.stage("timing") as tell_timing:
            timings = timers.time(reference=REFERENCE, rounds=rounds, watch=tell_timing)
    with stages.stage("comparing") as tell_comparing:
        parts = count()

        def watch(name: str) -> None:
            done = next(parts) / len(WRITTEN)
            tell_comparing(Moment("frameworks", "comparing", name, done, None))

        study = study_frameworks(timings=timings, watch=watch)
    return study.agrees, study
