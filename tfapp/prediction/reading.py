"""From files and rows to the raw features that a model takes."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from tfapp.data import encode_rows, read_examples, read_labels
from tfapp.data.columns import input_names
from tfapp.data.splits import Column, DataInfo
from tfapp.data.tables import read_table
from tfapp.errors import DataError, MissingError

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Reading:
    """Reads what a model was trained on.

    Attributes:
        info: What it was trained on.
        image_size: What images are resized to: as its config says, or as a server demands.
    """

    info: DataInfo
    image_size: tuple[int, int] | None = None

    def rows(self, rows: Sequence[Any], where: str) -> Array:
        """Returns raw features `[N, *feature_shape]` of rows as JSON holds them.

        Raises:
            DataError: A row is not what the model was trained on.
        """
        return encode_rows(rows, self.info, where)

    def file(self, path: Path) -> tuple[Array, list[Any] | None]:
        """Returns the raw features in a file, and the true labels if it has any.

        Raises:
            MissingError: The file is not there.
            DataError: It does not hold what the model was trained on.
        """
        if path.suffix.lower() == ".json":
            try:
                rows = parse_rows(path.read_text(encoding="utf-8"), str(path))
            except FileNotFoundError as error:
                raise MissingError(f"no file {path} in {Path.cwd()}.") from error
            return self.rows(rows, str(path)), None
        return self._examples(path), read_labels(path, self.info)

    def _examples(self, path: Path) -> Array:
        return read_examples(path, self.info, self.image_size)


@dataclass(frozen=True)
class ArrayReading(Reading):
    """Reads examples for a model that is known by its one input alone, an array.

    A server does not tell what the columns are called, so those of a table could be taken in the
    order of the file only, which need not be that of the model.
    """

    def _examples(self, path: Path) -> Array:
        shape = self.info.feature_shape
        if path.suffix.lower() == ".csv" and len(shape) == 1 and shape[0] > 1:
            raise DataError(
                f"{path}: the model takes {shape[0]} numbers, and the server does not tell which"
                " column comes first; give an .npz or a .json with rows as lists in the order of"
                " the model, or name its run or SavedModel instead of the URL."
            )
        return super()._examples(path)


@dataclass(frozen=True)
class InputReading(Reading):
    """Reads tables for a model that is known by its named inputs alone, one for each column.

    A server does not tell their order, so rows are objects; a column is that of an input if it has
    the name of the input, or one that becomes it in an export. If two are, neither is taken: which
    of them the model was trained on is not known.
    """

    def rows(self, rows: Sequence[Any], where: str) -> Array:
        """See `Reading.rows`."""
        columns = [column.name for column in self.info.columns or ()]
        if len(columns) == 1:
            rows = [row if isinstance(row, Mapping) else {columns[0]: row} for row in rows]
        if wrong := [n for n, row in enumerate(rows, 1) if not isinstance(row, Mapping)]:
            raise DataError(
                f"{where}, row {wrong[0]}: the server does not tell the order of its inputs; give"
                f" an object with the keys {', '.join(columns)}."
            )
        inputs = dict.fromkeys(columns)  # a list is searched slowly
        named = [_by_input(row, inputs, f"{where}, row {n}") for n, row in enumerate(rows, 1)]
        return encode_rows(named, self.info, where)

    def _examples(self, path: Path) -> Array:
        if path.suffix.lower() != ".csv":
            raise DataError(
                f"{path}: the model takes the inputs"
                f" {', '.join(c.name for c in self.info.columns or ())}; give a .csv with a header"
                " or a .json with rows as objects."
            )
        table = read_table(path)
        cells = zip(*table.cells.values(), strict=True)
        return self.rows([dict(zip(table.header, row, strict=True)) for row in cells], str(path))


def _by_input(row: Mapping[Any, Any], inputs: Collection[str], where: str) -> dict[str, Any]:
    """Returns the values of a row by input, and those that are of no input as they are called.

    Each column is looked at by itself: next to others, `input_names` would give it another name,
    and give its own to one that the model does not have.
    """
    origins: dict[str, str] = {}
    values: dict[str, Any] = {}
    for column, value in ((str(key), value) for key, value in row.items()):
        name = column if column in inputs else input_names([Column(column)])[0]
        if name not in inputs:
            name = column
        elif name in origins:
            raise DataError(
                f"{where}: the columns {origins[name]!r} and {column!r} may both be the input"
                f" {name!r}; leave out what is none of the inputs {', '.join(inputs)}, or rename"
                " columns to these."
            )
        origins[name], values[name] = column, value
    return values


def parse_rows(text: str, where: str) -> list[Any]:
    """Returns the rows in JSON text: a list, or TensorFlow Serving's `{"instances": [...]}`.

    Raises:
        DataError: The text is something else.
    """
    if not text.strip():
        raise DataError(f"{where} is empty; expected JSON rows, e.g. [[5.1, 3.5, 1.4, 0.2]].")
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DataError(f"{where} is not JSON: {error}.") from error
    rows = content.get("instances") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise DataError(
            f'{where}: expected a list of rows or {{"instances": [...]}}, found'
            f" {type(content).__name__}."
        )
    return rows
