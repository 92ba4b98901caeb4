"""Cuts a split into two, the same way every time, with all classes kept on the larger side.

Source: scikit-learn's `train_test_split` does the stratified draw; what it refuses (a class with a
single example, fewer drawn examples than classes) is handled here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tfapp.errors import DataError

Indices = npt.NDArray[np.int64]


def cut(
    size: int, share: float, seed: int, classes: npt.NDArray[Any] | None, where: str
) -> tuple[Indices, Indices]:
    """Returns the sorted indices that stay and those that are taken.

    Args:
        size: Number of examples N.
        share: Part of them to take, in (0, 1); at least one example is taken.
        seed: Decides which.
        classes: `[N]` class indices to keep in proportion; `None` for regression.
        where: The source, for the error message.

    Raises:
        DataError: Nothing can be taken without emptying the rest or losing a class.
    """
    from sklearn.model_selection import train_test_split

    wanted = min(max(1, round(size * share)), size - 1)
    pool = np.arange(size, dtype=np.int64)
    strata = None
    if classes is not None:
        pool, strata = _stratify(classes, wanted, seed)
    wanted = min(wanted, len(pool) if len(pool) < size else size - 1)
    if wanted < 1:
        raise DataError(
            f"{where}: {size} examples are too few to give training, validation and test one each"
            " and still train on every class. Add examples, or give the splits separately."
        )
    if wanted == len(pool):
        taken = pool
    else:
        # scikit-learn takes 32-bit seeds; a longer one is folded.
        state = seed % 2**32
        _, taken = train_test_split(pool, test_size=wanted, random_state=state, stratify=strata)
    taken = np.sort(taken)
    return np.setdiff1d(np.arange(size, dtype=np.int64), taken), taken


def _stratify(
    classes: npt.NDArray[Any], wanted: int, seed: int
) -> tuple[Indices, npt.NDArray[Any] | None]:
    """Returns the indices that may be taken, and their classes where a stratified draw works."""
    _, inverse, counts = np.unique(classes, return_inverse=True, return_counts=True)
    pool = np.flatnonzero(counts[inverse] > 1)
    present = len(np.unique(inverse[pool]))
    rest = len(pool) - wanted
    # With fewer kept than half, rounding could take all examples of a small class.
    if present and wanted >= present and rest >= max(present, len(pool) / 2):
        return pool, classes[pool]
    # Too few for a proportional draw: one example of each class stays, the others are drawn alike.
    shuffled = np.random.default_rng(seed).permutation(len(classes))
    _, first = np.unique(classes[shuffled], return_index=True)
    return np.setdiff1d(np.arange(len(classes)), shuffled[first]), None
