"""`tfapp bench`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sized
from pathlib import Path
from typing import Any

import click

from tfapp.cli import options
from tfapp.cli.console import check_writable

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _rounds(default: int, what: str = "Slices") -> Decorator:
    """Adds how often is measured."""
    return click.option(
        "--rounds",
        type=click.IntRange(min=1),
        default=default,
        show_default=True,
        help=f"{what} of each contender.",
    )


def _seconds(default: float) -> Decorator:
    """Adds how long is measured."""
    return click.option(
        "--seconds",
        type=click.FloatRange(min=0.01),
        default=default,
        show_default=True,
        help="Length of a slice, about.",
    )


def _count(name: str, default: int, help: str) -> Decorator:
    return click.option(
        name,
        type=click.IntRange(min=1),
        default=default,
        show_default=True,
        metavar="N",
        help=help,
    )


def _names(name: str, help: str, default: str = "") -> Decorator:
    """Adds an option that takes names and may be repeated."""
    return click.option(
        f"--{name}",
        f"{name}s",
        metavar="NAME",
        multiple=True,
        help=f"{help} Repeatable." + (f"  [default: {default}]" if default else ""),
    )


def _plot(what: str) -> Decorator:
    """Adds a drawing."""
    return click.option(
        "--plot",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        help=f"Draw the {what} as bars into an SVG file.",
    )


_TRAINERS = (
    "Who trains it: a name of docs/benchmarks.md, fit-best for all its variants, or module:Class"
    " for your own."
)


@click.group(
    epilog="""\b
Examples:
  tfapp bench training --workload two-layer
  tfapp bench tuning
  tfapp bench serving
  tfapp bench sweep
  tfapp bench memory"""
)
def bench() -> None:
    """Measure how fast training, searching and serving are, beside others."""


@bench.command(
    "training",
    epilog="""\b
Examples:
  tfapp bench training --workload mlp-adam --contender tfapp --contender fit
  tfapp bench training --json --plot speeds.svg""",
)
@_names(
    "workload", "What is trained: mlp-sgd, mlp-adam, two-layer, cnn or quadratic.", default="all"
)
@_names("contender", _TRAINERS)
@_rounds(5)
@_seconds(0.3)
@_plot("times")
@options.json_output
@options.common
def training_command(
    workloads: tuple[str, ...],
    contenders: tuple[str, ...],
    rounds: int,
    seconds: float,
    plot: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Time training steps of tfapp, Keras, TF1, PyTorch, JAX and NumPy.

    Each contender is a process of its own. Its first losses are checked before it is timed; then
    slices of all of them take turns. All of it takes about ten minutes on two cores.
    """
    from tfapp.bench.roster import assign, find_contenders, find_workloads

    chosen, team = find_workloads(workloads), find_contenders(contenders)
    assign(chosen, team)
    if plot is not None:
        check_writable(plot)
    from tfapp.bench.suite import run_training
    from tfapp.cli.bench_display import draw, show_training
    from tfapp.cli.console import print_json
    from tfapp.cli.measuring import progress

    with progress(quiet=quiet) as watch:
        result = run_training(chosen, team, rounds=rounds, seconds=seconds, watch=watch)
    if plot is not None:
        draw(result, plot)
    if as_json:
        print_json(result)
    else:
        show_training(result, plot, quiet=quiet)
    _check_timed(row.slices for workload in result.workloads for row in workload.rows)


def _check_timed(times: Iterable[Sized]) -> None:
    """Refuses to call a benchmark done that has no time in it.

    Args:
        times: What was measured of each contender.
    """
    from tfapp.errors import TfappError

    if not any(map(len, times)):
        raise TfappError(
            "no contender was timed; the rows say why. Correct that, or leave --contender out for"
            " those that docs/benchmarks.md lists."
        )


