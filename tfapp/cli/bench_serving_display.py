"""What `tfapp bench serving` shows: a table for each workload, targets, bars."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import click

from tfapp.bench.serving.points import WORKLOADS
from tfapp.bench.serving.results import PointResult, Row, ServingBench
from tfapp.bench.serving.roster import CALL_REFERENCE, REFERENCE
from tfapp.cli.bench_display import format_measured, met_or_not
from tfapp.cli.console import print_table
from tfapp.cli.measuring import show_machine


def show_serving(result: ServingBench, plot: Path | None, *, quiet: bool) -> None:
    """Prints a table for each workload, then the targets and the machine."""
    for workload, group in groupby(result.points, lambda point: point.workload):
        points = list(group)
        against = {point.reference for point in points if point.reference}
        columns = (
            *("asked", "contender", "calls/s" if workload == "calls" else "requests/s"),
            *("p10", "p90", f"x {against.pop() if len(against) == 1 else 'reference'}"),
            *("p50 ms", "p99 ms", "MB/s", "client cores"),
            *("server us", "start s", "memory MB", "remarks"),
        )
        rows = [_cells(row, point) for point in points for row in point.rows]
        print_table(*_without_empty(columns, rows), title=f"{workload}: {WORKLOADS[workload]}")
        click.echo()
    if result.targets:
        print_table(
            ("target", "where", "measured", "wanted", "met"),
            [
                (v.target, v.point, f"{v.measured:.3f}", v.wanted, met_or_not(v.met))
                for v in result.targets
            ],
        )
        click.echo()
    if not quiet:
        shown = f"{result.rounds} rounds of {result.slice_seconds:g} s, {result.seconds:.0f} s"
        show_machine(result.machine, [("measured", shown), *([("bars", plot)] if plot else [])])


def draw_serving(result: ServingBench, path: Path) -> None:
    """Draws a panel for each point."""
    from tfapp.report.figures import Bar, draw_bars

    def bars(point: PointResult) -> list[Bar]:
        return [
            Bar(
                _name(row),
                row.per_second.median,
                row.per_second.p10,
                row.per_second.p90,
                highlighted=row.contender in (REFERENCE, CALL_REFERENCE),
            )
            for row in point.rows
            if row.per_second is not None
        ]

    panels = {f"{point.point}: {point.about}": bars(point) for point in result.points}
    draw_bars(panels, path, unit="answers a second")


def _name(row: Row) -> str:
    return f"{row.contender} (limit)" if row.status == "limit" else row.contender


def _cells(row: Row, point: PointResult) -> tuple[object, ...]:
    rate, started = row.per_second, row.started
    return (
        point.about,
        _name(row),
        *map(format_measured, (rate.median, rate.p10, rate.p90) if rate else (None, None, None)),
        None if row.ratio is None else f"{row.ratio:.2f}",
        format_measured(row.p50_ms),
        format_measured(row.p99_ms),
        format_measured(row.mb_per_second) if point.workload == "bodies" else None,
        None if row.client_cores is None else f"{row.client_cores:.2f}",
        format_measured(row.server_us),
        None if started is None else f"{started.seconds:.1f}",
        None if started is None else f"{started.memory_mb:,.0f}",
        f"{row.status}: {row.detail}" if row.status == "failed" else row.detail,
    )


def _without_empty(
    columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> tuple[list[str], list[list[object]]]:
    """Leaves out columns that have nothing in any row."""
    kept = [i for i in range(len(columns)) if any(row[i] not in (None, "") for row in rows)]
    return [columns[i] for i in kept], [[row[i] for i in kept] for row in rows]
