"""The process of one contender: `python -m tfapp.bench.contenders torch`.

    {"do": "prepare", "workload": {...}, "source": "...", "folder": "...", "check_steps": 20}
    {"do": "time", "seconds": 0.3}
    {"do": "drop"}

`tfapp.timing.worker` says how it is asked and how it ends.
"""

from __future__ import annotations

import gc
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tfapp.bench.contenders.base import Contender, Task
from tfapp.bench.peak import peak_bytes
from tfapp.bench.roster import find_contenders
from tfapp.bench.workloads import Workload
from tfapp.errors import UsageError
from tfapp.names import import_object
from tfapp.timing.worker import Actions, Answer, Pace, answer, serve


class Worker:
    """Answers requests about one contender, one workload after another.

    Args:
        maker: The class of the contender.
    """

    def __init__(self, maker: type[Contender]) -> None:
        self._maker = maker
        self._contender: Contender | None = None
        self._pace: Pace | None = None
        self.actions: Actions = {
            "prepare": self._prepare,
            "time": self._time,
            "drop": self._drop,
        }

    def answer(self, request: dict[str, Any]) -> Answer:
        """Does what is asked; a failure is an answer too."""
        return answer(self.actions, request)

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
        pace = self._pace = Pace(contender.time, contender.unit)
        pace.start()
        compile_seconds = time.perf_counter() - started
        pace.warm_up()
        return {
            "compile_seconds": compile_seconds,
            # Plain numbers, whatever a framework has for one; what is none of them fails here.
            "losses": [{"steps": int(loss.steps), "mean": float(loss.mean)} for loss in losses],
            "trains": contender.trains,
        }

    def _time(self, seconds: float) -> Answer:
        """Times one slice of about so many seconds."""
        contender, pace = self._contender, self._pace
        assert contender is not None and pace is not None, "time comes after prepare"
        timed = pace.slice(seconds)
        loss = contender.loss()
        newest = None if loss is None else float(loss)
        return asdict(timed) | {"loss": newest, "remarks": contender.remarks()}

    def _drop(self) -> Answer:
        """Lets go of the workload."""
        if self._contender is not None:
            self._contender.close()
        self._contender = self._pace = None
        gc.collect()
        return {"peak_bytes": peak_bytes()}


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
    (entry,) = find_contenders(sys.argv[1:2])
    serve(lambda: Worker(find_maker(entry.path)).actions)


if __name__ == "__main__":
    main()