@bench.command(
    "tuning",
    epilog="""\b
Examples:
  tfapp bench tuning --trials 6 --epochs 3 --rounds 1
  tfapp bench tuning --json""",
)
@_count(
    "--trials", 20, "Trials of a search, with values of their own; the same for all contenders."
)
@_count("--epochs", 10, "Epochs of a trial.")
@_rounds(3, "Searches")
@_names(
    "contender",
    "Who searches: tfapp, keras-tuner, keras-tuner-epoch, or module:Class for your own.",
    default="tfapp, keras-tuner",
)
@options.json_output
@options.common
def tuning_command(
    trials: int,
    epochs: int,
    rounds: int,
    contenders: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Time a search over digits beside KerasTuner with fit.

    Each contender is a process of its own; all run the same trials, and their accuracies are
    compared. All of it takes about six minutes on two cores.
    """
    from tfapp.bench.tuning.roster import find_searches

    find_searches(contenders)
    from tfapp.bench.tuning.suite import run_tuning
    from tfapp.bench.tuning.task import SearchTask
    from tfapp.cli.bench_display import show_tuning
    from tfapp.cli.console import print_json
    from tfapp.cli.measuring import progress

    task = SearchTask(trials=trials, epochs=epochs)
    with progress(quiet=quiet) as watch:
        result = run_tuning(task, contenders, rounds=rounds, watch=watch)
    if as_json:
        print_json(result)
    else:
        show_tuning(result, quiet=quiet)
    _check_timed(row.rounds for row in result.rows)


@bench.command(
    "serving",
    epilog="""\b
Examples:
  tfapp bench serving --workload rest --contender tfapp --contender fastapi
  tfapp bench serving --workload grpc --rounds 3 --seconds 1
  tfapp bench serving --json --plot servers.svg""",
)
@_names("workload", "What is asked: rest, grpc, calls, bodies or models.", default="all")
@_names(
    "contender",
    "Who is asked: a name of docs/benchmarks.md, or module:Class for your own.",
    default="all",
)
@_rounds(5)
@_seconds(2.0)
@_plot("rates")
@options.json_output
@options.common
def serving_command(
    workloads: tuple[str, ...],
    contenders: tuple[str, ...],
    rounds: int,
    seconds: float,
    plot: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Time tfapp serve, FastAPI, KServe, LitServe, and calls of a model.

    Each contender is a process of its own that starts a server and asks it; answers are compared
    with NumPy's. All of it takes about ten minutes on two cores.
    """
    from tfapp.bench.serving.points import find_points
    from tfapp.bench.serving.roster import assign, find_servers

    points, team = find_points(workloads), find_servers(contenders)
    assign(points, team)
    if plot is not None:
        check_writable(plot)
    from tfapp.bench.serving.suite import run_serving
    from tfapp.cli.bench_serving_display import draw_serving, show_serving
    from tfapp.cli.console import print_json
    from tfapp.cli.measuring import progress

    with progress(quiet=quiet) as watch:
        result = run_serving(points, team, rounds=rounds, seconds=seconds, watch=watch)
    if plot is not None:
        draw_serving(result, plot)
    if as_json:
        print_json(result)
    else:
        show_serving(result, plot, quiet=quiet)
    _check_timed(row.rounds for point in result.points for row in point.rows)


@bench.command("sweep", epilog="Example:  tfapp bench sweep --contender fit-best")
@_names("contender", _TRAINERS)
@_rounds(5)
@_seconds(0.3)
@options.json_output
@options.common
def sweep_command(
    contenders: tuple[str, ...], rounds: int, seconds: float, as_json: bool, quiet: bool
) -> None:
    """Time a step against batch size and against width.

    The network is that of mlp-adam; tfapp is compared with fit unless contenders are named.
    """
    from tfapp.bench.roster import REFERENCE, assign, find_contenders
    from tfapp.bench.sweep import DEFAULT, run_sweep, variations

    team = find_contenders((REFERENCE, *(contenders or DEFAULT)))
    points = variations()
    assign([point.workload for point in points], team)
    from tfapp.cli.bench_display import show_sweep
    from tfapp.cli.console import print_json
    from tfapp.cli.measuring import progress

    with progress(quiet=quiet) as watch:
        result = run_sweep(team, points, rounds=rounds, seconds=seconds, watch=watch)
    if as_json:
        print_json(result)
    else:
        show_sweep(result, quiet=quiet)
    _check_timed(row.slices for point in result.points for row in point.rows)


@bench.command("memory", epilog="Example:  tfapp bench memory --json")
@options.json_output
@options.common
def memory_command(as_json: bool, quiet: bool) -> None:
    """Measure the peak memory of both loops against the size of the data."""
    from tfapp.bench.memory import run_memory
    from tfapp.cli.bench_display import show_memory
    from tfapp.cli.console import print_json
    from tfapp.cli.measuring import progress

    with progress(quiet=quiet) as watch:
        result = run_memory(watch=watch)
    if as_json:
        print_json(result)
    else:
        show_memory(result, quiet=quiet)
