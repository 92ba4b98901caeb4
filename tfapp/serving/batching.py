"""Batches as `--enable_batching` makes them: requests wait for company, within limits.

All models share the threads that run batches. Each signature of a version has a queue of its own;
the last batch of a queue is open for more rows until a thread takes it.

Source: TensorFlow Serving, `batching/batching_session.cc`; TensorFlow,
`kernels/batching_util/shared_batch_scheduler.h`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from tfapp.errors import reason_of
from tfapp.serving.batching_options import BatchingOptions
from tfapp.serving.calls import AtOnce, Call, execute, is_late, too_late
from tfapp.serving.mixing import Arrays, join, split
from tfapp.serving.observing import BatchRecord, Observer, RequestRecord
from tfapp.serving.status import Code, ServingError

log = logging.getLogger(__name__)

_REPEAT_SECONDS = 120.0
_QUEUES_KEPT = 256


@dataclass(eq=False, slots=True)
class _Task:
    """A request that waits."""

    record: RequestRecord | None
    since: float
    results: list[Arrays | None] = field(default_factory=list)  # one for each piece
    error: ServingError | None = None
    left: int = 0  # pieces that have not run
    done: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, eq=False, slots=True)
class _Piece:
    """Rows of a request that run in one batch; mostly all of them."""

    task: _Task
    index: int
    arrays: Arrays

    @property
    def rows(self) -> int:
        return len(self.arrays[0])


@dataclass(eq=False, slots=True)
class _Batch:
    opened: float
    pieces: list[_Piece] = field(default_factory=list)
    rows: int = 0


@dataclass(eq=False, slots=True)
class _Queue:
    """Batches of one signature; changed under the lock of the scheduler only."""

    model: str
    call: Call
    options: BatchingOptions
    batches: deque[_Batch] = field(default_factory=deque)

    def room(self) -> int:
        """Returns how many rows the open batch has room for."""
        return self.options.max_execution_size - self.batches[-1].rows if self.batches else 0

    def take(self, now: float) -> _Batch | None:
        """Takes the first batch, if it is full or has waited long enough."""
        if not self.batches or (len(self.batches) == 1 and self.wait(now) > 0):
            return None
        return self.batches.popleft()

    def wait(self, now: float) -> float:
        """Returns how many seconds the first batch may still wait."""
        first = self.batches[0]
        if first.rows >= self.options.max_execution_size:
            return 0.0
        return first.opened + self.options.timeout_seconds - now


class BatchScheduler:
    """Threads that run the batches of all models.

    Args:
        options: How many threads there are, and what they are called.
        observer: Is told of batches.
    """

    def __init__(self, options: BatchingOptions, observer: Observer) -> None:
        self.options = options
        self._observer = observer
        self._changed = threading.Condition()
        self._queues: deque[_Queue] = deque()  # those that are not empty; the next one first
        self._closed = False
        for number in range(options.threads):
            name = f"tfapp-{options.pool_name}-{number}"
            threading.Thread(target=self._work, name=name, daemon=True).start()

    def close(self) -> None:
        """Ends the threads once nothing waits any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def put(self, queue: _Queue, arrays: Arrays, record: RequestRecord | None) -> _Task:
        """Lets a request wait in a queue.

        Raises:
            ServingError: `INVALID_ARGUMENT`: it has too many rows; `UNAVAILABLE`: the queue is
                full, or there will be nobody who runs it.
        """
        rows, options = len(arrays[0]), queue.options
        if rows > options.max_batch_size:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Task size {rows} is larger than maximum input batch size"
                f" {options.max_batch_size}. Send fewer rows, or set max_batch_size.",
            )
        task = _Task(record, time.perf_counter())
        with self._changed:
            if self._closed:
                raise ServingError(Code.UNAVAILABLE, "The server is being closed.")
            _check_room(queue, rows)
            was_empty = not queue.batches
            pieces = _pieces(task, arrays, queue)
            for piece in pieces:
                if queue.room() < piece.rows:
                    queue.batches.append(_Batch(time.perf_counter()))
                queue.batches[-1].pieces.append(piece)
                queue.batches[-1].rows += piece.rows
            if was_empty:
                self._queues.append(queue)
            self._changed.notify(len(pieces))
        return task

    def _work(self) -> None:
        while True:
            with self._changed:
                taken = self._take()
                while taken is None:
                    if self._closed and not self._queues:
                        return
                    self._changed.wait(self._wait())
                    taken = self._take()
            _run(*taken, self._observer)

    def _take(self) -> tuple[_Queue, _Batch] | None:
        now = time.perf_counter()
        for _ in range(len(self._queues)):
            queue = self._queues.popleft()
            batch = queue.take(now)
            if queue.batches:
                self._queues.append(queue)  # behind the others, so that each has its turn
            if batch is not None:
                return queue, batch
        return None

    def _wait(self) -> float | None:
        now = time.perf_counter()
        return min((max(0.0, queue.wait(now)) for queue in self._queues), default=None)


