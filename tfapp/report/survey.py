"""What a run's data looks like: how many examples of each class, and some to be seen.

N is the number of examples of a split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfapp.data.splits import ArraySplit, DataInfo, Split, Splits
from tfapp.errors import MissingError
from tfapp.evaluation import SPLITS
from tfapp.runs import Run
from tfapp.training.samples import read_samples

_MOST = 40  # examples shown
_OF_CLASS = (4, 2, 1)  # of each: a row of four images has whole classes
_ROWS = 8  # of numbers, where there are no classes


@dataclass(frozen=True)
class Survey:
    """Examples of a run's data.

    Attributes:
        sizes: Examples of each split; empty if the data is not there.
        counts: `[K]` examples of each class, by split; empty for regression.
        split: Where the examples below come from.
        features: `[n, *feature_shape]` raw features.
        labels: `[n]` class indices, rising, or targets.
    """

    sizes: Mapping[str, int]
    counts: Mapping[str, tuple[int, ...]]
    split: str
    features: npt.NDArray[Any]
    labels: npt.NDArray[Any]


def survey_splits(splits: Splits) -> Survey:
    """Counts the classes of each split, and picks the first examples of each in training."""
    named: dict[str, Split] = {name: getattr(splits, name) for name in SPLITS}
    labels = {name: _labels(split) for name, split in named.items()}
    classes = len(splits.info.classes)
    counts = {
        name: tuple(int(count) for count in np.bincount(found, minlength=classes))
        for name, found in labels.items()
        if classes
    }
    places = _places(labels["train"], classes)
    return Survey(
        sizes={name: split.size for name, split in named.items()},
        counts=counts,
        split="train",
        features=examples_at(splits.train, places),
        labels=labels["train"][places],
    )


def survey_samples(run: Run, info: DataInfo) -> Survey | None:
    """Picks from the examples that a run keeps of its validation split; `None` if it has none."""
    try:
        samples = read_samples(run)
    except MissingError:
        return None
    places = _places(samples.labels, len(info.classes))
    return Survey({}, {}, "validation", samples.features[places], samples.labels[places])


def examples_at(split: Split, places: Sequence[int]) -> npt.NDArray[Any]:
    """Returns the raw features of examples, `[n, *feature_shape]`, by their places in a split."""
    if not places:
        return np.empty(0)
    if isinstance(split, ArraySplit):
        features = split.features[list(places)]
        loaded = features if split.load is None else split.load(tf.convert_to_tensor(features))
        return np.asarray(loaded)
    wanted = set(places)
    found: dict[int, Any] = {}
    stream = split.dataset.take(max(places) + 1)
    for place, (features, _) in enumerate(stream.as_numpy_iterator()):
        if place in wanted:
            found[place] = features
    return np.stack([found[place] for place in places])


def _labels(split: Split) -> npt.NDArray[Any]:
    if isinstance(split, ArraySplit):
        return split.labels
    labels = split.dataset.map(lambda _, label: label).batch(8192).as_numpy_iterator()
    return np.concatenate(list(labels))


def _places(labels: npt.NDArray[Any], classes: int) -> list[int]:
    """Returns where the first examples are: of each class, or of all if there are no classes."""
    if not classes:
        return list(range(min(_ROWS, len(labels))))
    each = next((count for count in _OF_CLASS if count * classes <= _MOST), 1)
    found = [np.flatnonzero(labels == index)[:each] for index in range(min(classes, _MOST))]
    return [int(place) for places in found for place in places]
