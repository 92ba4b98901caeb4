"""The tables of a comparison, for the terminal and for the report alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tfapp.compare.notes import ROWS
from tfapp.compare.notes.checks import CLOSED_FORM, MEASURED, NUMPY, PRINTED, RELATION
from tfapp.compare.parity import Deviation, Tolerance
from tfapp.compare.results import WRONG, ProgramResult, Row
from tfapp.report.page import Table, Verdict

if TYPE_CHECKING:
    from tfapp.compare.notes import Check, NoteResult
    from tfapp.timing.slices import Spread

Cell = str | Verdict

_NUMBERS = ("ulps", "steps/s", "rank", "build s")


def program_title(result: ProgramResult) -> str:
    """Returns what was computed, for how many steps, from which loss to which."""
    steps = f"{result.steps:,} step{'s' if result.steps > 1 else ''}"
    losses = f"loss {result.first_loss:.8g}"
    if result.steps > 1:
        losses += f" to {result.last_loss:.8g}"
    return f"{result.about}; {steps}, {losses}"


def program_table(result: ProgramResult) -> Table:
    """Returns an engine a row: how far it is from the reference, and, if it was timed, how fast."""
    columns = ["engine", "verdict", "loss", "ulps", "gradients", "weights"]
    rows = [[row.engine, *_parity_cells(row)] for row in result.rows]
    if any(row.graph for row in result.rows):
        columns += ["graph"]
        rows = [[*cells, _graph_cell(row)] for cells, row in zip(rows, result.rows, strict=True)]
    if any(row.timing for row in result.rows):
        columns += ["steps/s", f"x {result.reference}", "rank", "build s"]
        rows = [cells + _timing_cells(row) for cells, row in zip(rows, result.rows, strict=True)]
    return Table(
        columns,
        rows,
        f"{result.program}: {program_title(result)}",
        numeric=(*_NUMBERS, f"x {result.reference}"),
        notes=[
            *(f"{row.engine}: {row.detail}." for row in result.rows if row.status == "cannot"),
            *(f"{', '.join(names)}: {reason}" for reason, names in reasons(result).items()),
        ],
    )


def reasons(result: ProgramResult) -> dict[str, list[str]]:
    """Returns why engines may differ and by how much, each reason once, for those that do."""
    found: dict[str, list[str]] = {}
    for row in result.rows:
        if row.tolerance is None or row.parity is None or row.parity.same_bits:
            continue
        if not row.tolerance.bits:
            text = f"{row.tolerance.reason} Allowed {tolerance_text(row.tolerance)}."
            found.setdefault(text, []).append(row.engine)
    return found


def tolerance_text(tolerance: Tolerance) -> str:
    """Returns what is allowed of loss, gradients and weights."""
    return f"{tolerance.loss:g} / {tolerance.gradients:g} / {tolerance.weights:g}"


def notes_table(notes: Sequence[NoteResult]) -> Table:
    """Returns a row for each program of the notes, with one of its checks."""
    return Table(
        ("#", "program", "verdict", "written for", "printed", "checked", "expected", "found"),
        [_note_cells(note) for note in notes],
        "notes: every program of the course notes, and one of its checks",
        numeric=("#", "checked"),
        notes=[f"{note.number}: {note.detail}" for note in notes if note.status != "reproduced"],
    )


def checks_table(note: NoteResult) -> Table:
    """Returns a row for each check of one program of the notes."""
    return Table(
        ("what", "verdict", "expected", "found", "from"),
        [
            (c.name, _verdict(c.holds, "holds", "DOES NOT"), c.expected, c.found, c.origin)
            for c in note.checks
        ],
        f"{note.number}. {note.title} [{note.source}]",
    )


def spread_text(spread: Spread) -> str:
    """Writes median and the interval from p10 to p90."""
    return f"{_short(spread.median)} [{_short(spread.p10)}, {_short(spread.p90)}]"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _verdict(holds: bool, yes: str, no: str) -> Verdict:
    return Verdict(yes, "ok") if holds else Verdict(no, "differs")


def _note_cells(note: NoteResult) -> list[Cell]:
    held = sum(check.holds for check in note.checks)
    shown = _telling(note.checks)
    return [
        str(note.number),
        note.title,
        _NOTE_VERDICTS.get(note.status) or Verdict(note.status, "missing"),
        note.framework,
        ROWS[note.number].printed,
        f"{held}/{len(note.checks)}" if note.checks else "",
        "" if shown is None else f"{shown.name}: {shown.expected}",
        "" if shown is None else shown.found,
    ]


def _telling(checks: Sequence[Check]) -> Check | None:
    """Returns the check that says most: one that fails, else by where its number comes from."""
    wrong = [check for check in checks if not check.holds]
    if wrong:
        return wrong[0]
    for origin in _TELLING:
        if found := [check for check in checks if check.origin == origin]:
            return found[-1]
    return None


_TELLING = (PRINTED, MEASURED, CLOSED_FORM, NUMPY, RELATION)


_NOTE_VERDICTS: Mapping[str, Verdict] = {
    "reproduced": Verdict("reproduced", "ok"),
    "differs": Verdict("DIFFERS", "differs"),
}


def _parity_cells(row: Row) -> list[Cell]:
    if row.parity is None:
        verdict = Verdict("FAILED", "differs") if row.status in WRONG else _not_compared(row)
        return [verdict, "", "", "", ""]
    parity = row.parity
    inside = "same bits" if parity.same_bits else "inside"
    return [
        _verdict(row.status not in WRONG, inside, "OUTSIDE"),
        deviation_text(parity.loss),
        "NaN" if parity.ulps is None else f"{parity.ulps:,}",
        deviation_text(parity.gradients),
        deviation_text(parity.weights),
    ]


def _not_compared(row: Row) -> Cell:
    if row.status == "reference":
        return row.status
    return Verdict(row.detail if row.status == "missing" else row.status, "missing")


def _graph_cell(row: Row) -> str:
    return "" if row.graph is None else f"{row.graph.built:,} -> {row.graph.run:,}"


def _timing_cells(row: Row) -> list[Cell]:
    timing = row.timing
    if timing is None:
        return ["", "", "", ""]
    return [
        _short(timing.steps_a_second),
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
