"""Examples to predict for, in the form the model was trained on.

N is the number of examples and `feature_shape` the shape of one, as in `DataInfo`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfapp.data.arrays import as_features, load_arrays
from tfapp.data.image_files import SUFFIXES, decode_file
from tfapp.data.raw import in_float32
from tfapp.data.splits import Column, DataInfo
from tfapp.data.tables import parse_number, read_table
from tfapp.errors import DataError, did_you_mean

Row = Mapping[str, Any] | Sequence[Any]


def encode_rows(rows: Sequence[Row], info: DataInfo, where: str) -> npt.NDArray[Any]:
    """Returns raw features for rows as JSON or CSV hold them.

    Args:
        rows: Dictionaries from column name to value, or lists of values in the order of the
            columns (nested lists for images).
        info: What the model was trained on.
        where: The origin of the rows, for error messages, e.g. `input.json`.

    Returns:
        `[N, *feature_shape]` of `info.feature_dtype`; texts as their codes, unknown ones as 0.

    Raises:
        DataError: A row lacks a column, or a value does not fit; the message names row and column.
    """
    if not rows:
        raise DataError(f"{where} holds no examples; give at least one.")
    columns = info.columns
    if columns is None and len(info.feature_shape) == 1 and not isinstance(rows[0], Mapping):
        columns = tuple(Column(str(index)) for index in range(info.feature_shape[0]))
    if columns is None:
        encoded = [_encode_array(row, info, f"{where}, row {n}") for n, row in enumerate(rows, 1)]
    else:
        encoded = [
            np.array(_encode_cells(row, columns, f"{where}, row {n}"), _cell_type(columns))
            for n, row in enumerate(rows, 1)
        ]
    return _as_raw(np.stack(encoded), info, where)


def read_examples(
    path: Path, info: DataInfo, image_size: tuple[int, int] | None = None
) -> npt.NDArray[Any]:
    """Returns the raw features in a file: an image, an `.npz` or a `.csv`.

    Args:
        path: The file. A `.csv` may hold other columns too, e.g. the label; an `.npz` holds
            `x`, `features` or `x_test`, or one array only.
        info: What the model was trained on.
        image_size: Height and width images are resized to; as in the config of the run.

    Returns:
        `[N, *feature_shape]` of `info.feature_dtype`.

    Raises:
        MissingError: The file is not there.
        DataError: It does not hold what the model was trained on.
    """
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return _read_image(path, info, image_size)
    if suffix == ".csv":
        return _read_csv(path, info)
    if suffix == ".npz":
        return _read_npz(path, info)
    raise DataError(
        f"{path}: examples are read from .csv, .json, .npz, {', '.join(SUFFIXES)}, not from"
        f" {suffix or 'files without suffix'}."
    )


def _read_image(path: Path, info: DataInfo, size: tuple[int, int] | None) -> npt.NDArray[Any]:
    if len(info.feature_shape) != 3 or info.feature_shape[2] not in (1, 3):
        raise DataError(
            f"{path} is an image, but the model was trained on examples of shape"
            f" {list(info.feature_shape)}."
        )
    height, width, channels = info.feature_shape
    image = decode_file(path, channels, size)
    if image.shape != info.feature_shape:
        raise DataError(
            f"{path} is {image.shape[0]}x{image.shape[1]} (height x width), but the model was"
            f" trained on {height}x{width}. Resize it, or train with"
            f" data.image_size=[{height},{width}]."
        )
    return image[np.newaxis].astype(info.feature_dtype)


def _read_csv(path: Path, info: DataInfo) -> npt.NDArray[Any]:
    table = read_table(path)
    if info.columns is None:
        names = [name for name in table.header if name != "label"]
        if info.feature_shape != (len(names),):
            raise DataError(
                f"{path} has {len(names)} feature columns, but the model was trained on examples"
                f" of shape {list(info.feature_shape)}."
            )
        columns: tuple[Column, ...] = tuple(Column(name) for name in names)
    else:
        columns = info.columns
    rows = zip(*table.cells.values(), strict=True)
    cells = (dict(zip(table.header, row, strict=True)) for row in rows)
    encoded = [_encode_cells(row, columns, table.at(n)) for n, row in enumerate(cells)]
    return _as_raw(np.array(encoded, _cell_type(columns)), info, str(path))


def _read_npz(path: Path, info: DataInfo) -> npt.NDArray[Any]:
    arrays = load_arrays(path)
    name = _pick_array(path, list(arrays))
    return _as_raw(as_features(arrays[name], f"{path}: {name}"), info, f"{path}: {name}")


def _pick_array(path: Path, found: list[str]) -> str:
    for name in ("x", "features", "x_test"):
        if name in found:
            return name
    if len(found) == 1:
        return found[0]
    raise DataError(
        f"{path} holds the arrays {', '.join(found) or 'none'}; needed is x, features or x_test,"
        " or a single array."
    )


def _cell_type(columns: tuple[Column, ...]) -> Any:
    return object if any(column.vocabulary == () for column in columns) else np.float64


def _encode_cells(row: Row, columns: tuple[Column, ...], where: str) -> list[float | str]:
    if isinstance(row, Mapping):
        missing = [column.name for column in columns if column.name not in row]
        if missing:
            near = did_you_mean(missing[0], [str(key) for key in row])
            raise DataError(
                f"{where}: no column {missing[0]!r}.{near} Found: {', '.join(map(str, row))}."
            )
        values = [row[column.name] for column in columns]
    elif isinstance(row, str) or not isinstance(row, Sequence) or len(row) != len(columns):
        count = len(row) if isinstance(row, Sequence) and not isinstance(row, str) else 1
        raise DataError(f"{where}: {count} values, but the model has {len(columns)} columns.")
    else:
        values = list(row)
    return [_encode_cell(v, c, where) for v, c in zip(values, columns, strict=True)]


def _encode_cell(value: Any, column: Column, where: str) -> float | str:
    if column.vocabulary is not None:
        text = str(value).strip()
        if text in column.vocabulary:
            return column.vocabulary.index(text) + 1.0
        if value is not None and not isinstance(value, str):
            raise DataError(f"{where}, column {column.name!r}: expected a text, found {value!r}.")
        if column.vocabulary == ():
            return "" if value is None else text
        return 0.0
    number = parse_number(value) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not in_float32(number):
        raise DataError(f"{where}, column {column.name!r}: expected a number, found {value!r}.")
    return float(number)


def _encode_array(row: Row, info: DataInfo, where: str) -> npt.NDArray[Any]:
    expected = f"expected numbers of shape {list(info.feature_shape)}"
    if isinstance(row, Mapping):
        raise DataError(f"{where}: {expected}, found named values; give a list.")
    try:
        values = np.asarray(row, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {expected}; {error}.") from error
    if values.shape != info.feature_shape:
        raise DataError(f"{where}: {expected}, found {list(values.shape)}.")
    return values


def _as_raw(values: npt.NDArray[Any], info: DataInfo, where: str) -> npt.NDArray[Any]:
    """Checks `[N, ...]` values against `info`, and casts them to its type."""
    if values.shape[1:] != info.feature_shape:
        raise DataError(
            f"{where} holds examples of shape {list(values.shape[1:])}, but the model was trained"
            f" on {list(info.feature_shape)}."
        )
    if values.dtype == object:  # texts and numbers, each looked at before
        return values
    bad = np.argwhere(~in_float32(values))
    if len(bad):
        raise DataError(
            f"{where}, row {bad[0][0] + 1}: the value is {values[tuple(bad[0])]};"
            f" {len(bad)} values are not finite in float32."
        )
    whole = (values >= 0) & (values <= 255) & (values == np.floor(values))
    if info.feature_dtype == "uint8" and not whole.all():
        worst = values[tuple(np.argwhere(~whole)[0])]
        raise DataError(
            f"{where}: found {worst}, but the model was trained on whole numbers from 0 to 255."
        )
    return values.astype(info.feature_dtype)
