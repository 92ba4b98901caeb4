"""The process of one contender: `python -m tfapp.bench.serving fastapi`.

    {"do": "open", "workload": "rest", "first": "rest-1", "folder": "..."}
    {"do": "aim", "point": "rest-32", "seconds": 0.3}
    {"do": "time", "seconds": 2}
    {"do": "drop"}

The process `files` writes what all of them need:

    {"do": "write", "folder": "...", "names": ["row.json"]}

`tfapp.timing.worker` says how it is asked and how it ends.
"""

from __future__ import annotations

import inspect
import sys
from dataclasses import asdict
from pathlib import Path

from tfapp.bench.serving.base import Contender
from tfapp.bench.serving.files import Files, write_files
from tfapp.bench.serving.points import POINT, Point
from tfapp.bench.serving.results import Load
from tfapp.bench.serving.roster import FILES, find_servers
from tfapp.errors import UsageError
from tfapp.names import import_object
from tfapp.timing.worker import Actions, Answer, serve


class Worker:
    """Answers requests about one contender, one workload after another.

    Args:
        maker: Its class.
    """

    def __init__(self, maker: type[Contender]) -> None:
        self._maker = maker
        self._contender: Contender | None = None
        self._point: Point
        self._rounds: list[Load] = []
        self.actions: Actions = {
            "open": self._open,
            "aim": self._aim,
            "time": self._time,
            "drop": self._drop,
        }

    def _open(self, workload: str, first: str, folder: str) -> Answer:
        """Gets ready; a server is started and has answered."""
        self._contender = self._maker(Files(Path(folder)))
        started = self._contender.open(workload, POINT[first])
        return {"started": started and asdict(started)}

    def _aim(self, point: str, seconds: float) -> Answer:
        """Checks the answers at a point, and warms up."""
        self._point, self._rounds = POINT[point], []
        self._opened.ask(self._point, seconds)
        return {}

    def _time(self, seconds: float) -> Answer:
        """Asks once more; the answer tells of all rounds at this point so far."""
        load = self._opened.ask(self._point, seconds)
        self._rounds.append(load)
        rounds = [asdict(done) for done in self._rounds]
        return {"steps": load.requests, "seconds": load.seconds, "rounds": rounds}

    def _drop(self) -> Answer:
        """Ends the server."""
        if self._contender is not None:
            self._contender.close()
        self._contender = None
        return {}

    @property
    def _opened(self) -> Contender:
        assert self._contender is not None, "it is opened first"
        return self._contender


def find_maker(path: str) -> type[Contender]:
    """Returns the class of a contender.

    Args:
        path: Its import path.

    Raises:
        UsageError: It cannot be imported, or is none.
    """
    found = import_object("contender", path)
    if not (inspect.isclass(found) and issubclass(found, Contender)):
        raise UsageError(
            f"contender {path!r}: expected a subclass of tfapp.bench.serving.base.Server or"
            " Contender; docs/benchmarks.md says how."
        )
    return found


def _write(folder: str, names: list[str]) -> Answer:
    return {"bytes": write_files(Path(folder), names)}


def main() -> None:
    """Answers until stdin is closed; if there is no such contender, says so and ends."""
    (name,) = sys.argv[1:2]
    if name == FILES:
        serve(lambda: {"write": _write})
        return
    (entry,) = find_servers([name])
    serve(lambda: Worker(find_maker(entry.path)).actions)


if __name__ == "__main__":
    main()
