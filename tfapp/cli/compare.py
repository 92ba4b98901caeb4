"""`tfapp compare`."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfapp.cli import options
from tfapp.cli.console import print_json, print_table, say
from tfapp.errors import ExitCode

if TYPE_CHECKING:
    from tfapp.compare.parity import Deviation, Tolerance
    from tfapp.compare.results import Comparison, ProgramResult, Row

_COLUMNS = ("engine", "loss", "ulps", "gradients", "weights", "tolerance", "verdict")


@click.command(
    epilog="""\b
Examples:
  tfapp compare
  tfapp compare two-layer --engines eager,torch --steps 10
  tfapp compare mlp --exact"""
)
@click.argument("programs", metavar="[PROGRAM...|all]", nargs=-1)
@click.option(
    "--engines",
    metavar="NAME,NAME",
    help="Who is compared: tf1, eager, function, xla, keras_fit, torch, numpy.  [default: all]",
)
@click.option(
    "--reference",
    metavar="NAME",
    default="tf1",
    show_default=True,
    help="The engine that the others are compared with.",
)
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    help="Updates of every program.  [default: each program's own number]",
)
@click.option(
    "--exact",
    is_flag=True,
    help="Turn Grappler off on both sides and demand equal bits of tf1, eager and function.",
)
@click.option(
    "--data",
    metavar="FOLDER",
    type=click.Path(path_type=Path, file_okay=False),
    help="IDX files such as MNIST's, for the program mnist-mlp.",
)
@options.json_output
@options.common
def compare(
    programs: tuple[str, ...],
    engines: str | None,
    reference: str,
    steps: int | None,
    exact: bool,
    data: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run a program on several engines and compare every step.

    Programs are quadratic, coefficients, graph, two-layer, mlp, mnist-mlp and cnn. All engines get
    the same arrays; loss, gradients and weights of every step are laid beside the reference's.
    Ends with exit code 3 when an engine leaves its tolerance.
    """
    from tfapp.compare.plan import make_plan

    plan = make_plan(
        programs,
        engines=() if engines is None else [name.strip() for name in engines.split(",")],
        reference=reference,
        steps=steps,
        exact=exact,
        data=data,
    )
    from tfapp.cli.quiet import load_tensorflow

    load_tensorflow()
    from tfapp.compare.comparison import run_plan

    result = run_plan(plan, watch=lambda program: say(f"comparing {program}", quiet=quiet))
    if as_json:
        print_json(_as_object(result))
    else:
        _show(result, quiet=quiet)
    return ExitCode.DONE if result.agrees else ExitCode.DIFFERS


def _show(comparison: Comparison, *, quiet: bool) -> None:
    """Prints a table for each program, why its engines may differ, and what left its tolerance."""
    from tfapp.compare.programs import PROGRAMS

    for result in comparison.programs:
        click.echo(_title(result))
        print_table(_COLUMNS, [_cells(row) for row in result.rows])
        if not quiet and not comparison.exact:
            click.echo()
            for reason, engines in _reasons(result).items():
                click.echo(f"{', '.join(engines)}: {reason}")
        click.echo()
    for result in comparison.programs:
        for row in result.rows:
            if row.status == "outside":
                say(f"{result.program}: {row.engine} leaves its tolerance: {row.detail}.")
        if result.steps > (stated := PROGRAMS[result.program].steps) and not comparison.exact:
            say(
                f"note: the tolerances of {result.program} are stated up to step {stated}.",
                quiet=quiet,
            )


def _as_object(comparison: Comparison) -> dict[str, Any]:
    """Returns the comparison for JSON, which has no infinity: where a number is missing is null."""
    content: dict[str, Any] = _finite(dataclasses.asdict(comparison))
    return content


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _title(result: ProgramResult) -> str:
    steps = f"{result.steps:,} step{'s' if result.steps > 1 else ''}"
    losses = f"loss {result.first_loss:.8g}"
    if result.steps > 1:
        losses += f" to {result.last_loss:.8g}"
    return f"{result.program}: {result.about}; {steps}, {losses}"


def _cells(row: Row) -> tuple[object, ...]:
    if row.status == "reference":
        return (row.engine, "", "", "", "", "", "reference")
    if row.parity is None or row.tolerance is None:
        return (row.engine, "", "", "", "", "", row.detail)
    parity = row.parity
    verdict = "OUTSIDE" if row.status == "outside" else "inside"
    if parity.same_bits:
        verdict = "same bits"
    return (
        row.engine,
        _deviation(parity.loss),
        "NaN" if parity.ulps is None else parity.ulps,
        _deviation(parity.gradients),
        _deviation(parity.weights),
        _tolerance(row.tolerance),
        verdict,
    )


def _deviation(deviation: Deviation) -> str:
    """Writes `from 4: 5e-06 w at 200`: first step with other bits, largest difference, where."""
    if deviation.first is None or deviation.largest is None:
        return "same"
    largest = deviation.largest
    where = "" if largest.tensor == "loss" else f"{largest.tensor} "
    return f"from {deviation.first}: {largest.size:.1e} {where}at {largest.step}"


def _tolerance(tolerance: Tolerance) -> str:
    if tolerance.bits:
        return "equal bits"
    return f"{tolerance.loss:g} / {tolerance.gradients:g} / {tolerance.weights:g}"


def _reasons(result: ProgramResult) -> dict[str, list[str]]:
    """Returns why engines may differ, each reason once, for those that do."""
    reasons: dict[str, list[str]] = {}
    for row in result.rows:
        if row.tolerance is not None and row.parity is not None and not row.parity.same_bits:
            reasons.setdefault(row.tolerance.reason, []).append(row.engine)
    return reasons