class Batching:
    """Runs the calls of one version in batches.

    Args:
        scheduler: Whose threads run them.
        model: Name of the model.
        options: How to batch.
    """

    def __init__(self, scheduler: BatchScheduler, model: str, options: BatchingOptions) -> None:
        self._scheduler = scheduler
        self._model = model
        self._options = options
        self._alone = AtOnce()
        self._queues: dict[Hashable, _Queue] = {}
        self._told = -_REPEAT_SECONDS

    def run(
        self, call: Call, arrays: Sequence[np.ndarray], record: RequestRecord | None
    ) -> Sequence[np.ndarray]:
        """Computes the fetches of a call, in the batch that it comes into.

        Raises:
            ServingError: It cannot be batched, the queue is full, or the batch failed.
        """
        if not call.declared:
            self._tell_unbatched()
            return self._alone.run(call, arrays, record)
        _check_rows(arrays)
        if not len(arrays[0]):
            return self._alone.run(call, arrays, record)
        queue = self._queue(call, tuple(array.dtype.num for array in arrays))
        task = self._scheduler.put(queue, arrays, record)
        task.done.wait()
        if task.error is not None:
            raise task.error
        results = [result for result in task.results if result is not None]
        return results[0] if len(results) == 1 else join(results)

    def _queue(self, call: Call, dtypes: tuple[int, ...]) -> _Queue:
        """Returns where requests wait whose rows may be put together.

        Of other types they may not: NumPy would make one type of both.
        """
        if len(self._queues) >= _QUEUES_KEPT:  # clients choose the types; who waits is not lost
            self._queues.clear()
        key = call.feeds, call.fetches, dtypes
        return self._queues.setdefault(key, _Queue(self._model, call, self._options))

    def _tell_unbatched(self) -> None:
        now = time.monotonic()
        if now - self._told >= _REPEAT_SECONDS:
            self._told = now
            log.warning(
                "Request doesn't match any declared signature and will not be batched: model %s",
                self._model,
            )


def _check_rows(arrays: Arrays) -> None:
    if not arrays:
        raise ServingError(
            Code.INVALID_ARGUMENT, "Batching Run() must have at least one input tensor"
        )
    if any(not array.ndim for array in arrays):
        raise ServingError(
            Code.INVALID_ARGUMENT,
            "Batching Run() input tensors must have at least one dimension",
        )
    if any(len(array) != len(arrays[0]) for array in arrays):
        raise ServingError(
            Code.INVALID_ARGUMENT,
            "Batching Run() input tensors must have equal 0th-dimension size",
        )


def _check_room(queue: _Queue, rows: int) -> None:
    """Refuses a request that a queue has no room for."""
    options, waiting = queue.options, len(queue.batches)
    room = queue.room()
    capacity = (options.max_enqueued_batches - waiting) * options.max_execution_size + room
    no_more_batches = waiting >= options.max_enqueued_batches
    if rows > capacity if options.split else rows > room and no_more_batches:
        raise ServingError(
            Code.UNAVAILABLE,
            "The batch scheduling queue to which this task was submitted is full; currently"
            f" {waiting} batches enqueued and max_enqueued_batches is"
            f" {options.max_enqueued_batches}",
        )


