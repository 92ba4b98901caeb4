"""True labels in a file of examples, where it has any: shown beside predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfapp.data.arrays import load_arrays
from tfapp.data.splits import DataInfo
from tfapp.data.tables import parse_number, read_table

_FEATURES = {"x": ("y", "labels"), "features": ("y", "labels"), "x_test": ("y_test",)}


def read_labels(path: Path, info: DataInfo) -> list[Any] | None:
    """Returns the true class index or number of each example in a file that `read_examples` took.

    Args:
        path: The file; images have no labels.
        info: What the model was trained on.

    Returns:
        One entry an example, `None` where it is not a class or a number; `None` as a whole
        where the file holds no labels.
    """
    values: Sequence[Any] | npt.NDArray[Any] | None
    suffix = path.suffix.lower()
    if suffix == ".npz":
        values = _array(path, info.label)
    elif suffix == ".csv":
        values = _column(path, info)
    else:
        values = None
    return None if values is None else [_settle(value, info) for value in values]


def _array(path: Path, label: str | None) -> npt.NDArray[Any] | None:
    arrays = load_arrays(path)
    for features, names in _FEATURES.items():
        if features in arrays:
            found = [arrays[n] for n in (label, *names) if n is not None and n in arrays]
            fits = found and found[0].size == len(found[0]) == len(arrays[features])
            return found[0].reshape(-1) if fits else None
    return None


def _column(path: Path, info: DataInfo) -> list[str] | None:
    name = info.label or "label"
    if any(column.name == name for column in info.columns or ()):
        return None  # an input of a served model, which does not tell what the labels are called
    return read_table(path).cells.get(name)


def _settle(value: Any, info: DataInfo) -> Any:
    text = str(value).strip()
    number = parse_number(text)
    if info.task == "regression":
        return number
    if text in info.classes:
        return info.classes.index(text)
    if number is None or number != np.floor(number):
        return None
    named = str(int(number))
    if named in info.classes:
        return info.classes.index(named)
    # Integers stand for the classes themselves where these have names of their own.
    numeric = any(name.lstrip("-").isdecimal() for name in info.classes)
    return int(number) if not numeric and 0 <= number < len(info.classes) else None
