"""Requests of several threads computed together while the cores are busy.

Nobody waits for company: what finds a free core runs at once. What comes while all are busy is run
by one thread, together, as soon as one is free. Of a model that is quick each request runs by
itself: to wait for one another would take its threads longer.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tfapp.cores import usable_cores
from tfapp.serving.calls import AtOnce, Call
from tfapp.serving.mixing import Arrays, Waiting, mixing_key, run_mixed, take
from tfapp.serving.observing import Observer, RequestRecord

_QUICK_SECONDS = 0.001
_UNKNOWN = (math.inf, math.inf)
_CALLS_KEPT = 256


@dataclass(eq=False, slots=True)
class _Waiting(Waiting):
    wake: threading.Lock = field(default_factory=threading.Lock)
    batch: list[_Waiting] | None = None  # what it is to run, if it is to lead
    result: Arrays | Exception | None = None


@dataclass(eq=False, slots=True)
class _Lane:
    running: int = 0
    waiting: list[_Waiting] = field(default_factory=list)


class Combiner:
    """Runs what several threads ask of a model.

    Args:
        model: Its name.
        observer: Is told of batches.
        at_once: How many batches of one kind are run at a time; the number of cores if None.
        quick_seconds: Up to which time a request is quick.
    """

    def __init__(
        self,
        model: str,
        observer: Observer | None = None,
        *,
        at_once: int | None = None,
        quick_seconds: float = _QUICK_SECONDS,
    ) -> None:
        self._model = model
        self._observer = observer or Observer()
        self._at_once = at_once or usable_cores()
        self._quick_seconds = quick_seconds
        # What the last request of a call took, and the less of it and the one before.
        self._seconds: dict[Call, tuple[float, float]] = {}
        self._alone = AtOnce()
        self._lock = threading.Lock()
        self._lanes: dict[Hashable, _Lane] = {}

    def run(
        self, call: Call, arrays: Sequence[np.ndarray], record: RequestRecord | None
    ) -> Sequence[np.ndarray]:
        """Computes the fetches of a call.

        Raises:
            ServingError: As `execute`.
        """
        is_quick = self._seconds.get(call, _UNKNOWN)[1] < self._quick_seconds
        if is_quick or (key := mixing_key(call, arrays)) is None:
            return self._run_alone(call, arrays, record)
        mine = _Waiting(arrays, record, time.perf_counter())
        with self._lock:
            lane = self._lanes.setdefault(key, _Lane())
            if lane.running < self._at_once:
                lane.running += 1
                mine.batch = [mine]
            else:
                mine.wake.acquire()
                lane.waiting.append(mine)
        if mine.batch is None:
            mine.wake.acquire()  # released by who ran it, or by who makes it run
        if mine.batch is not None:
            try:
                self._run(call, mine.batch)
            finally:
                self._hand_on(key, lane)
        if isinstance(mine.result, Exception):
            raise mine.result
        assert mine.result is not None
        return mine.result

    def _run_alone(
        self, call: Call, arrays: Arrays, record: RequestRecord | None
    ) -> Sequence[np.ndarray]:
        began = time.perf_counter()
        values = self._alone.run(call, arrays, record)
        self._remember(call, time.perf_counter() - began)
        return values

    def _remember(self, call: Call, seconds: float) -> None:
        if len(self._seconds) >= _CALLS_KEPT:  # clients choose outputs, so there may be many
            self._seconds.clear()
        # One slow one is an accident: another thread had its turn.
        self._seconds[call] = seconds, min(seconds, self._seconds.get(call, (seconds,))[0])

    def _run(self, call: Call, batch: Sequence[_Waiting]) -> None:
        began = time.perf_counter()
        try:
            results = run_mixed(call, batch, self._model, self._observer)
            for waiting, result in zip(batch, results, strict=True):
                waiting.result = result
            self._remember(call, (time.perf_counter() - began) / len(batch))
        finally:
            for waiting in batch[1:]:
                waiting.wake.release()

    def _hand_on(self, key: Hashable, lane: _Lane) -> None:
        """Lets the first that waits run all that wait; whoever hands on has its own answer."""
        with self._lock:
            if not lane.waiting:
                lane.running -= 1
                if not lane.running:
                    del self._lanes[key]
                return
            batch = take(lane.waiting)
        batch[0].batch = batch
        batch[0].wake.release()
