"""Reads `.csv`: a header row, then one example a line, separated by commas, UTF-8.

A column is a number column when more than half of its filled cells are numbers. So one stray text
in a column of numbers is reported with its line, instead of turning the column into texts.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfapp.data.raw import RawData, RawPart, in_float32, reading
from tfapp.data.splits import Column
from tfapp.errors import DataError, UnknownName


@dataclass(frozen=True)
class Table:
    """The cells of a CSV file.

    Attributes:
        path: The file.
        header: Column names.
        cells: One list of texts for each column.
        lines: Line number of each row in the file, counted from 1.
    """

    path: Path
    header: tuple[str, ...]
    cells: dict[str, list[str]]
    lines: list[int]

    def at(self, row: int) -> str:
        """Names a row for an error message."""
        return f"{self.path}, line {self.lines[row]}"


def read_csv(path: Path, label: str | None, classes: Sequence[str] | None) -> RawData:
    """Returns the examples of a CSV file.

    Args:
        path: The file.
        label: Name of the label column; `None`: the column `label`, else the last.
        classes: When every label is one of these names, labels are texts even if they look like
            numbers.

    Raises:
        MissingError: The file is not there.
        UnknownName: No column is called `label`.
        DataError: The file cannot be used; the message names line and column.
    """
    table = read_table(path)
    if len(table.header) < 2:
        raise DataError(
            f"{path} has one column only, {table.header[0]!r}; a table needs at least one column"
            " of features and one of labels, separated by commas."
        )
    label_column = pick_label(path, table.header, label)
    names = [name for name in table.header if name != label_column]
    columns, values = zip(*(_parse_column(table, name) for name in names), strict=True)
    features = np.column_stack(values).astype(np.float32)
    labels = _parse_labels(table, label_column, classes)
    part = RawPart(features, labels, table.at, table.at)
    return RawData({"train": part}, columns=tuple(columns), label=label_column)


def read_table(path: Path) -> Table:
    """Returns the cells of a CSV file, after checking its form.

    Raises:
        MissingError: The file is not there.
        DataError: It is empty, not UTF-8, has no header, or a row of another length.
    """
    try:
        with reading(path), path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, row) for row in reader if row]
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error.reason}); save it as UTF-8.") from error
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as CSV: {error}.") from error
    if not rows:
        raise DataError(f"{path} is empty; a table needs a header row and one row an example.")
    header = _check_header(path, rows[0][1])
    if len(rows) == 1:
        raise DataError(f"{path} has a header row but no examples; add one row for each example.")
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise DataError(
                f"{path}, line {line}: {len(row)} cells, but the header names {len(header)}"
                " columns. Quote cells that hold commas."
            )
    columns = zip(*(row for _, row in rows[1:]), strict=True)
    cells = {name: list(column) for name, column in zip(header, columns, strict=True)}
    return Table(path, header, cells, [line for line, _ in rows[1:]])


def pick_label(path: Path, header: Sequence[str], label: str | None) -> str:
    """Returns the name of the label column."""
    if label is None:
        return "label" if "label" in header else header[-1]
    if label not in header:
        raise UnknownName(
            f"column in {path}", label, header, "Name the label column with data.label."
        )
    return label


def parse_number(text: str) -> float | None:
    """Returns the number `text` holds, or `None`; `nan` and `inf` are numbers here."""
    if "_" in text:  # Python's own literals allow it, tables do not
        return None
    try:
        return float(text)
    except ValueError:
        return None


def _check_header(path: Path, cells: list[str]) -> tuple[str, ...]:
    header = tuple(cell.strip() for cell in cells)
    if all(parse_number(cell) is not None for cell in header):
        raise DataError(
            f"{path}, line 1: {','.join(header[:4])}... are numbers, but the first row must name"
            " the columns; add a header row."
        )
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        raise DataError(f"{path}, line 1: no commas were found; separate the columns by commas.")
    doubled = [name for name in header if header.count(name) > 1]
    if doubled or "" in header:
        what = f"two columns are named {doubled[0]!r}" if doubled else "a column has no name"
        raise DataError(f"{path}, line 1: {what}; give each column a name of its own.")
    return header


def is_number_column(cells: Sequence[str]) -> bool:
    """Tells whether more than half of the filled cells are numbers."""
    filled = [cell for cell in cells if cell.strip()]
    return 2 * sum(parse_number(cell) is not None for cell in filled) > len(filled)


def parse_numbers(table: Table, name: str) -> npt.NDArray[np.float64]:
    """Returns a number column, `[N]`; refuses cells that are empty, texts, or not finite."""
    numbers = [parse_number(cell) for cell in table.cells[name]]
    bad = [r for r, value in enumerate(numbers) if value is None or not in_float32(value)]
    if bad:
        cell = table.cells[name][bad[0]]
        kind = "number that is not finite in float32" if numbers[bad[0]] is not None else "text"
        found = f"the {kind} {cell!r}" if cell.strip() else "an empty cell"
        raise DataError(
            f"{table.at(bad[0])}, column {name!r}: {found} in a column of numbers"
            f" ({_cells(len(bad))} like it). Fill in a number or remove the row."
        )
    return np.array(numbers, np.float64)


def parse_texts(table: Table, name: str) -> npt.NDArray[Any]:
    """Returns a text column without outer blanks, `[N]`; refuses empty cells."""
    texts = [cell.strip() for cell in table.cells[name]]
    empty = [row for row, text in enumerate(texts) if not text]
    if empty:
        raise DataError(
            f"{table.at(empty[0])}, column {name!r}: an empty cell ({_cells(len(empty))} like it)."
            " Fill it in or remove the row."
        )
    return np.array(texts)


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def _parse_column(table: Table, name: str) -> tuple[Column, npt.NDArray[Any]]:
    if is_number_column(table.cells[name]):
        return Column(name), parse_numbers(table, name)
    vocabulary, codes = np.unique(parse_texts(table, name), return_inverse=True)
    return Column(name, tuple(vocabulary.tolist())), codes + 1


def _parse_labels(table: Table, name: str, classes: Sequence[str] | None) -> npt.NDArray[Any]:
    cells = table.cells[name]
    named = classes is not None and {cell.strip() for cell in cells} <= set(classes)
    if is_number_column(cells) and not named:
        return parse_numbers(table, name)
    return parse_texts(table, name)
