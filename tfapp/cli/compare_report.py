"""A comparison as a page: the tables of the terminal, with curves, bars and programs."""

from __future__ import annotations

import datetime
from collections.abc import Sequence

import tfapp
from tfapp.cli.compare_display import complaints
from tfapp.cli.compare_tables import checks_table, notes_table, program_table
from tfapp.cli.framework_tables import framework_tables
from tfapp.cli.graph_tables import graph_tables
from tfapp.compare.frameworks import FrameworkStudy
from tfapp.compare.graphs import GraphStudy
from tfapp.compare.notes import NoteResult
from tfapp.compare.results import WRONG, Comparison, ProgramResult
from tfapp.report.bars import Bar, bars_svg
from tfapp.report.lines import Curve, Panel, draw_lines
from tfapp.report.page import Block, Code, Columns, Page, Picture, Section, Text, Verdict
from tfapp.timing.machine import Machine
from tfapp.timing.slices import Spread

_ABOUT = (
    "The same programs on several engines, from the same arrays, compared step by step. A"
    " difference is max|d| / max|a|; of a loss, a is the reference's at that step, of a gradient or"
    " a weight all that the reference's tensor has been so far. The column graph leads from"
    " operations built to operations, or XLA's kernels, run."
)
_NOTES = (
    "Every program of the course notes, run again. What must come out is printed in the notes, a"
    " closed form, worked out in NumPy, a relation, or was measured on another day. Each row shows"
    " one check; all of them are in the next section."
)


def comparison_page(comparison: Comparison, command: str) -> Page:
    """Returns the page of a comparison.

    Args:
        comparison: What was compared.
        command: What was typed.
    """
    sections = [_program(result) for result in comparison.programs]
    if comparison.notes:
        sections += _notes(comparison.notes)
    if comparison.graphs is not None:
        sections.append(_graphs(comparison.graphs))
    if comparison.frameworks is not None:
        sections.append(_frameworks(comparison.frameworks))
    agrees = "everything agrees" if comparison.agrees else "something differs"
    return Page(
        "tfapp compare",
        sections,
        summary=(
            Verdict(agrees, "ok" if comparison.agrees else "differs"),
            *([Text(_ABOUT)] if comparison.programs else []),
            *(Text(line) for line in complaints(comparison)),
        ),
        footer=_footer(command, comparison.machine),
    )


def _footer(command: str, machine: Machine | None) -> str:
    now = datetime.datetime.now().astimezone()
    parts = [command, f"tfapp {tfapp.__version__}", f"{now:%Y-%m-%d %H:%M %Z}"]
    if machine is not None:
        versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
        parts += [f"{machine.cpu}, {machine.cores} cores, {machine.system}", versions]
    return " · ".join(parts)


def _program(result: ProgramResult) -> Section:
    wrong = sum(row.status in WRONG for row in result.rows)
    verdict = Verdict(f"{wrong} differ", "differs") if wrong else Verdict("agrees", "ok")
    blocks: list[Block] = [program_table(result)]
    if result.steps > 1:
        pictures = _curves(result)
        blocks += [Columns(pictures[:2]), Columns(pictures[2:])]
    if any(row.timing for row in result.rows):
        blocks.append(_bars(result))
    return Section(result.program, blocks, verdict)


def _notes(notes: Sequence[NoteResult]) -> list[Section]:
    wrong = sum(note.status == "differs" for note in notes)
    verdict = Verdict(f"{wrong} differ", "differs") if wrong else Verdict("agrees", "ok")
    checked: list[Block] = []
    for note in notes:
        if note.checks:
            checked.append(checks_table(note))
        if note.detail:
            checked.append(Text(f"{note.number}. {note.detail}"))
    return [
        Section("notes", [Text(_NOTES), notes_table(notes)], verdict),
        Section("every check of the notes", checked),
    ]


def _graphs(study: GraphStudy) -> Section:
    verdict = Verdict("agrees", "ok") if study.agrees else Verdict("differs", "differs")
    curves = [
        Curve(f"{row.form} ({row.engine})", row.turns, row.counts)
        for row in study.growth
        if row.counts
    ]
    panel = Panel(
        "x^n and its gradient", "operations or nodes", curves, log=True, xlabel="turns, n"
    )
    told = f"How {len(curves)} forms of a loop grow with its turns"
    sizes, compiled, costs, control, growth, *others = graph_tables(study)
    bars = {
        of.program: [_bar(cost.engine, cost.step_us, cost.engine == "eager") for cost in of.costs]
        for of in study.programs
    }
    step = Picture(
        bars_svg(bars, unit="microseconds a step"), "Microseconds a step of each engine and program"
    )
    grown = Picture(draw_lines(panel), told)
    return Section(
        "graphs", [sizes, compiled, costs, step, control, growth, grown, *others], verdict
    )


def _frameworks(study: FrameworkStudy) -> Section:
    verdict = Verdict("agrees", "ok") if study.agrees else Verdict("differs", "differs")
    bars = [
        _bar(row.program, row.timing.step_us, row.status == "reference")
        for row in study.rows
        if row.timing is not None
    ]
    blocks: list[Block] = [*framework_tables(study)]
    if bars:
        svg = bars_svg({"mlp": bars}, unit="microseconds a step")
        blocks.insert(2, Picture(svg, f"Microseconds a step of {len(bars)} programs"))
    codes = [Code(row.source, row.title, "Python") for row in study.rows]
    blocks += [Columns(codes[start : start + 2]) for start in range(0, len(codes), 2)]
    return Section("frameworks", blocks, verdict)


def _curves(result: ProgramResult) -> list[Picture]:
    names = [row.engine for row in result.rows]
    steps = range(1, result.steps + 1)
    losses = [
        Curve(row.engine, steps[: len(row.losses)], row.losses) for row in result.rows if row.losses
    ]
    log = all(value > 0 for curve in losses for value in curve.values)
    panel = Panel("Loss", "loss", losses, log=log)
    told = f"The loss of {len(losses)} engines over {result.steps} steps, {result.program}"
    pictures = [Picture(draw_lines(panel, names=names), told)]
    for what in ("loss", "gradients", "weights"):
        curves = [
            Curve(row.engine, steps, getattr(row.differences, what), getattr(row.tolerance, what))
            for row in result.rows
            if row.parity is not None
        ]
        title = f"Difference of {what} from {result.reference}"
        panel = Panel(title, "max|d| / max|a|", curves, log=True, zero="same bits")
        pictures.append(Picture(draw_lines(panel, names=names), f"{title}, {result.program}"))
    return pictures


def _bars(result: ProgramResult) -> Picture:
    bars = [
        _bar(row.engine, row.timing.step_us, row.engine == result.reference)
        for row in result.rows
        if row.timing is not None
    ]
    svg = bars_svg({result.program: bars}, unit="microseconds a step")
    return Picture(svg, f"Microseconds a step of {len(bars)} engines, {result.program}")


def _bar(name: str, spread: Spread, highlighted: bool) -> Bar:
    return Bar(name, spread.median, spread.p10, spread.p90, highlighted=highlighted)
