"""Runs rows of the inventory and says of each what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from tfapp.compare.notes.checks import Check, NoteResult, Record, Status, describe
from tfapp.compare.notes.rows import NoteRow, find_rows

Watch = Callable[[NoteRow], None]


def reproduce_notes(
    numbers: Iterable[int] = (), *, watch: Watch = lambda row: None
) -> tuple[NoteResult, ...]:
    """Runs programs of the notes and compares them with what they must give.

    A row whose program raises, or whose framework is not installed, does not end the others.

    Args:
        numbers: Rows of the inventory; none for all.
        watch: Is told each row when it begins.

    Returns:
        A result each, in the order asked for.

    Raises:
        UsageError: A number is not in the inventory.
    """
    results = []
    for row in find_rows(numbers):
        watch(row)
        results.append(_reproduce(row))
    return tuple(results)


def _reproduce(row: NoteRow) -> NoteResult:
    if row.function is None:
        return _result(row, "no numbers", row.remark)
    if row.missing is not None:
        return _result(row, "not installed", row.missing)
    record, raised = Record(), ""
    start = time.perf_counter()
    try:
        row.load()(record)
    except Exception as error:  # whatever a program of the notes does, the next row is due
        raised = f"raised {describe(error)}"
    seconds = time.perf_counter() - start
    problem = raised or _problem(record.checks)
    if problem:
        return _result(row, "differs", problem, record.checks, seconds)
    return _result(row, "reproduced", row.remark, record.checks, seconds)


def _problem(checks: Sequence[Check]) -> str:
    """Says what does not hold; nothing if all does."""
    wrong = [check for check in checks if not check.holds]
    if not wrong:
        return ""
    first = wrong[0]
    return (
        f"{len(wrong)} of {len(checks)} checks do not hold, first {first.name}:"
        f" expected {first.expected}, found {first.found} ({first.origin})"
    )


def _result(
    row: NoteRow,
    status: Status,
    detail: str,
    checks: Iterable[Check] = (),
    seconds: float = 0.0,
) -> NoteResult:
    return NoteResult(
        number=row.number,
        source=row.source,
        title=row.title,
        framework=row.framework,
        status=status,
        checks=tuple(checks),
        detail=detail,
        seconds=seconds,
    )
