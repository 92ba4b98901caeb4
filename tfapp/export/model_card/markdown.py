"""Markdown that shows every text as it is, whatever a user has named a class or a column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

Rows = Sequence[tuple[str, object]]
Table = tuple[list[object], list[list[object]]]

_LINE_END = re.compile(r"\r\n|[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")
# An underscore inside a word is only an underscore.
_ESCAPED = re.compile(r"[\\`*\[\]#!|]|(?<![^\W_])_|_(?![^\W_])")
# Not every renderer takes a backslash before these.
_ENTITIES = {ord(c): f"&#{ord(c)};" for c in "~$"} | str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
)


class Markdown(str):
    """Text that is Markdown already; any other text is escaped before it is shown."""


def shown(value: object) -> Markdown:
    """Returns a value as the card shows it: text escaped, numbers to four digits."""
    if isinstance(value, Markdown):
        return value
    if isinstance(value, bool):
        return Markdown("yes" if value else "no")
    if isinstance(value, int):
        return Markdown(f"{value:,}")
    if isinstance(value, float):
        return Markdown(f"{value:.4g}")
    text = _ESCAPED.sub(r"\\\g<0>", _one_line(str(value)))
    return Markdown(text.translate(_ENTITIES))


def code(value: object) -> Markdown:
    """Returns one line of code."""
    text = _one_line(str(value)).replace("|", "\\|")  # a bar would end the cell of a table
    ticks = "`" * (_longest_ticks(text) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return Markdown(f"{ticks}{pad}{text}{pad}{ticks}")


def fenced(text: str, language: str = "") -> Markdown:
    """Returns a block of code."""
    fence = "`" * max(3, _longest_ticks(text) + 1)
    return Markdown(f"{fence}{language}\n{text}\n{fence}")


def listed(rows: Rows) -> Markdown:
    """Returns a list of `name: value`; a value of `None` has no line."""
    lines = (f"- **{name}**: {shown(value)}" for name, value in rows if value is not None)
    return Markdown("\n".join(lines))


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> Markdown:
    """Returns a table; columns of numbers are aligned to the right."""
    rows = list(rows)
    columns = [[row[place] for row in rows if row[place] != ""] for place in range(len(header))]
    numeric = [bool(c) and all(isinstance(cell, int | float) for cell in c) for c in columns]
    rule = ["---:" if right else "---" for right in numeric]
    body = [[shown(cell) for cell in row] for row in (header, *rows)]
    lines: list[Sequence[str]] = [body[0], rule, *body[1:]]
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in lines))


def joined(values: Iterable[object], by: str = ", ") -> Markdown:
    """Returns values side by side."""
    return Markdown(by.join(shown(value) for value in values))


def _one_line(text: str) -> str:
    text = _LINE_END.sub("↵", text)
    return "".join(
        c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text
    )


def _longest_ticks(text: str) -> int:
    return max((len(ticks) for ticks in re.findall("`+", text)), default=0)
