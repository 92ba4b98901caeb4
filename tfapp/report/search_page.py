"""A search as a part of a page: what it came to, how it went, what the score hangs on."""

from __future__ import annotations

from collections.abc import Sequence

from tfapp.report.importance import measure_importance
from tfapp.report.page import Block, Columns, Section, Table, Text, Verdict
from tfapp.report.search_figures import (
    Drawing,
    progress_drawings,
    rounds_drawings,
    scatter_drawings,
    values_drawings,
)
from tfapp.report.search_figures import draw_search as draw_search
from tfapp.report.search_tables import rounds_table, space_table, summary_table, trials_table
from tfapp.trials import Search


def search_sections(search: Search) -> list[Section]:
    """Returns a search as sections of a page; it may still be going on."""
    sections = [_summary(search)]
    if search.trials:
        sections += [_progress(search), _hyperparameters(search)]
        sections.append(Section("Trials", [trials_table(search)]))
    return [section for section in sections if section.blocks]


def _summary(search: Search) -> Section:
    blocks: list[Block] = [summary_table(search), space_table(search)]
    if not search.trials:
        blocks.append(Text("No trial has begun."))
    return Section("Search", blocks, _verdict(search))


def _progress(search: Search) -> Section:
    blocks: list[Block] = _columns(progress_drawings(search))
    if search.algorithm == "hyperband":
        blocks += _columns(rounds_drawings(search), rounds_table(search))
    return Section("Progress of the search", blocks)


def _hyperparameters(search: Search) -> Section:
    importance = measure_importance(search)
    unknown = f"How important each hyperparameter is cannot be told. {importance.problem}"
    blocks = _columns(
        values_drawings(search, importance), *([Text(unknown)] if importance.problem else ())
    )
    return Section("Hyperparameters", [*blocks, *_columns(scatter_drawings(search))])


def _verdict(search: Search) -> Verdict:
    if search.state in ("failed", "killed") or (search.state == "done" and search.best is None):
        return Verdict(search.state, "differs")
    return Verdict(search.state, "ok" if search.state == "done" else "missing")


def _columns(drawings: Sequence[Drawing], *others: Text | Table) -> list[Block]:
    blocks = [*(drawing.picture() for drawing in drawings), *others]
    return [Columns(blocks)] if blocks else []