def _pieces(task: _Task, arrays: Arrays, queue: _Queue) -> list[_Piece]:
    """Cuts a request into what the open batch has room for, and whole batches."""
    rows, size = len(arrays[0]), queue.options.max_execution_size
    first = queue.room() if queue.options.split and 0 < queue.room() < rows else 0
    ends = [*([first] if first else []), *range(first + size, rows, size), rows]
    pieces = [
        _Piece(task, index, [array[begin:end] for array in arrays])
        for index, (begin, end) in enumerate(pairwise([0, *ends]))
    ]
    task.left = len(pieces)
    task.results = [None] * len(pieces)
    return pieces


def _run(queue: _Queue, batch: _Batch, observer: Observer) -> None:
    """Computes a batch and gives each request its rows, or all of them the error."""
    began = time.perf_counter()
    late = [piece for piece in batch.pieces if is_late(piece.task.record)]
    for piece in late:
        _deliver(piece, None, too_late(), (began - piece.task.since, 0.0, 0))
    pieces = [piece for piece in batch.pieces if piece not in late]
    if not pieces:
        return
    rows = [piece.rows for piece in pieces]
    total = sum(rows)
    size = queue.options.padded(total)
    error: ServingError | None = None
    results: Sequence[Arrays | None] = [None] * len(rows)
    try:
        inputs = _merged([piece.arrays for piece in pieces], queue, size - total)
        counts = [*rows, size - total] if size > total else rows
        results = split(execute(queue.call, inputs), counts)[: len(rows)]
    except ServingError as failure:
        error = failure
    except Exception as failure:  # whoever waits must be told of anything
        log.exception("a batch failed for a reason that is not its own")
        error = ServingError(Code.INTERNAL, reason_of(failure))
    taken = time.perf_counter() - began
    waits = [began - piece.task.since for piece in pieces]
    observer.batch(BatchRecord(queue.model, queue.options.pool_name, rows, waits, size))
    for piece, result, wait in zip(pieces, results, waits, strict=True):
        _deliver(piece, result, error, (wait, taken, size))


def _deliver(
    piece: _Piece,
    result: Arrays | None,
    error: ServingError | None,
    figures: tuple[float, float, int],
) -> None:
    task = piece.task
    wait, taken, size = figures
    with _DELIVERY:
        task.results[piece.index] = result
        task.error = task.error or error
        task.left -= 1
        if task.record is not None:
            task.record.rows += piece.rows
            task.record.batch_rows += size
            task.record.queue_seconds = max(task.record.queue_seconds, wait)
            task.record.run_seconds += taken
        last = not task.left
    if last:
        task.done.set()


_DELIVERY = threading.Lock()  # the pieces of one request may run in several threads


def _merged(parts: Sequence[Arrays], queue: _Queue, padding: int) -> list[np.ndarray]:
    """Returns the inputs of a batch.

    Args:
        parts: Inputs of the requests.
        queue: Where they waited.
        padding: How many rows are added; the first row of the last request is.
    """
    columns: list[list[np.ndarray]] = [list(column) for column in zip(*parts, strict=True)]
    for name, column in zip(queue.call.feeds, columns, strict=True):
        if queue.options.pad:
            column[:] = _filled_up(name, column)
        elif any(array.shape[1:] != column[0].shape[1:] for array in column):
            raise ServingError(
                Code.FAILED_PRECONDITION,
                f"Tensors with name '{name}' from different tasks have different shapes and padding"
                " is turned off. Set pad_variable_length_inputs to true, or ensure that all"
                " tensors with the same name have equal dimensions starting with the first dim.",
            )
        column.extend([column[-1][:1]] * padding)
    return [np.concatenate(column) for column in columns]


def _filled_up(name: str, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns arrays that are all as large as the largest, but for their rows."""
    if any(array.ndim != arrays[0].ndim for array in arrays):
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"Tensors with name '{name}' from different tasks have different number of dimensions.",
        )
    shape = tuple(max(sizes) for sizes in zip(*(array.shape[1:] for array in arrays), strict=True))
    filled = []
    for array in arrays:
        if array.shape[1:] == shape:
            filled.append(array)
            continue
        larger = np.empty((len(array), *shape), array.dtype)
        empty: Any = b"" if array.dtype == object else 0
        larger[...] = array.flat[0] if array.size else empty
        larger[tuple(map(slice, array.shape))] = array
        filled.append(larger)
    return filled
