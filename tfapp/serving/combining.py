"""Requests of several threads computed together while the cores are busy.

Nobody waits for company: what finds a free core runs at once. What comes while all are busy is run
by one thread, together, as soon as one is free.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tfapp.serving.calls import AtOnce, Call
from tfapp.serving.mixing import Arrays, Waiting, mixing_key, run_mixed, take
from tfapp.serving.observing import Observer, RequestRecord


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
    """

    def __init__(
        self, model: str, observer: Observer | None = None, *, at_once: int | None = None
    ) -> None:
        self._model = model
        self._observer = observer or Observer()
        self._at_once = at_once or os.cpu_count() or 1
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
        key = mixing_key(call, arrays)
        if key is None:
            return self._alone.run(call, arrays, record)
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

    def _run(self, call: Call, batch: Sequence[_Waiting]) -> None:
        try:
            results = run_mixed(call, batch, self._model, self._observer)
            for waiting, result in zip(batch, results, strict=True):
                waiting.result = result
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
