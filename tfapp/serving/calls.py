"""A call of a graph, and who decides when it is run and with what.

Errors of TensorFlow become `ServingError`s here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from tfapp.serving.fragile import Shape, check_shapes
from tfapp.serving.observing import RequestRecord
from tfapp.serving.status import Code, ServingError


@dataclass(frozen=True, eq=False, slots=True)
class Call:
    """Tensors to feed and to fetch, which TensorFlow has made one call of.

    Attributes:
        feeds: Names of tensors in the graph.
        fetches: Names of the tensors to compute.
        execute: Takes an array for each feed, gives a value for each fetch.
        declared: Whether these are the inputs and all outputs of a signature.
        mixable: Whether a row of its outputs hangs on the same row of its inputs only, so that
            rows of several requests may be computed together.
        shapes: Of each feed as the signature says; rows of others are not mixed.
        exact: Refuse feeds of other ranks and of smaller dimensions than that.
    """

    feeds: tuple[str, ...]
    fetches: tuple[str, ...]
    execute: Callable[..., Sequence[Any]]
    declared: bool
    mixable: bool
    shapes: tuple[Shape | None, ...] = ()
    exact: bool = False


class Runner(Protocol):
    """Decides when a call is run, and with what."""

    def run(
        self, call: Call, arrays: Sequence[np.ndarray], record: RequestRecord | None
    ) -> Sequence[np.ndarray]:
        """Computes the fetches of a call.

        Args:
            call: What to compute.
            arrays: One for each feed.
            record: Is told how many rows there were, how long they waited and ran.

        Raises:
            ServingError: It cannot be computed.
        """


class AtOnce:
    """Runs each call by itself, in the caller's thread."""

    def run(
        self, call: Call, arrays: Sequence[np.ndarray], record: RequestRecord | None
    ) -> Sequence[np.ndarray]:
        """Computes the fetches of a call."""
        if is_late(record):
            raise too_late()
        began = time.perf_counter()
        values = execute(call, arrays)
        if record is not None:
            record.rows = record.batch_rows = row_count(arrays)
            record.run_seconds += time.perf_counter() - began
        return values


def is_late(record: RequestRecord | None) -> bool:
    """Tells whether nobody waits for a request any more. A run that has begun is not stopped."""
    return record is not None and record.deadline < time.monotonic()


def too_late() -> ServingError:
    """Returns what a request ends with that is late."""
    return ServingError(Code.DEADLINE_EXCEEDED, "Deadline exceeded before the model was run")


def execute(call: Call, arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
    """Runs a call in the caller's thread.

    Raises:
        ServingError: With the code and text of TensorFlow.
    """
    if call.exact:
        check_shapes(call.shapes, arrays)
    try:
        return [_as_array(value) for value in call.execute(*arrays)]
    except tf.errors.OpError as error:
        raise serving_error(error) from error
    except UnicodeDecodeError as error:
        # TensorFlow's text quotes bytes of the request, and cannot become an exception with a code.
        message = error.object.decode(errors="replace")
        raise ServingError(Code.INVALID_ARGUMENT, message) from error
    except (TypeError, ValueError) as error:
        raise ServingError(Code.INVALID_ARGUMENT, str(error)) from error


def row_count(arrays: Sequence[np.ndarray]) -> int:
    """Returns the size of the first dimension of the first array; 1 if it has none."""
    return len(arrays[0]) if arrays and arrays[0].ndim else 1


def _as_array(value: Any) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value
    # TensorFlow gives rank 0 as a scalar; NumPy would make fixed-width strings of `bytes`.
    return np.array(value, dtype=object if isinstance(value, bytes) else None)


def serving_error(error: Any) -> ServingError:
    """Returns an error of TensorFlow as one of the server."""
    return ServingError(Code(error.error_code), error.message)
