"""Reads `.npz`: `x_train`, `y_train`, `x_test`, `y_test` like Keras's `mnist.npz`, or one pair.

One pair is `x` or `features` with `y` or `labels`; `data.label` names another label array. The
splits `x_val`, `y_val` and `x_test`, `y_test` may be absent.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfapp.data.raw import RawData, RawPart, indexed, reading
from tfapp.errors import DataError, UnknownName, reason_of

PARTS = {"train": "train", "validation": "val", "test": "test"}

Arrays = dict[str, npt.NDArray[Any]]

ALLOWED = (
    "either x_train and y_train (with x_val, y_val, x_test, y_test where there are such splits),"
    " or x or features with y or labels"
)


def read_npz(path: Path, label: str | None) -> RawData:
    """Returns the examples of an `.npz` file.

    Args:
        path: The file.
        label: Name of the label array; `None`: by the names above.

    Raises:
        MissingError: The file is not there.
        UnknownName: No array is called `label`.
        DataError: The file is damaged, or its arrays do not fit together.
    """
    arrays = load_arrays(path)
    if label is not None and label not in arrays:
        raise UnknownName(f"array in {path}", label, arrays)
    if label is None and "x_train" in arrays:
        found = {name: key for name, key in PARTS.items() if f"x_{key}" in arrays}
        return RawData({n: _part(path, arrays, f"x_{k}", f"y_{k}") for n, k in found.items()})
    features = pick_features(path, arrays)
    labels = label or next((name for name in ("y", "labels") if name in arrays), "y")
    return RawData({"train": _part(path, arrays, features, labels)}, label=labels)


def load_arrays(path: Path) -> Arrays:
    """Returns all arrays of an `.npz` file; objects are refused, because they can run code."""
    try:
        with reading(path), np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        # NumPy takes whatever it does not know for pickled objects and tells how to load them.
        objects = "it is no .npz file, or holds Python objects, which may run code when loaded"
        reason = objects if "pickle" in str(error) else reason_of(error)
        raise DataError(
            f"{path} cannot be read as .npz: {reason}. Write it with numpy.savez, with arrays of"
            " numbers or texts."
        ) from error


def pick_features(path: Path, arrays: Arrays) -> str:
    """Returns the name of the feature array of a file with one pair."""
    for name in ("x", "features"):
        if name in arrays:
            return name
    raise _none_fit(path, arrays)


def as_features(values: npt.NDArray[Any], where: str) -> npt.NDArray[Any]:
    """Returns features as uint8 or float32, `[N, ...]` with at least one axis after N.

    Grey images `[N, H, W]` of bytes get a channel: `[N, H, W, 1]`.

    Raises:
        DataError: The array holds no numbers.
    """
    if values.dtype.kind not in "buif" or values.ndim == 0:
        raise DataError(
            f"{where} is an array of {values.dtype}, shape {list(values.shape)}; features must be"
            " numbers, one row an example."
        )
    features = values if values.dtype == np.uint8 else values.astype(np.float32)
    if features.ndim == 1 or (features.ndim == 3 and features.dtype == np.uint8):
        return features[..., np.newaxis]
    return features


def _part(path: Path, arrays: Arrays, features: str, labels: str) -> RawPart:
    if features not in arrays or labels not in arrays:
        raise _none_fit(path, arrays)
    return RawPart(
        as_features(arrays[features], f"{path}: {features}"),
        as_labels(arrays[labels], f"{path}: {labels}"),
        indexed(f"{path}: {features}"),
        indexed(f"{path}: {labels}"),
    )


def as_labels(values: npt.NDArray[Any], where: str) -> npt.NDArray[Any]:
    """Returns labels as `[N]`; a second axis of length 1 is dropped.

    Raises:
        DataError: There is more than one label an example, or they are neither numbers nor texts.
    """
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1 or values.dtype.kind not in "buifUS":
        raise DataError(
            f"{where} is an array of {values.dtype}, shape {list(values.shape)}; labels must be"
            " one number or text an example. For one-hot labels, give their argmax."
        )
    if values.dtype.kind == "S":
        return np.char.decode(values, "utf-8")
    return values.astype(np.int64) if values.dtype.kind in "bui" else values


def _none_fit(path: Path, arrays: Arrays) -> DataError:
    found = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items()) or "none"
    return DataError(
        f"{path} holds the arrays {found}; needed are {ALLOWED}. Name another label array with"
        " data.label."
    )
