"""Trains the five programs on the same arrays and puts side by side what can be measured of them.

    with framework_timers(TASK.name) as timers:
        timings = timers.time(reference=REFERENCE, rounds=3, watch=unwatched)
    study = study_frameworks(timings=timings)
    [row.status for row in study.rows]

Every program trains alone, a step at a time. Its losses and its final weights are compared with
those of the program by hand.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfapp.compare.frameworks.lines import count_lines
from tfapp.compare.frameworks.packages import find_package
from tfapp.compare.frameworks.results import FrameworkStudy, Lines, Row, Status
from tfapp.compare.frameworks.roster import PROGRAMS, REFERENCE, Program
from tfapp.compare.parity import relative_difference
from tfapp.compare.programs import PROGRAMS as COMPARED
from tfapp.compare.timing import Timings
from tfapp.compare.tolerances import TOLERANCES
from tfapp.compare.trace import Array
from tfapp.errors import UsageError, reason_of

Watch = Callable[[str], None]

# The same network, arrays, learning rate and batches.
TASK = COMPARED["mlp"]
# What may lie between a program that is written out and one that adds in another order.
TOLERANCE = TOLERANCES["mlp"]["numpy"]


@dataclass(frozen=True)
class _Training:
    """What a program computed: the losses of all steps, and the weights after the last."""

    losses: list[float]
    weights: dict[str, Array]


def study_frameworks(
    *,
    steps: int = TASK.steps,
    timings: Timings | None = None,
    watch: Watch = lambda program: None,
) -> FrameworkStudy:
    """Trains every program that is installed, in this process, and compares it with that by hand.

    Args:
        steps: How many updates; the tolerance is stated for as many as there are by default.
        timings: How fast programs are, if that was measured.
        watch: Is told the name of each program when it begins.

    Raises:
        UsageError: `steps` is not positive.
    """
    if steps < 1:
        raise UsageError(f"steps: found {steps}, allowed 1 or more")
    times = {} if timings is None else timings.programs[TASK.name]
    failures = {} if timings is None else timings.failures[TASK.name]
    watch(REFERENCE)
    reference = _train(PROGRAMS[REFERENCE], steps)
    rows = []
    for program in PROGRAMS.values():
        if program.name != REFERENCE and program.missing is None:
            watch(program.name)
        row = _compared(program, reference)
        timing, failure = times.get(program.name), failures.get(program.name, "")
        if timing is not None and (failure := timing.objection(reference.losses[0])):
            timing = None
        rows.append(dataclasses.replace(row, timing=timing, timing_failure=failure))
    return FrameworkStudy(steps, TOLERANCE, reference.losses[0], reference.losses[-1], tuple(rows))


def _train(program: Program, steps: int) -> _Training:
    assert TASK.draw is not None and TASK.batch_size is not None, "mlp has arrays and batches"
    arrays = TASK.draw()
    trainer = program.load()(
        arrays.data["images"],
        arrays.data["labels"],
        dict(arrays.weights),
        TASK.learning_rate,
        TASK.batch_size,
    )
    losses = [trainer.run(1) for _ in range(steps)]
    return _Training(losses, {name: np.asarray(w) for name, w in trainer.weights().items()})


def _compared(program: Program, reference: _Training) -> Row:
    if program.name == REFERENCE:
        return _row(program, "reference")
    if program.missing is not None:
        return _row(program, "not installed", program.missing)
    try:
        loss, weights = _differences(_train(program, len(reference.losses)), reference)
    except Exception as error:  # a framework may fail in ways of its own; the others go on
        return _row(program, "failed", reason_of(error))
    detail = "; ".join(
        f"{what} differ by {found:.2e}, allowed at most {allowed:.2e}"
        for what, found, allowed in (
            ("losses", loss, TOLERANCE.loss),
            ("weights", weights, TOLERANCE.weights),
        )
        if found > allowed
    )
    return _row(program, "differs" if detail else "ok", detail, loss=loss, weights=weights)


def _differences(found: _Training, reference: _Training) -> tuple[float, float]:
    """Returns the largest differences of a loss and of a weight.

    Raises:
        ValueError: The weights have other names or shapes.
    """
    shapes, wanted = (
        {name: value.shape for name, value in training.weights.items()}
        for training in (found, reference)
    )
    if shapes != wanted:
        raise ValueError(f"its weights are {shapes}, those by hand {wanted}")
    losses = zip(found.losses, reference.losses, strict=True)
    return (
        max(relative_difference(loss, expected) for loss, expected in losses),
        max(
            relative_difference(found.weights[name], expected)
            for name, expected in reference.weights.items()
        ),
    )


def _row(program: Program, status: Status, detail: str = "", **measured: Any) -> Row:
    packages = [find_package(name) for name in program.packages]
    return Row(
        program=program.name,
        title=program.title,
        status=status,
        detail=detail,
        packages=tuple(package for package in packages if package is not None),
        steps=program.steps,
        lines=count_program(program),
        source=program.source,
        **measured,
    )


def count_program(program: Program) -> Lines:
    """Counts the lines of a program by its steps; nothing that it imports need be installed."""
    counted = count_lines(program.source)
    return Lines(
        total=counted.code,
        imports=counted.imports,
        steps={
            name: sum(counted.functions[function] for function in step.functions)
            for name, step in program.steps.items()
        },
        exchange=sum(counted.functions[function] for function in program.exchange),
    )
