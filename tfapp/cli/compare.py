"""`tfapp compare`."""

from __future__ import annotations

import dataclasses
import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfapp.cli import options
from tfapp.cli.console import check_writable, print_json, say
from tfapp.errors import ExitCode

if TYPE_CHECKING:
    from tfapp.compare.results import Comparison

_ROUNDS = 3


@click.command(
    epilog="""\b
Examples:
  tfapp compare
  tfapp compare two-layer --engines eager,torch --steps 10
  tfapp compare mlp --exact"""
)
@click.argument("programs", metavar="[PROGRAM...|STUDY...|all]", nargs=-1)
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
@click.option(
    "--rounds",
    type=click.IntRange(min=0),
    help="Slices of 0.15 s in which every engine is timed, in a process of its own; 0 for none."
    f"  [default: {_ROUNDS}; with --exact 0]",
)
@click.option(
    "--report",
    metavar="FILE.html",
    type=click.Path(path_type=Path),
    help="Write all of it, with curves and bars, into one HTML file that needs nothing else.",
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
    rounds: int | None,
    report: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Run a program on several engines and compare every step.

    Programs are quadratic, coefficients, graph, two-layer, mlp, mnist-mlp and cnn; no name means
    all of them. All engines get the same arrays; loss, gradients and weights of every step are laid
    beside the reference's. Then each engine is timed in a process of its own, in turn with the
    others.

    Studies are notes (every program of the course notes and what it must give), frameworks (one
    network by hand and in four frameworks) and graphs (static against dynamic); all means every
    program and every study, with --exact every program that promises equal bits.

    Ends with exit code 3 when an engine leaves its tolerance, or a study finds what must not be.
    """
    from tfapp.compare.plan import make_plan

    plan = make_plan(
        programs,
        engines=() if engines is None else [name.strip() for name in engines.split(",")],
        reference=reference,
        steps=steps,
        exact=exact,
        data=data,
        rounds=(0 if exact else _ROUNDS) if rounds is None else rounds,
    )
    if report is not None:
        from tfapp.report.page import check_page_path

        check_page_path(report)
        check_writable(report)
    from tfapp.cli.quiet import load_tensorflow

    load_tensorflow()
    from tfapp.cli.compare_display import show_comparison
    from tfapp.cli.measuring import progress
    from tfapp.compare.comparison import run_plan

    with progress(quiet=quiet) as watch:
        result = run_plan(plan, watch=watch)
    if as_json:
        print_json(_as_object(result))
    else:
        show_comparison(result, quiet=quiet)
    if report is not None:
        from tfapp.cli.compare_report import comparison_page
        from tfapp.report.page import write_page

        write_page(comparison_page(result, _typed()), report)
        say(f"report: {report}", quiet=quiet)
    return ExitCode.DONE if result.agrees else ExitCode.DIFFERS


def _typed() -> str:
    """Returns the command as a shell would take it; its words are what `main` was given."""
    return shlex.join(["tfapp", *click.get_current_context().find_root().obj])


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
