"""The tables of the study of graphs, for the terminal and for the report alike."""

from __future__ import annotations

from collections.abc import Mapping

from tfapp.cli.compare_tables import spread_text
from tfapp.compare.graphs.control_flow import ControlRow
from tfapp.compare.graphs.costs import StepCost
from tfapp.compare.graphs.sizes import CompiledSize, GraphSize
from tfapp.compare.graphs.study import GraphStudy
from tfapp.report.page import Table, Verdict

_MOST_REWRITES = 6
_VERDICTS: Mapping[str, Verdict] = {
    "agrees": Verdict("agrees", "ok"),
    "differs": Verdict("DIFFERS", "differs"),
    "cannot": Verdict("refused", "missing"),
    "missing": Verdict("not installed", "missing"),
}


def graph_tables(study: GraphStudy) -> list[Table]:
    """Returns sizes, costs, control flow, growth, findings and retracing."""
    return [
        _sizes(study),
        _compiled(study),
        _costs(study),
        _control_flow(study),
        _growth(study),
        Table(
            ("tried", "found"),
            [(finding.tried, finding.found) for finding in study.findings],
            "graphs: where control flow meets a graph",
        ),
        _retracing(study),
    ]


def _sizes(study: GraphStudy) -> Table:
    counts = ("built", "needed", "plain", "run")
    return Table(
        ("program", "engine", *counts, "what Grappler changed, by type of operation"),
        [
            (of.program, size.engine, *(f"{getattr(size, c):,}" for c in counts), _rewrites(size))
            for of in study.programs
            for size in of.sizes
            if isinstance(size, GraphSize)
        ],
        "graphs: operations of a training step",
        numeric=counts,
        notes=[
            "needed: what a result or an update depends on. plain: what is left of it without"
            " Grappler. run: what is run."
        ],
    )


def _rewrites(size: GraphSize) -> str:
    changes = sorted(size.rewrites.items(), key=lambda change: (-change[1] > 0, -abs(change[1])))
    shown = ", ".join(f"{name} {change:+d}" for name, change in changes[:_MOST_REWRITES])
    return shown + (", ..." if len(changes) > _MOST_REWRITES else "")


def _compiled(study: GraphStudy) -> Table:
    counts = ("built", "instructions", "optimized", "fusions", "run")
    return Table(
        ("program", "operations", "instructions", "optimized", "fusions", "kernels"),
        [
            (of.program, *(f"{getattr(size, count):,}" for count in counts))
            for of in study.programs
            for size in of.sizes
            if isinstance(size, CompiledSize)
        ],
        "graphs: what XLA makes of a training step",
        numeric=("operations", "instructions", "optimized", "fusions", "kernels"),
        notes=["Optimized can be more: what is cheap is copied into each kernel that needs it."],
    )


def _costs(study: GraphStudy) -> Table:
    return Table(
        ("program", "engine", "first step ms", "a step us", "x eager", "rank", "pays after"),
        [(of.program, *_cost_cells(cost)) for of in study.programs for cost in of.costs],
        "graphs: what building costs, and after how many steps it has paid for itself",
        numeric=("x eager", "rank", "pays after"),
    )


def _cost_cells(cost: StepCost) -> tuple[str, ...]:
    return (
        cost.engine,
        spread_text(cost.start_ms),
        spread_text(cost.step_us),
        f"{cost.speed:.2f}",
        "-" if cost.rank is None else str(cost.rank),
        "-" if cost.pays_after is None else f"{cost.pays_after:,}",
    )


def _control_flow(study: GraphStudy) -> Table:
    return Table(
        ("construct", "engine", "verdict", "values", "gradients", "operations", "how"),
        [_control_cells(row) for row in study.control_flow],
        "graphs: the same control flow on every engine",
        numeric=("operations",),
    )


def _control_cells(row: ControlRow) -> tuple[str | Verdict, ...]:
    return (
        row.construct,
        row.engine,
        _VERDICTS.get(row.status, row.status),
        " / ".join(f"{value:.6g}" for value in row.values),
        " / ".join(f"{value:.6g}" for value in row.gradients),
        "" if row.operations is None else str(row.operations),
        row.remark,
    )


def _growth(study: GraphStudy) -> Table:
    turns = [str(number) for number in study.growth[0].turns]
    return Table(
        ("loop", "engine", "what is counted", *turns, "ms to build"),
        [
            (
                *(row.form, row.engine, row.missing or row.unit),
                *(f"{count:,}" for count in row.counts or ()),
                *("" for _ in turns[len(row.counts) :]),
                " / ".join(f"{time:.3g}" for time in row.build_ms),
            )
            for row in study.growth
        ],
        "graphs: x^n and its gradient, n turns",
        numeric=turns,
    )


def _retracing(study: GraphStudy) -> Table:
    return Table(
        ("called with", "how", "calls", "graphs built", "ms when built", "ms otherwise"),
        [
            (
                *(row.called_with, row.how, str(row.calls), str(row.traces)),
                *(spread_text(row.tracing_ms), spread_text(row.call_ms)),
            )
            for row in study.retracing
        ],
        "graphs: how often a function is traced",
        numeric=("calls", "graphs built"),
    )
