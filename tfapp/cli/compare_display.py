"""What `tfapp compare` shows: a table for each program, and what to know about it."""

from __future__ import annotations

import click

from tfapp.cli.console import print_table, say
from tfapp.cli.measuring import show_machine
from tfapp.compare.parity import Deviation, Tolerance
from tfapp.compare.programs import PROGRAMS
from tfapp.compare.results import WRONG, Comparison, ProgramResult, Row

_PARITY = ("engine", "loss", "ulps", "gradients", "weights", "verdict")


def show_comparison(comparison: Comparison, *, quiet: bool) -> None:
    """Prints a table for each program, why its engines may differ, and what went wrong."""
    for result in comparison.programs:
        click.echo(title(result))
        columns, rows = table(result, timed=comparison.machine is not None)
        print_table(columns, rows)
        if not quiet and not comparison.exact:
            click.echo()
            for reason, engines in reasons(result).items():
                click.echo(f"{', '.join(engines)}: {reason}")
        click.echo()
    if comparison.machine is not None and not quiet:
        show_machine(comparison.machine, [])
    for result in comparison.programs:
        for line in complaints(result):
            say(line)
        if result.steps > (stated := PROGRAMS[result.program].steps) and not comparison.exact:
            say(
                f"note: the tolerances of {result.program} are stated up to step {stated}.",
                quiet=quiet,
            )


def title(result: ProgramResult) -> str:
    """Returns what was computed, for how many steps, from which loss to which."""
    steps = f"{result.steps:,} step{'s' if result.steps > 1 else ''}"
    losses = f"loss {result.first_loss:.8g}"
    if result.steps > 1:
        losses += f" to {result.last_loss:.8g}"
    return f"{result.program}: {result.about}; {steps}, {losses}"


def table(result: ProgramResult, *, timed: bool) -> tuple[tuple[str, ...], list[list[str]]]:
    """Returns columns and rows of a program's table.

    Args:
        result: All engines on one program.
        timed: Whether engines were timed.
    """
    columns: tuple[str, ...] = _PARITY
    rows = [_parity_cells(row) for row in result.rows]
    if timed:
        columns += ("steps/s", f"x {result.reference}", "rank", "build s")
        rows = [cells + _timing_cells(row) for cells, row in zip(rows, result.rows, strict=True)]
    return columns, rows


def reasons(result: ProgramResult) -> dict[str, list[str]]:
    """Returns why engines may differ and by how much, each reason once, for those that do."""
    found: dict[str, list[str]] = {}
    for row in result.rows:
        if row.tolerance is not None and row.parity is not None and not row.parity.same_bits:
            text = f"{row.tolerance.reason} Allowed {tolerance_text(row.tolerance)}."
            found.setdefault(text, []).append(row.engine)
    return found


def complaints(result: ProgramResult) -> list[str]:
    """Returns a line for each engine that left its tolerance, failed, or could not be timed."""
    lines = []
    for row in result.rows:
        if row.status == "outside":
            lines.append(f"{result.program}: {row.engine} leaves its tolerance: {row.detail}.")
        elif row.status == "failed":
            lines.append(f"{result.program}: {row.engine} failed: {row.detail}")
        if row.timing_failure:
            lines.append(f"{result.program}: {row.engine} was not timed: {row.timing_failure}")
    return lines


def tolerance_text(tolerance: Tolerance) -> str:
    """Returns what is allowed of loss, gradients and weights."""
    if tolerance.bits:
        return "equal bits"
    return f"{tolerance.loss:g} / {tolerance.gradients:g} / {tolerance.weights:g}"


def _parity_cells(row: Row) -> list[str]:
    if row.parity is None:
        verdict = "FAILED" if row.status in WRONG else row.detail or row.status
        return [row.engine, "", "", "", "", verdict]
    parity = row.parity
    verdict = "OUTSIDE" if row.status in WRONG else "inside"
    return [
        row.engine,
        deviation_text(parity.loss),
        "NaN" if parity.ulps is None else f"{parity.ulps:,}",
        deviation_text(parity.gradients),
        deviation_text(parity.weights),
        "same bits" if parity.same_bits else verdict,
    ]


def _timing_cells(row: Row) -> list[str]:
    timing = row.timing
    if timing is None:
        return ["", "", "", ""]
    return [
        f"{timing.steps_a_second:,.0f}",
        "" if timing.speed is None else f"{timing.speed:.2f}",
        "-" if timing.rank is None else str(timing.rank),
        f"{timing.compile_seconds:.2f}",
    ]


def deviation_text(deviation: Deviation) -> str:
    """Writes `from 4: 5e-06 w at 200`: first step with other bits, largest difference, where."""
    if deviation.first is None or deviation.largest is None:
        return "same"
    largest = deviation.largest
    where = "" if largest.tensor == "loss" else f"{largest.tensor} "
    return f"from {deviation.first}: {largest.size:.1e} {where}at {largest.step}"
