"""A few real examples that a run keeps beside its weights.

An export is checked on them on any machine, the data at hand or not, and they show what the
model takes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tfapp.data import first_examples
from tfapp.data.splits import Split
from tfapp.errors import MissingError
from tfapp.runs import Run, write_whole

FILE = "samples.npz"
EXAMPLES = 64


@dataclass(frozen=True)
class Samples:
    """Examples of the validation split.

    Attributes:
        features: `[N, *feature_shape]` raw features, N at most `EXAMPLES`.
        labels: `[N]` class indices or targets.
    """

    features: npt.NDArray[Any]
    labels: npt.NDArray[Any]


def keep_samples(run: Run, split: Split) -> None:
    """Writes the first examples of a split into the run."""
    features, labels = first_examples(split, EXAMPLES)
    packed = io.BytesIO()
    np.savez_compressed(packed, x=features.numpy(), y=labels.numpy())
    write_whole(run.path / FILE, packed.getvalue())


def read_samples(run: Run) -> Samples:
    """Reads what `keep_samples` wrote.

    Raises:
        MissingError: The file is not there or damaged.
    """
    try:
        with np.load(run.path / FILE, allow_pickle=False) as arrays:
            return Samples(arrays["x"], arrays["y"])
    except (OSError, ValueError, KeyError) as error:
        raise MissingError(
            f"{run.path / FILE} cannot be read ({error}); it holds the examples that an export is"
            " checked on. Restore it from a copy, or train again."
        ) from error
