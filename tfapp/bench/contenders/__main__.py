"""The process of one contender: `python -m tfapp.bench.contenders torch`.

It reads one JSON object a line and answers each with one. Whatever else prints goes to stderr.

    {"do": "prepare", "workload": {...}, "source": "...", "folder": "...", "check_steps": 20}
    {"do": "time", "seconds": 0.3}
    {"do": "drop"}

It ends when its input does, whatever it is doing, so that nothing outlives the benchmark.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tfapp.bench.contenders.base import Contender, Task
from tfapp.bench.peak import peak_bytes
from tfapp.bench.roster import find_contenders
from tfapp.bench.timing import Slice, steps_for
from tfapp.bench.workloads import Workload
from tfapp.errors import UsageError, reason_of
from tfapp.names import import_object

# Long enough for a rate that the length of the first slice can be worked out from.
_WARM_UP_SECONDS = 0.1

Answer = dict[str, Any]


class Worker:
    """Answers requests about one contender, one workload after another.

    Args:
        maker: The class of the contender.
    """

    def __init__(self, maker: type[Contender]) -> None:
        self._maker = maker
        self._contender: Contender | None = None
        self._step_seconds = 0.0

    def answer(self, request: dict[str, Any]) -> Answer:
        """Does what is asked; a failure is an answer too."""
        actions: dict[str, Callable[..., Answer]] = {
            "prepare": self._prepare,
            "time": self._time,
            "drop": self._drop,
        }
        arguments = {key: value for key, value in request.items() if key != "do"}
        try:
            return actions[request["do"]](**arguments)
        except Exception as error:
            traceback.print_exc()
            return {"error": reason_of(error)}

    def _prepare(
        self, workload: dict[str, Any], source: str, folder: str, check_steps: int
    ) -> Answer:
        """Builds, checks and warms up; all of it is what a user waits for before the first step."""
        task = Task(
            Workload.from_json(workload), Path(source), Path(folder), checked=check_steps > 0
        )
        started = time.perf_counter()
        contender = self._contender = self._maker(task)
        checks = contender.trains and check_steps > 0
        losses = contender.first_losses(check_steps) if checks else ()
        first = _timed(contender, contender.unit)
        compile_seconds = time.perf_counter() - started
        self._step_seconds = _rate(contender, first)
        return {
            "compile_seconds": compile_seconds,
            # Plain numbers, whatever a framework has for one; what is none of them fails here.
            "losses": [{"steps": int(loss.steps), "mean": float(loss.mean)} for loss in losses],
            "trains": contender.trains,
        }

    def _time(self, seconds: float) -> Answer:
        """Times one slice of about so many seconds."""
        contender = self._contender
        assert contender is not None, "time comes after prepare"
        steps = steps_for(seconds, self._step_seconds, contender.unit)
        timed = _timed(contender, steps)
        self._step_seconds = timed.seconds / timed.steps
        loss = contender.loss()
        newest = None if loss is None else float(loss)
        return asdict(timed) | {"loss": newest, "remarks": contender.remarks()}

    def _drop(self) -> Answer:
        """Lets go of the workload."""
        if self._contender is not None:
            self._contender.close()
        self._contender = None
        gc.collect()
        return {"peak_bytes": peak_bytes()}


def _rate(contender: Contender, timed: Slice) -> float:
    """Returns seconds a step, after as many steps as it takes to be sure of it."""
    while timed.seconds < _WARM_UP_SECONDS:
        timed = _timed(contender, 2 * max(timed.steps, contender.unit))
    return timed.seconds / timed.steps


def _timed(contender: Contender, steps: int) -> Slice:
    """Returns a slice that a rate can be worked out from."""
    timed = contender.time(steps)
    if timed.steps < 1 or not timed.seconds > 0:
        raise ValueError(f"it told a slice of {timed.steps} steps in {timed.seconds} s")
    return timed


def _requests() -> Iterator[dict[str, Any]]:
    """Yields what is asked, in order; ends the process when nobody asks any more."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)  # also out of a slice or a compilation, which nobody waits for now

    threading.Thread(target=read, name="requests", daemon=True).start()
    while True:
        yield json.loads(lines.get())


def find_maker(path: str) -> type[Contender]:
    """Returns the class of a contender.

    Args:
        path: `module:Class`, of the roster or a user's own.

    Raises:
        UsageError: Nothing can be imported by the path, or it is no subclass of `Contender`.
    """
    found = import_object("contender", path)
    if isinstance(found, type) and issubclass(found, Contender):
        return found
    what = f"class {found.__name__}" if isinstance(found, type) else f"a {type(found).__name__}"
    raise UsageError(
        f"contender {path!r}: found {what}, expected a subclass of"
        f" {Contender.__module__}.{Contender.__name__}; docs/benchmarks.md says how to bring your"
        " own."
    )


def main() -> None:
    """Answers until stdin is closed; if there is no such contender, says so and ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    (entry,) = find_contenders(sys.argv[1:2])
    requests = _requests()
    started = time.perf_counter()
    try:
        maker = find_maker(entry.path)
    except UsageError as error:
        answers.write(json.dumps({"error": str(error)}) + "\n")
        return
    answers.write(json.dumps({"import_seconds": time.perf_counter() - started}) + "\n")
    worker, idle_since, busy = Worker(maker), time.perf_counter(), time.process_time()
    for request in requests:
        idle = (time.process_time() - busy) / max(time.perf_counter() - idle_since, 1e-9)
        answer = worker.answer(request) | {"idle_cores": idle}
        idle_since, busy = time.perf_counter(), time.process_time()
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
