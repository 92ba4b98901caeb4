"""What `tfapp bench` shows: tables and bars."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import click

from tfapp.bench.memory import Memory
from tfapp.bench.results import Row, TrainingBench, Verdict, WorkloadResult
from tfapp.bench.roster import REFERENCE
from tfapp.bench.sweep import PointResult, Sweep
from tfapp.bench.tuning.results import SearchRow, TuningBench
from tfapp.bench.workloads import WORKLOADS
from tfapp.cli.console import print_table, say
from tfapp.cli.measuring import show_machine
from tfapp.timing.slices import Spread


def show_training(result: TrainingBench, plot: Path | None, *, quiet: bool) -> None:
    """Prints a table for each workload, then the targets and the machine."""
    for workload in result.workloads:
        rows = [_cells(row, workload) for row in workload.rows]
        against = workload.reference or "reference"  # there is none where nobody was timed
        columns = (
            *("contender", "us/step", "p10", "p90", f"x {against}", "rank"),
            *("start s", "loss", "remarks"),
        )
        print_table(columns, rows, title=_title(workload.workload))
        click.echo()
    if result.targets:
        print_table(
            ("target", "workload", "against", "measured", "wanted", "met"),
            [_verdict(verdict) for verdict in result.targets],
        )
        click.echo()
    if not quiet:
        shown = f"{result.rounds} rounds of {result.slice_seconds:g} s, {result.seconds:.0f} s"
        show_machine(result.machine, [("measured", shown), *([("bars", plot)] if plot else [])])


def show_tuning(result: TuningBench, *, quiet: bool) -> None:
    """Prints a row for each contender, then the targets and the machine."""
    against = result.reference or "reference"
    task = result.task
    print_table(
        (
            *("contender", "search s", "p10", "p90", f"x {against}", "trial s", "training s"),
            *("overhead s", "p10", "p90", "val_accuracy", "remarks"),
        ),
        [_tuning_cells(row) for row in result.rows],
        title=f"{result.source}: {task.trials} trials of {task.epochs} epochs, batch"
        f" {task.batch_size}, {result.networks} networks",
    )
    click.echo()
    if result.targets:
        print_table(
            ("target", "measured", "wanted", "met"),
            [(v.target, f"{v.measured:.3f}", v.wanted, met_or_not(v.met)) for v in result.targets],
        )
        click.echo()
    if not quiet:
        shown = f"{result.rounds} rounds of a search, {result.seconds:.0f} s"
        show_machine(result.machine, [("measured", shown)])


def show_sweep(result: Sweep, *, quiet: bool) -> None:
    """Prints one table for each axis."""
    for axis, points in groupby(result.points, key=lambda point: point.axis):
        others = result.contenders[1:]
        columns = (axis, *(f"{n} us/step" for n in result.contenders), *(f"x {n}" for n in others))
        here = list(points)
        print_table(columns, [_sweep_cells(point, result.contenders) for point in here])
        click.echo()
        for point in here:
            for row in point.rows:
                if not row.slices:
                    say(f"note: {row.contender} at {axis} {point.value:,}: {_remarks(row)}")
    if not quiet:
        show_machine(result.machine, [])


def show_memory(result: Memory, *, quiet: bool) -> None:
    """Prints peak memory by size and loop."""
    print_table(
        ("loop", "examples", "data MB", "peak MB"),
        [
            (p.contender, p.examples, round(p.data_mb), p.peak_mb and round(p.peak_mb))
            for p in result.points
        ],
    )
    if not quiet:
        click.echo()
        show_machine(result.machine, [])


def draw(result: TrainingBench, path: Path) -> None:
    """Draws a panel for each workload."""
    from tfapp.report.figures import Bar, draw_bars

    def bars(workload: WorkloadResult) -> list[Bar]:
        return [
            Bar(
                _name(row, workload),
                row.step_us.median,
                row.step_us.p10,
                row.step_us.p90,
                highlighted=row.contender.split("-")[0] == REFERENCE,
            )
            for row in workload.rows
            if row.step_us is not None
        ]

    draw_bars(
        {_title(workload.workload): bars(workload) for workload in result.workloads},
        path,
        unit="microseconds a step",
    )


def met_or_not(met: bool) -> str:
    """Returns what the table of targets says."""
    return "yes" if met else "NO"


def format_measured(value: float | None) -> str | None:
    """Returns a number with three digits at least; nothing for nothing."""
    if value is None:
        return None
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _title(workload: str) -> str:
    known = WORKLOADS.get(workload)
    return f"{workload}: {known.about}" if known else workload


def _name(row: Row, workload: WorkloadResult) -> str:
    if row.status == "limit":
        return f"{row.contender} (limit)"
    return f"{row.contender} (best fit)" if row.contender == workload.best_fit else row.contender


def _cells(row: Row, workload: WorkloadResult) -> tuple[object, ...]:
    spread = row.step_us
    times = (spread.median, spread.p10, spread.p90) if spread else (None, None, None)
    return (
        _name(row, workload),
        *(format_measured(time) for time in times),
        None if row.ratio is None else f"{row.ratio:.2f}",
        row.rank,
        None if row.compile_seconds is None else f"{row.compile_seconds:.1f}",
        None if row.loss is None else f"{row.loss:.4g}",
        _remarks(row),
    )


def _remarks(row: Row | SearchRow) -> str:
    if row.status in ("differs", "failed"):
        return f"{row.status}: {row.detail}"
    return row.detail


def _sweep_cells(point: PointResult, contenders: tuple[str, ...]) -> tuple[object, ...]:
    rows = {row.contender: row for row in point.rows}
    medians = [rows[name].step_us for name in contenders]
    ratios = [rows[name].ratio for name in contenders[1:]]
    return (
        point.value,
        *(None if spread is None else format_measured(spread.median) for spread in medians),
        *(None if ratio is None else f"{ratio:.2f}" for ratio in ratios),
    )


def _verdict(verdict: Verdict) -> tuple[object, ...]:
    return (
        verdict.target,
        verdict.workload,
        verdict.contender,
        f"{verdict.measured:.3f}",
        verdict.wanted,
        met_or_not(verdict.met),
    )


def _tuning_cells(row: SearchRow) -> tuple[object, ...]:
    return (
        row.contender,
        *_of_spread(row.seconds, ".1f"),
        None if row.ratio is None else f"{row.ratio:.2f}",
        _of_spread(row.trial_seconds, ".2f")[0],
        _of_spread(row.training_seconds, ".2f")[0],
        *_of_spread(row.overhead_seconds, ".2f"),
        None if row.accuracy is None else f"{row.accuracy:.3f}",
        _remarks(row),
    )


def _of_spread(spread: Spread | None, form: str) -> tuple[str | None, str | None, str | None]:
    if spread is None:
        return None, None, None
    return format(spread.median, form), format(spread.p10, form), format(spread.p90, form)
