"""The process of one contender, seen from inside.

It reads one JSON object a line and answers each with one. Whatever else prints goes to stderr.
What can be asked is up to the contender; who takes turns has to answer `time`:

    {"do": "time", "seconds": 0.3}   ->   {"steps": 4000, "seconds": 0.31, "idle_cores": 0.0}

It ends when its input does, whatever it is doing, and its helpers with it, so that nothing outlives
the measurement.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tfapp.errors import TfappError, reason_of
from tfapp.timing.slices import Slice, steps_for

# Long enough for a rate that the length of the first slice can be worked out from.
_WARM_UP_SECONDS = 0.1

Answer = dict[str, Any]
Actions = Mapping[str, Callable[..., Answer]]


class Pace:
    """Times slices of about a wanted length.

    Args:
        run: Does so many steps and tells how long that took.
        unit: The least number of steps that can be asked for.
    """

    def __init__(self, run: Callable[[int], Slice], unit: int = 1) -> None:
        self._run = run
        self._unit = unit
        self._step_seconds = 0.0

    def start(self) -> Slice:
        """Returns the very first slice, of `unit` steps; building and compiling are in it."""
        first = self._timed(self._unit)
        self._step_seconds = first.seconds / first.steps
        return first

    def warm_up(self) -> None:
        """Takes as many steps as a rate can be worked out from."""
        steps = self._unit
        timed = Slice(steps, self._step_seconds * steps)
        while timed.seconds < _WARM_UP_SECONDS:
            timed = self._timed(2 * max(timed.steps, self._unit))
        self._step_seconds = timed.seconds / timed.steps

    def slice(self, seconds: float) -> Slice:
        """Returns a slice of about so many seconds."""
        timed = self._timed(steps_for(seconds, self._step_seconds, self._unit))
        self._step_seconds = timed.seconds / timed.steps
        return timed

    def _timed(self, steps: int) -> Slice:
        timed = self._run(steps)
        if timed.steps < 1 or not timed.seconds > 0:
            raise ValueError(f"it told a slice of {timed.steps} steps in {timed.seconds} s")
        return timed


def answer(actions: Actions, request: Mapping[str, Any]) -> Answer:
    """Does what is asked; a failure is an answer too."""
    arguments = {key: value for key, value in request.items() if key != "do"}
    try:
        return actions[request["do"]](**arguments)
    except Exception as error:
        traceback.print_exc()
        return {"error": reason_of(error)}


def serve(load: Callable[[], Actions]) -> None:
    """Answers until stdin is closed; if `load` finds nothing to serve, says so and ends.

    Args:
        load: Imports a framework and returns what can be asked; the time it takes is told first.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    requests = _requests()
    started = time.perf_counter()
    try:
        actions = load()
    except TfappError as error:
        answers.write(json.dumps({"error": str(error)}) + "\n")
        return
    answers.write(json.dumps({"import_seconds": time.perf_counter() - started}) + "\n")
    idle_since, busy = time.perf_counter(), time.process_time()
    for request in requests:
        idle = (time.process_time() - busy) / max(time.perf_counter() - idle_since, 1e-9)
        found = answer(actions, request) | {"idle_cores": idle}
        idle_since, busy = time.perf_counter(), time.process_time()
        answers.write(json.dumps(found) + "\n")


def _requests() -> Iterator[dict[str, Any]]:
    """Yields what is asked, in order; ends the process when nobody asks any more."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        _end()  # also out of a slice or a compilation, which nobody waits for now

    threading.Thread(target=read, name="requests", daemon=True).start()
    while True:
        yield json.loads(lines.get())


def _end() -> None:
    """Ends this process, and those that it has started if it leads a group of its own."""
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(0)
