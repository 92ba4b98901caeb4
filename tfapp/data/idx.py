"""Reads a folder of IDX files, the format of MNIST: images and labels of bytes, `.gz` or not.

    train-images-idx3-ubyte.gz  train-labels-idx1-ubyte.gz      both needed
    t10k-images-idx3-ubyte.gz   t10k-labels-idx1-ubyte.gz       the test split, where there is one

Source: the header is described at the foot of Yann LeCun's MNIST page: two zero bytes, the type
(8: unsigned byte), the number of axes, then each axis as a big-endian 32-bit number.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfapp.data.raw import RawData, RawPart, indexed, reading
from tfapp.errors import DataError, MissingError

UNSIGNED_BYTE = 8


def find_idx(folder: Path, part: str, kind: str) -> Path | None:
    """Returns the file of `part` (`train`, `t10k`) and `kind` (`images`, `labels`), if any."""
    axes = {"images": 3, "labels": 1}[kind]
    for separator in "-.":
        for suffix in ("", ".gz"):
            path = folder / f"{part}-{kind}{separator}idx{axes}-ubyte{suffix}"
            if path.is_file():
                return path
    return None


def is_idx_folder(folder: Path) -> bool:
    """Tells whether any of the file names above is in `folder`."""
    kinds = ("images", "labels")
    return any(find_idx(folder, part, kind) for part in ("train", "t10k") for kind in kinds)


def read_idx(folder: Path) -> RawData:
    """Returns the images of a folder of IDX files, `[N, H, W, 1]` uint8.

    Raises:
        MissingError: One of the files that belong together is not there.
        DataError: A file is not IDX, is cut short, or images and labels differ in number.
    """
    parts = {"train": _read_part(folder, "train")}
    if any(find_idx(folder, "t10k", kind) for kind in ("images", "labels")):
        parts["test"] = _read_part(folder, "t10k")
    return RawData(parts)


def read_idx_file(path: Path) -> npt.NDArray[np.uint8]:
    """Returns the array in an IDX file of unsigned bytes.

    Raises:
        DataError: The header is not that of such a file, or its size differs from the header's.
    """
    data = _read_bytes(path)
    if len(data) < 4 or data[:3] != bytes([0, 0, UNSIGNED_BYTE]):
        raise DataError(
            f"{path} does not start like an IDX file of unsigned bytes: expected the bytes"
            f" 00 00 08, found {data[:3].hex(' ') or 'an empty file'}."
        )
    header = 4 + 4 * data[3]
    if len(data) < header:
        raise DataError(
            f"{path} ends inside its header: expected {header} bytes, found {len(data)}."
        )
    shape = struct.unpack(f">{data[3]}I", data[4:header])
    expected = header + math.prod(shape)
    if len(data) != expected:
        raise DataError(
            f"{path} does not fit its header {list(shape)}: expected {expected} bytes, found"
            f" {len(data)}. Fetch the file again; it was probably cut short."
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _read_bytes(path: Path) -> bytes:
    with reading(path):
        data = path.read_bytes()
    if path.suffix != ".gz":
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{path} cannot be unpacked: {error}. Fetch the file again; it was probably cut short."
        ) from error


def _read_part(folder: Path, part: str) -> RawPart:
    arrays: dict[str, npt.NDArray[Any]] = {}
    paths = {}
    for kind, axes in (("images", 3), ("labels", 1)):
        path = find_idx(folder, part, kind)
        if path is None:
            raise MissingError(
                f"{folder} has no {part}-{kind}-idx{axes}-ubyte (.gz or not). A folder of IDX files"
                " has images and labels of each part."
            )
        paths[kind], arrays[kind] = path, read_idx_file(path)
        if arrays[kind].ndim != axes:
            raise DataError(f"{path} has {arrays[kind].ndim} axes; {kind} have {axes}.")
    if len(arrays["images"]) != len(arrays["labels"]):
        raise DataError(
            f"{paths['images']} holds {len(arrays['images'])} images, but {paths['labels']} holds"
            f" {len(arrays['labels'])} labels."
        )
    return RawPart(
        arrays["images"][..., np.newaxis],
        arrays["labels"].astype(np.int64),
        indexed(str(paths["images"])),
        indexed(str(paths["labels"])),
    )
