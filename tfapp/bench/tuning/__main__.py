"""The process of one contender: `python -m tfapp.bench.tuning keras-tuner`.

    {"do": "prepare", "task": {"trials": 20, "epochs": 10, "batch_size": 64}, "folder": "..."}
    {"do": "time", "seconds": 40}

`tfapp.timing.worker` says how it is asked and how it ends.
"""

from __future__ import annotations

import gc
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tfapp.bench.tuning.contender import Given, SearchContender, give
from tfapp.bench.tuning.results import SearchRound
from tfapp.bench.tuning.roster import find_searches
from tfapp.bench.tuning.task import SearchTask
from tfapp.names import import_object
from tfapp.timing.worker import Actions, Answer, serve


class Worker:
    """Answers requests about one contender.

    Args:
        maker: Its class.
    """

    def __init__(self, maker: type[SearchContender]) -> None:
        self._maker = maker
        self._contender: SearchContender
        self._folder: Path
        self._rounds: list[SearchRound] = []
        self.actions: Actions = {"prepare": self._prepare, "time": self._time}

    def _prepare(self, task: dict[str, Any], folder: str) -> Answer:
        """Loads the data, and runs the first trial twice: what a process does once is done then."""
        self._folder = Path(folder)
        given = give(SearchTask(**task))
        self._contender = self._maker(given)
        self._search("cold", trials=1)
        return {
            "trial_seconds": self._search("warm", trials=1),
            "values": [asdict(values) for values in given.values],
            "validation": given.splits.validation.size,
        }

    def _time(self, seconds: float) -> Answer:
        """Searches once; it takes what it takes, whatever `seconds` were expected.

        The answer tells of all rounds so far.
        """
        given = self._contender.given
        taken = self._search(f"round-{len(self._rounds)}", trials=len(given.values))
        trials = tuple(self._contender.told())
        alone = _training_seconds(self._contender, given)
        self._rounds.append(SearchRound(taken, alone, trials))
        return {
            "steps": len(trials),
            "seconds": taken,
            "rounds": [asdict(done) for done in self._rounds],
            "remarks": self._contender.remarks(),
        }

    def _search(self, name: str, *, trials: int) -> float:
        folder = self._folder / name
        folder.mkdir()
        gc.collect()  # what was left before is not this search's to tidy up
        started = time.perf_counter()
        self._contender.search(folder, trials)
        return time.perf_counter() - started


def _training_seconds(contender: SearchContender, given: Given) -> float:
    """Returns what the training alone of a trial takes, measured once for each network."""
    count = Counter(values.network for values in given.values)
    first = {values.network: n for n, values in reversed(list(enumerate(given.values)))}
    total = sum(contender.train_alone(first[network]) * count[network] for network in count)
    return total / len(given.values)


def main() -> None:
    """Answers until stdin is closed; if there is no such contender, says so and ends."""
    (path,) = find_searches(sys.argv[1:2]).values()
    serve(lambda: Worker(import_object("contender", path)).actions)


if __name__ == "__main__":
    main()
