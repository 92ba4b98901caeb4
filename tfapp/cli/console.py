"""The one place that prints: results on stdout, everything else on stderr."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from tfapp.errors import storage_errors

SCHEMA_VERSION = 1


def print_json(result: Any) -> None:
    """Prints a dataclass or a mapping as one line of JSON with `schema_version`."""
    plain = dataclasses.is_dataclass(result) and not isinstance(result, type)
    content = dataclasses.asdict(result) if plain else result
    click.echo(json.dumps({"schema_version": SCHEMA_VERSION} | content, default=_plain))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str | None = None
) -> None:
    """Prints a table as wide as the terminal allows; numbers to the right."""
    rows = [[format_value(value) for value in row] for row in rows]
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for index, column in enumerate(columns):
        numeric = all(_is_number(row[index]) for row in rows) and bool(rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    stdout().print(table)


def print_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Prints rows as CSV with a header; missing values are empty."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)


def print_pairs(pairs: Iterable[tuple[str, Any]]) -> None:
    """Prints `name  value` lines with the values in one column."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, format_value(value))
    stdout().print(table)


def say(text: str, *, quiet: bool = False) -> None:
    """Prints a line for people on stderr, unless they asked for quiet."""
    if not quiet:
        click.echo(text, err=True)


def check_writable(path: Path) -> None:
    """Refuses now what would be refused after minutes of measuring.

    Raises:
        StorageError: No file can be made in the folder of `path`.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()


def format_value(value: Any) -> str:
    """Returns a value as tables show it: numbers to six digits, nothing as `-`."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def stdout() -> Console:
    """Returns a console on stdout; a pipe gets plain text of full width."""
    console = Console(highlight=False, markup=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = 200
    return console


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", ""))
    except ValueError:
        return text in ("-", "")
    return True


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
