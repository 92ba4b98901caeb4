"""What a source hands over before its labels, splits and vocabularies are settled.

Every reader (`csv`, `.npz`, images, IDX, TFDS, synthetic) gives a `RawData`; `assembly` turns it
into `Splits` by one set of rules. N is the number of examples of a part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfapp.data.splits import Column, Task
from tfapp.errors import DataError, MissingError

Locate = Callable[[int], str]


@dataclass(frozen=True)
class RawPart:
    """One split as the source stores it.

    Attributes:
        features: `[N, *feature_shape]` uint8 or float32, or `[N]` file names.
        labels: `[N]` texts, integers or floating-point numbers.
        features_at: Names example i for an error message, e.g. `x.npz: x_train[3]`.
        labels_at: Names the label of example i.
    """

    features: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    features_at: Locate
    labels_at: Locate


@dataclass(frozen=True)
class RawImages:
    """How file names become images: `[B]` texts to `[B, *shape]` uint8, inside a graph."""

    load: Callable[[Any], Any]
    shape: tuple[int, int, int]
    root: Path


@dataclass(frozen=True)
class RawData:
    """All parts of a source.

    Attributes:
        parts: `train` always, `validation` and `test` only where the source has them.
        task: Set when the source itself decides what its labels are.
        class_names: Names of the integer labels 0, 1, ... when the source knows them.
        columns: Columns of a table; texts are coded by a vocabulary over all rows.
        images: Set when features are file names.
        label: Name of the label column or array, where the source has names.
    """

    parts: dict[str, RawPart]
    task: Task | None = None
    class_names: tuple[str, ...] | None = None
    columns: tuple[Column, ...] | None = None
    images: RawImages | None = None
    label: str | None = None

    @property
    def train(self) -> RawPart:
        """The training part."""
        return self.parts["train"]


def in_float32(value: Any) -> Any:
    """Tells of a number, or of each of an array, whether float32 holds it."""
    return abs(value) <= float(np.finfo(np.float32).max)


def indexed(where: str) -> Locate:
    """Returns a `Locate` that writes `where[i]`, counting from 0."""
    return lambda index: f"{where}[{index}]"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns the operating system's refusal to read `path` into one sentence.

    Raises:
        MissingError: The file is not there.
        DataError: It is there but may not be read.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise MissingError(f"no file or folder {path}") from error
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror or error}. Check its permissions with ls -l,"
            " or give a copy that you may read."
        ) from error
