"""Carries out the studies of a plan: what is compared and is no program on several engines."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING, Any

from tfapp.compare.frameworks.roster import REFERENCE
from tfapp.compare.frameworks.study import TASK
from tfapp.compare.frameworks.timing import framework_timers
from tfapp.compare.plan import Plan
from tfapp.compare.programs import PROGRAMS
from tfapp.timing.schedule import Moment, Stages, Watch

if TYPE_CHECKING:
    from tfapp.compare.frameworks import FrameworkStudy
    from tfapp.compare.graphs import GraphStudy
    from tfapp.compare.notes import NoteResult, NoteRow
    from tfapp.compare.results import ProgramResult
    from tfapp.compare.timing import Timers


def run_studies(
    plan: Plan, compared: Sequence[ProgramResult], stages: Stages
) -> tuple[bool, dict[str, Any]]:
    """Carries out the studies of a plan.

    Args:
        plan: What was asked for.
        compared: What is known of programs already.
        stages: Knows how far all of it is.

    Returns:
        Whether everything came out as it must, and the result of each study by its name.
    """
    agrees, results = True, dict[str, Any]()
    names = [study.name for study in plan.studies]
    with ExitStack() as stack:
        timers = None
        if "frameworks" in names and plan.rounds:  # its processes start while others are studied
            timers = stack.enter_context(framework_timers(TASK.name))
        for name in names:
            with stages.stage(name) as tell:
                if name == "notes":
                    agreed, results[name] = _notes(tell)
                elif name == "graphs":
                    agreed, results[name] = _graphs(compared, tell)
                else:
                    agreed, results[name] = _frameworks(timers, plan.rounds, tell)
            agrees = agrees and agreed
    return agrees, results


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
        study = study_frameworks(
            timings=timings,
            watch=lambda name: tell_comparing(Moment("frameworks", "comparing", name, 0.0, None)),
        )
    return study.agrees, study
