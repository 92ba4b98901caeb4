"""Every program of the course notes, run again and compared with what it must give.

    from tfapp.compare.notes import reproduce_notes

    for result in reproduce_notes([2, 24, 25, 26]):
        print(result.number, result.title, result.status)

`rows` is the inventory and imports nothing heavy. Each row names a function that runs the program
and writes down checks; `reproduce_notes` calls it and says what came of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfapp.lazy import lazy_names

if TYPE_CHECKING:
    from tfapp.compare.notes.checks import Check as Check
    from tfapp.compare.notes.checks import NoteResult as NoteResult
    from tfapp.compare.notes.reproduce import reproduce_notes as reproduce_notes
    from tfapp.compare.notes.rows import ROWS as ROWS
    from tfapp.compare.notes.rows import NoteRow as NoteRow
    from tfapp.compare.notes.rows import find_rows as find_rows

_MODULES = {
    "checks": ("Check", "NoteResult"),
    "reproduce": ("reproduce_notes",),
    "rows": ("NoteRow", "ROWS", "find_rows"),
}

__getattr__, __all__ = lazy_names(__name__, _MODULES)


def __dir__() -> list[str]:
    return __all__
