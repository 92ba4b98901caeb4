"""Requests that come in one turn of the event loop, computed together when it ends.

For models that are quick: they run in the loop itself, since handing them to a thread would take
longer. A request that comes alone runs at once.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from tfapp.serving.calls import AtOnce
from tfapp.serving.inference import Computation
from tfapp.serving.mixing import Arrays, Waiting, mixing_key, run_mixed, take
from tfapp.serving.observing import Observer, RequestRecord

# Takes the result of a computation, or the error it ended with; and the seconds that it took the
# loop, its share of those for rows of others included.
Done = Callable[[Any, float], None]

log = logging.getLogger(__name__)

_AT_ONCE = AtOnce()


@dataclass(eq=False, slots=True)
class _Waiting(Waiting):
    record: RequestRecord
    computation: Computation[Any]
    done: Done


class Turns:
    """Computes what comes to one event loop.

    Args:
        observer: Is told of batches.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._waiting: dict[Hashable, list[_Waiting]] = {}
        self._crowded = False  # whether several requests come in a turn
        self._ends = False  # whether the end of this turn is awaited

    def add(self, computation: Computation[Any], record: RequestRecord, done: Done) -> None:
        """Computes a request, at once or with those that come in the same turn.

        Args:
            computation: What to compute, within a millisecond or so.
            record: Is told of rows and times.
            done: Is given the result, or the exception it ended with, and the seconds it took.
        """
        call, arrays = computation.call, computation.arrays
        key = mixing_key(call, arrays)
        if key is None:
            _finish(computation, lambda: _AT_ONCE.run(call, arrays, record), done)
            return
        crowded, self._crowded = self._crowded, True
        if not self._ends:
            self._ends = True
            asyncio.get_running_loop().call_soon(self._end_turn)
        if crowded:
            waiting = _Waiting(arrays, record, time.perf_counter(), computation, done)
            self._waiting.setdefault(key, []).append(waiting)
        else:
            _finish(computation, lambda: _AT_ONCE.run(call, arrays, record), done)

    def _end_turn(self) -> None:
        waiting, self._waiting = self._waiting, {}
        self._ends = False
        self._crowded = sum(map(len, waiting.values())) > 1
        for same in waiting.values():
            while same:
                self._run(take(same))

    def _run(self, batch: list[_Waiting]) -> None:
        first = batch[0].computation
        found = run_mixed(first.call, batch, first.servable.name, self._observer)
        for waiting, values in zip(batch, found, strict=True):
            record = waiting.record
            share = record.rows / (record.batch_rows or 1)
            run_seconds = record.run_seconds * share
            given = functools.partial(_given, values)
            _finish(waiting.computation, given, waiting.done, run_seconds)


def _finish(
    computation: Computation[Any],
    values: Callable[[], Arrays],
    done: Done,
    run_seconds: float = 0.0,
) -> None:
    began = time.perf_counter()
    try:
        result = computation.result_of(values)
    except Exception as error:  # each request is told of its own
        result = error
    seconds = time.perf_counter() - began
    try:
        done(result, run_seconds + seconds)
    except Exception:  # the others of the turn are to be told, too
        log.exception("a request to %s was not answered", computation.servable.name)


def _given(values: Arrays | Exception) -> Arrays:
    if isinstance(values, Exception):
        raise values
    return values
