"""Runs programs on engines, all in step, and compares each step with the reference's.

Engines advance together, one step at a time, so that no trace is kept: only what a step's
difference comes to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from tfapp.compare.parity import (
    EXACT,
    Parity,
    Place,
    StepDifference,
    Tolerance,
    compare_steps,
    summarize,
)
from tfapp.compare.plan import Plan, make_plan
from tfapp.compare.results import Comparison, ProgramResult, Row
from tfapp.compare.roster import Engine
from tfapp.compare.task import Task
from tfapp.compare.trace import Step

Watch = Callable[[str], None]


def compare_programs(
    programs: Iterable[str] = (),
    *,
    engines: Iterable[str] = (),
    reference: str = "tf1",
    steps: int | None = None,
    exact: bool = False,
    data: Path | None = None,
    watch: Watch = lambda program: None,
) -> Comparison:
    """Computes programs on several engines and compares them step by step.

    Args:
        programs: Names; none for all.
        engines: Names; none for all that take part.
        reference: The engine that the others are compared with; it takes part in any case.
        steps: How many updates; each program's own number when omitted.
        exact: Turns Grappler off on both sides and demands equal bits.
        data: Folder of IDX files for the programs that need one.
        watch: Is told the name of each program when it begins.

    Raises:
        UnknownName: Of a program or an engine, with the nearest known name.
        UsageError: `steps` is not positive, or there is nothing to compare.
        MissingError: The data, or what the reference needs, is not there.
        DataError: The data does not suit the program.
    """
    plan = make_plan(
        programs, engines=engines, reference=reference, steps=steps, exact=exact, data=data
    )
    return run_plan(plan, watch=watch)


def run_plan(plan: Plan, *, watch: Watch = lambda program: None) -> Comparison:
    """Carries out what `make_plan` has checked."""
    results = []
    for task in plan.tasks():
        watch(task.program.name)
        results.append(_compare(task, plan.engines, plan.reference, exact=plan.exact))
    agrees = all(row.status != "outside" for result in results for row in result.rows)
    return Comparison(agrees, plan.exact, tuple(results))


def compare_task(
    task: Task, engines: Sequence[Engine], reference: Engine
) -> tuple[dict[str, list[StepDifference]], list[float]]:
    """Runs engines in step.

    Args:
        task: What they compute.
        engines: Whoever is compared; all of them can compute it.
        reference: What they are compared with.

    Returns:
        The differences of each engine, a step each, and the losses of the reference.

    Raises:
        ValueError: An engine gave other names, shapes or numbers of steps than the reference.
    """
    differences: dict[str, list[StepDifference]] = {engine.name: [] for engine in engines}
    losses = []
    with ExitStack() as stack:
        if not task.grappler:
            from tfapp.compare.engines.tape import rewriting

            stack.enter_context(rewriting(grappler=False))
        traces = [engine.load()(task) for engine in (reference, *engines)]
        for expected, *steps in zip(*traces, strict=True):
            losses.append(float(expected.loss))
            for name, step in zip(differences, steps, strict=True):
                differences[name].append(_compare_steps(name, step, expected))
    return differences, losses


def _compare_steps(engine: str, step: Step, expected: Step) -> StepDifference:
    try:
        return compare_steps(step, expected)
    except ValueError as error:
        raise ValueError(f"{engine}: {error}") from error


def _compare(
    task: Task, engines: Sequence[Engine], reference: Engine, *, exact: bool
) -> ProgramResult:
    program = task.program
    able = [e for e in engines if e.missing is None and program.kind not in e.cannot]
    differences, losses = compare_task(task, able, reference)
    rows = [Row(reference.name, "reference")]
    for engine in engines:
        if engine.name in differences:
            tolerance = EXACT if exact else program.tolerance(engine.name, reference.name)
            rows.append(_judged(engine, summarize(differences[engine.name], tolerance), tolerance))
        elif program.kind in engine.cannot:
            rows.append(Row(engine.name, "cannot", engine.cannot[program.kind]))
        else:
            rows.append(Row(engine.name, "missing", engine.missing or ""))
    return ProgramResult(
        program=program.name,
        about=program.about,
        steps=task.steps,
        reference=reference.name,
        first_loss=losses[0],
        last_loss=losses[-1],
        rows=tuple(rows),
    )


def _judged(engine: Engine, parity: Parity, tolerance: Tolerance) -> Row:
    if parity.inside:
        return Row(engine.name, "inside", tolerance=tolerance, parity=parity)
    return Row(engine.name, "outside", _outside(parity, tolerance), tolerance, parity)


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
