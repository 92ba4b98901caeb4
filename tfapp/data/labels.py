"""Decides what the labels of a source are, and turns them into class indices or targets.

The rules, in this order:

1. `data.task`, when it is not `auto`.
2. Texts, and numbers that the source stores as integers, are classes; so is everything when
   `data.classes` is given.
3. Whole numbers stored as floating point (every number of a CSV file is) are classes when they are
   few: at most 20 distinct values, and on average at least two examples for each.
4. All other numbers are targets of a regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tfapp.data.raw import RawData, RawPart
from tfapp.data.splits import Task
from tfapp.errors import DataError

MOST_CLASSES = 20

Labels = npt.NDArray[Any]


@dataclass(frozen=True)
class SettledLabels:
    """Labels as a model takes them.

    Attributes:
        task: What they are.
        classes: Class names in the order of their indices; empty for regression.
        by_part: `[N]` int32 class indices or float32 targets, by the name of the part.
    """

    task: Task
    classes: tuple[str, ...]
    by_part: dict[str, Labels]


def settle_labels(
    raw: RawData, task: str, classes: Sequence[str] | None, *, one_class: bool = False
) -> SettledLabels:
    """Returns the labels of every part under the rules above.

    Args:
        raw: What the source gave.
        task: `auto`, `classification` or `regression`.
        classes: Class names in order, when the user gave them.
        one_class: Whether all labels may be the same, as in examples to evaluate on.

    Raises:
        DataError: A label does not fit the task or the classes.
    """
    for part in raw.parts.values():
        _refuse_non_finite(part)
    decided = decide_task(raw.train.labels, (raw.task or task) if task == "auto" else task, classes)
    if decided == "regression":
        return SettledLabels(decided, (), {n: _targets(p) for n, p in raw.parts.items()})
    tokens = {name: _tokens(part) for name, part in raw.parts.items()}
    names, keys = name_classes(tokens["train"], raw.class_names, classes)
    inferred = classes is None and raw.class_names is None
    indices = {n: _indices(raw.parts[n], t, keys, names, inferred) for n, t in tokens.items()}
    if not one_class:
        _refuse_one_class(raw.train, indices["train"], names)
    return SettledLabels(decided, names, indices)


def decide_task(labels: Labels, task: str, classes: Sequence[str] | None = None) -> Task:
    """Returns the task of `[N]` labels under the rules above.

    Raises:
        DataError: `classes` are given for a regression.
    """
    if task == "regression":
        if classes is not None:
            raise DataError(
                "data.classes names classes, but data.task is 'regression';"
                " remove one of the two settings."
            )
        return "regression"
    if task == "classification" or classes is not None or labels.dtype.kind != "f":
        return "classification"
    distinct = np.unique(labels)
    whole = bool(np.all(distinct == np.floor(distinct)))
    few = len(distinct) <= MOST_CLASSES and 2 * len(distinct) <= len(labels)
    return "classification" if whole and few else "regression"


def name_classes(
    tokens: Labels, source_names: tuple[str, ...] | None, classes: Sequence[str] | None
) -> tuple[tuple[str, ...], Labels]:
    """Returns class names in order, and `[K]` label values that stand for them.

    Args:
        tokens: `[N]` training labels: texts or integers.
        source_names: Names of the integers 0, 1, ... if the source declares them.
        classes: Names in order, if the user gave them.
    """
    if classes is None and source_names is not None:
        return source_names, np.arange(len(source_names))
    if classes is None:
        values = np.unique(tokens)
        return tuple(str(value) for value in values), values
    names = tuple(classes)
    if len(set(names)) < max(2, len(names)):
        raise DataError(
            f"data.classes is {list(names)}: give at least two names, all of them different."
        )
    if source_names is not None and set(source_names) == set(names):
        return names, np.array([source_names.index(name) for name in names])
    if tokens.dtype.kind == "U":
        return names, np.array(names)
    if source_names is None and all(_is_integer(name) for name in names):
        return names, np.array([int(name) for name in names])
    return names, np.arange(len(names))


def _is_integer(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _refuse_non_finite(part: RawPart) -> None:
    if part.labels.dtype.kind != "f" or np.isfinite(part.labels).all():
        return
    rows = np.flatnonzero(~np.isfinite(part.labels))
    raise DataError(
        f"{part.labels_at(int(rows[0]))}: the label is {part.labels[rows[0]]};"
        f" {len(rows)} of {len(part.labels)} labels are not finite."
        " Correct these examples or remove them."
    )


def _targets(part: RawPart) -> Labels:
    if part.labels.dtype.kind == "U":
        raise DataError(
            f"{part.labels_at(0)}: the label is the text {str(part.labels[0])!r}, but data.task is"
            " 'regression', which needs numbers. Set data.task to 'classification', or name"
            " another column with data.label."
        )
    return part.labels.astype(np.float32)


def _tokens(part: RawPart) -> Labels:
    """Returns `[N]` labels as texts or int64; refuses fractions."""
    if part.labels.dtype.kind == "U":
        return part.labels
    if part.labels.dtype.kind == "f":
        rows = np.flatnonzero(part.labels != np.floor(part.labels))
        if len(rows):
            raise DataError(
                f"{part.labels_at(int(rows[0]))}: the label is {part.labels[rows[0]]}, but classes"
                " are whole numbers or texts. For numbers to be predicted, set data.task to"
                " 'regression' and remove data.classes."
            )
    return part.labels.astype(np.int64)


def _indices(
    part: RawPart, tokens: Labels, keys: Labels, names: tuple[str, ...], inferred: bool
) -> Labels:
    """Returns `[N]` int32 positions of `tokens` in `keys`."""
    order = np.argsort(keys)
    position = np.minimum(np.searchsorted(keys[order], tokens), len(keys) - 1)
    indices = order[position]
    strangers = np.flatnonzero(keys[indices] != tokens)
    if len(strangers):
        first = int(strangers[0])
        why = "which the training split does not have" if inferred else "which is not a class"
        known = "its classes are" if inferred else f"the {len(names)} classes are"
        raise DataError(
            f"{part.labels_at(first)}: the label is {tokens[first].item()!r}, {why}"
            f" ({len(strangers)} such examples); {known} {shorten(names)}."
            " Correct the labels, or list every class in data.classes."
        )
    return indices.astype(np.int32)


def _refuse_one_class(part: RawPart, indices: Labels, names: tuple[str, ...]) -> None:
    present = np.unique(indices)
    if len(present) < 2:
        raise DataError(
            f"{part.labels_at(0)}: all {len(indices)} training examples have the label"
            f" {names[present[0]]!r}; a classifier needs at least two classes. Check which column"
            " or array holds the labels (data.label)."
        )


def shorten(names: Sequence[str], most: int = 20) -> str:
    """Returns `names` as a list for a message, cut after `most` of them."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
