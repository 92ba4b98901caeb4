"""Rows of several requests computed as one batch, and cut apart again.

A row keeps its values but for rounding: TensorFlow may add the terms of a product in another order
when there are more rows.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from tfapp.serving.calls import Call, execute, is_late, too_late
from tfapp.serving.observing import BatchRecord, Observer, RequestRecord
from tfapp.serving.status import Code, ServingError

Arrays = Sequence[np.ndarray]

# A batch of many more rows takes no less time for each.
MOST_ROWS = 256
_POOL = "adaptive"


@dataclass(eq=False, slots=True)
class Waiting:
    """A request that waits to be computed.

    Attributes:
        arrays: Its feeds.
        record: Is told how long it waited and ran.
        since: When it came.
    """

    arrays: Arrays
    record: RequestRecord | None
    since: float


W = TypeVar("W", bound=Waiting)


def mixing_key(call: Call, arrays: Arrays) -> Hashable | None:
    """Returns what requests must have in common to be computed together.

    Returns:
        The call, types and shapes of rows; None if the request is to be computed by itself.
    """
    if not call.mixable or not arrays or not arrays[0].ndim:
        return None
    rows = len(arrays[0])
    key: list[Hashable] = [call]
    for array in arrays:
        if not array.ndim or len(array) != rows:
            return None
        key.append(array.dtype.num)
        key.append(array.shape[1:])
    # The graph takes other shapes than the signature says, for which nothing is proven.
    return tuple(key) if all(map(_fits, arrays, call.shapes)) else None


def _fits(array: np.ndarray, shape: tuple[int | None, ...] | None) -> bool:
    if shape is None or len(shape) != array.ndim:
        return False
    return shape[1:] == array.shape[1:] or all(
        size in (None, given) for size, given in zip(shape, array.shape, strict=True)
    )


def take(waiting: list[W]) -> list[W]:
    """Takes requests from the front of a list, as many as make a batch."""
    rows, count = 0, 0
    while count < len(waiting) and (not count or rows < MOST_ROWS):
        rows += len(waiting[count].arrays[0])
        count += 1
    batch = waiting[:count]
    del waiting[:count]
    return batch


def run_mixed(
    call: Call, batch: Sequence[Waiting], model: str, observer: Observer
) -> list[Arrays | Exception]:
    """Computes requests of equal keys together; if that fails, one after the other.

    Those that are late are not computed.

    Args:
        call: What to compute.
        batch: The requests.
        model: Name of the model.
        observer: Is told of the batch, if it has several requests.

    Returns:
        The fetches of each request, or what it ended with.
    """
    late = [waiting for waiting in batch if is_late(waiting.record)]
    if late:
        rest = [waiting for waiting in batch if waiting not in late]
        found = iter(run_mixed(call, rest, model, observer) if rest else ())
        return [too_late() if waiting in late else next(found) for waiting in batch]
    return _run_together(call, batch, model, observer)


def _run_together(
    call: Call, batch: Sequence[Waiting], model: str, observer: Observer
) -> list[Arrays | Exception]:
    parts = [waiting.arrays for waiting in batch]
    began = time.perf_counter()
    try:
        if len(parts) > 1:
            found: list[Arrays | Exception] = list(
                split(execute(call, join(parts)), [len(part[0]) for part in parts])
            )
        else:
            found = [execute(call, parts[0])]
    except Exception:
        # Each request is to be told of its own mistakes only.
        found = [_alone(call, part) for part in parts]
    taken = time.perf_counter() - began
    rows = [len(part[0]) for part in parts]
    total = sum(rows)
    for waiting, count in zip(batch, rows, strict=True):
        if (record := waiting.record) is not None:
            record.rows, record.batch_rows = count, total
            record.queue_seconds += began - waiting.since
            record.run_seconds += taken
    if len(batch) > 1:
        waits = [began - waiting.since for waiting in batch]
        observer.batch(BatchRecord(model, _POOL, rows, waits, total))
    return found


def join(parts: Sequence[Arrays]) -> list[np.ndarray]:
    """Returns the arrays of one request after those of the other, along the first dimension."""
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def split(values: Arrays, counts: Sequence[int]) -> list[list[np.ndarray]]:
    """Cuts the outputs of a batch into those of its requests.

    Args:
        values: Outputs with `sum(counts)` rows each.
        counts: Rows of each request.

    Raises:
        ServingError: `FAILED_PRECONDITION`: an output has another number of rows.
    """
    ends = [0]
    for count in counts:
        ends.append(ends[-1] + count)
    for value in values:
        if not value.ndim:
            raise ServingError(Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        if len(value) != ends[-1]:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                "Batched output tensor's 0th dimension does not equal the sum of the 0th dimension"
                " sizes of the input tensors",
            )
    return [[value[begin:end] for value in values] for begin, end in itertools.pairwise(ends)]


def _alone(call: Call, part: Arrays) -> Arrays | Exception:
    try:
        return execute(call, part)
    except Exception as error:
        return error
