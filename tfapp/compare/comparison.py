"""Runs programs on engines, all in step, and compares each step with the reference's.

Engines advance together, one step at a time, so that no trace is kept: only its losses and what a
step's difference comes to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tfapp.compare.parity import (
    EXACT,
    Comparer,
    Parity,
    Place,
    StepDifference,
    Tolerance,
    summarize,
)
from tfapp.compare.plan import Plan, make_plan
from tfapp.compare.results import WRONG, Comparison, Differences, ProgramResult, Row
from tfapp.compare.roster import Engine
from tfapp.compare.studies import run_studies
from tfapp.compare.task import Task
from tfapp.compare.timing import Timings, engine_timers
from tfapp.compare.trace import Step
from tfapp.errors import reason_of
from tfapp.timing.machine import read_machine
from tfapp.timing.schedule import Moment, Stages, Watch, unwatched

if TYPE_CHECKING:
    from tfapp.compare.graphs import CompiledSize, GraphSize


def compare_programs(
    programs: Iterable[str] = (),
    *,
    engines: Iterable[str] = (),
    reference: str = "tf1",
    steps: int | None = None,
    exact: bool = False,
    data: Path | None = None,
    rounds: int = 0,
    watch: Watch = unwatched,
) -> Comparison:
    """Computes programs on several engines and compares them step by step.

    Args:
        programs: Names; none for all.
        engines: Names; none for all that take part.
        reference: The engine that the others are compared with; it takes part in any case.
        steps: How many updates; each program's own number when omitted.
        exact: Turns Grappler off on both sides and demands equal bits.
        data: Folder of IDX files for the programs that need one.
        rounds: Slices in which each engine is timed, in a process of its own; 0 for none.
        watch: Is told what happens next.

    Raises:
        UnknownName: Of a program or an engine, with the nearest known name.
        UsageError: `steps` is not positive, or there is nothing to compare.
        MissingError: The data, or what the reference needs, is not there.
        DataError: The data does not suit the program.
    """
    plan = make_plan(
        programs,
        engines=engines,
        reference=reference,
        steps=steps,
        exact=exact,
        data=data,
        rounds=rounds,
    )
    return run_plan(plan, watch=watch)


def run_plan(plan: Plan, *, watch: Watch = unwatched) -> Comparison:
    """Carries out what `make_plan` has checked."""
    stages = Stages(plan.expected_seconds(), watch)
    machine = read_machine() if plan.measures else None
    programs = _run_programs(plan, stages)
    agrees = all(row.status not in WRONG for result in programs for row in result.rows)
    studied = run_studies(plan, programs, stages)
    agrees = agrees and studied.agrees
    return Comparison(
        agrees, plan.exact, programs, machine, **studied.results, failures=studied.failures
    )


def _run_programs(plan: Plan, stages: Stages) -> tuple[ProgramResult, ...]:
    """Compares engines, then times them if that is wanted; their processes start meanwhile."""
    if not plan.programs:
        return ()
    engines = (plan.reference, *plan.engines)
    with ExitStack() as stack:
        timers = None
        if plan.rounds:
            timers = stack.enter_context(engine_timers(plan.programs, engines, plan.data))
        results = _compare_programs(plan, stages)
        if timers is None:
            return tuple(results)
        with stages.stage("timing") as tell:
            timings = timers.time(reference=plan.reference.name, rounds=plan.rounds, watch=tell)
    return tuple(_with_timings(result, timings) for result in results)


def _compare_programs(plan: Plan, stages: Stages) -> list[ProgramResult]:
    results = []
    with stages.stage("comparing") as tell:
        for number, task in enumerate(plan.tasks()):
            name, done = task.program.name, number / len(plan.programs)
            tell(Moment(name, "comparing", "", done, None))
            results.append(_compare(task, plan.engines, plan.reference, exact=plan.exact))
    return results


@dataclass
class Trace:
    """What is kept of an engine's steps.

    Attributes:
        losses: One a step.
        differences: From the reference; the reference has none.
        failure: Why it ended early; `None` if it did not.
    """

    losses: list[float] = field(default_factory=list)
    differences: list[StepDifference] = field(default_factory=list)
    failure: str | None = None


def compare_task(
    task: Task, engines: Sequence[Engine], reference: Engine
) -> tuple[dict[str, Trace], Trace]:
    """Runs engines in step; one that raises an error drops out.

    Args:
        task: What they compute.
        engines: Whoever is compared; all of them can compute it.
        reference: What they are compared with.

    Returns:
        What is kept of each engine, and of the reference.
    """
    kept, base = {engine.name: Trace() for engine in engines}, Trace()
    with ExitStack() as stack:
        if not task.grappler:
            from tfapp.compare.engines.tape import rewriting

            stack.enter_context(rewriting(grappler=False))
        runners = [_Runner(engine, task, kept[engine.name]) for engine in engines]
        for expected in reference.load()(task):
            base.losses.append(float(expected.loss))
            for runner in runners:
                runner.advance(expected)
    return kept, base


class _Runner:
    """Takes the steps of one engine.

    Args:
        engine: Who it is.
        task: What it computes.
        kept: Where its steps are noted.
    """

    def __init__(self, engine: Engine, task: Task, kept: Trace) -> None:
        self._kept = kept
        self._comparer = Comparer()
        try:
            self._steps = engine.load()(task)
        except Exception as error:
            self._fail(error)

    def advance(self, expected: Step) -> None:
        """Takes the step that belongs to one of the reference."""
        if self._kept.failure is not None:
            return
        try:
            step = next(self._steps)
            self._kept.differences.append(self._comparer.compare(step, expected))
            self._kept.losses.append(float(step.loss))
        except StopIteration:
            self._kept.failure = f"it ended after {len(self._kept.losses)} steps"
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._kept.failure = f"step {len(self._kept.losses) + 1}: {reason_of(error)}"


def _compare(
    task: Task, engines: Sequence[Engine], reference: Engine, *, exact: bool
) -> ProgramResult:
    program = task.program
    able = [e for e in engines if e.missing is None and program.kind not in e.cannot]
    kept, base = compare_task(task, able, reference)
    graph = None if exact else _graph(task, reference)
    rows = [Row(reference.name, "reference", losses=tuple(base.losses), graph=graph)]
    for engine in engines:
        if engine.name in kept:
            tolerance = EXACT if exact else program.tolerance(engine.name, reference.name)
            row = _judged(engine, kept[engine.name], tolerance)
            graph = None if exact or row.status == "failed" else _graph(task, engine)
            rows.append(dataclasses.replace(row, graph=graph))
        elif program.kind in engine.cannot:
            rows.append(Row(engine.name, "cannot", engine.cannot[program.kind]))
        else:
            rows.append(Row(engine.name, "missing", engine.missing or ""))
    return ProgramResult(
        program=program.name,
        about=program.about,
        steps=task.steps,
        reference=reference.name,
        first_loss=base.losses[0],
        last_loss=base.losses[-1],
        rows=tuple(rows),
    )


def _graph(task: Task, engine: Engine) -> GraphSize | CompiledSize | None:
    """Returns how large a graph is; what cannot be looked into does not end the comparison."""
    from tfapp.compare.graphs.sizes import graph_size

    with suppress(Exception):
        return graph_size(task, engine.name)
    return None


def _judged(engine: Engine, trace: Trace, tolerance: Tolerance) -> Row:
    losses = tuple(trace.losses)
    differences = Differences(
        loss=tuple(step.loss.size for step in trace.differences),
        gradients=tuple(step.gradients.size for step in trace.differences),
        weights=tuple(step.weights.size for step in trace.differences),
    )
    if trace.failure is not None:
        row = Row(engine.name, "failed", trace.failure, tolerance)
    else:
        parity = summarize(trace.differences, tolerance)
        row = Row(engine.name, "inside", "", tolerance, parity)
        if not parity.inside:
            outside = _outside(parity, tolerance)
            row = dataclasses.replace(row, status="outside", detail=outside)
    return dataclasses.replace(row, losses=losses, differences=differences)


def _outside(parity: Parity, tolerance: Tolerance) -> str:
    """Says what left the tolerance first, and by how much."""
    places: Mapping[str, tuple[Place | None, float]] = {
        "loss": (parity.loss.outside, tolerance.loss),
        "gradient": (parity.gradients.outside, tolerance.gradients),
        "weight": (parity.weights.outside, tolerance.weights),
    }
    found = [
        (place.step, what, place, allowed) for what, (place, allowed) in places.items() if place
    ]
    step, what, place, allowed = min(found, key=lambda item: item[0])
    name = what if what == place.tensor else f"{what} {place.tensor}"
    wanted = "equal bits" if tolerance.bits else f"at most {allowed:.2e}"
    return f"{name} at step {step} differs by {place.size:.2e}, allowed {wanted}"


def _with_timings(result: ProgramResult, timings: Timings) -> ProgramResult:
    rows = [_with_timing(row, result.program, timings) for row in result.rows]
    return dataclasses.replace(result, rows=tuple(rows))


def _with_timing(row: Row, program: str, timings: Timings) -> Row:
    """Adds an engine's timing, unless another computation was timed than was compared."""
    timing = timings.programs[program].get(row.engine)
    if timing is None:
        failure = timings.failures[program].get(row.engine, "")
        return dataclasses.replace(row, timing_failure=failure)
    if row.losses and (failure := timing.objection(row.losses[0])):
        return dataclasses.replace(row, timing_failure=failure)
    return dataclasses.replace(row, timing=timing)
