"""Times the programs, each in a process: `python -m tfapp.compare.frameworks.timing tape`.

`tfapp.compare.timing` says what can be asked.
"""

from __future__ import annotations

import sys

from tfapp.compare.frameworks.roster import PROGRAMS, Program
from tfapp.compare.task import Task
from tfapp.compare.timing import Timers, Worker
from tfapp.compare.trace import Train
from tfapp.names import choose
from tfapp.timing.worker import Actions, serve

_MODULE = "tfapp.compare.frameworks.timing"


def framework_timers(task: str) -> Timers:
    """Returns timers of every program that is installed.

    Args:
        task: The program of `tfapp.compare.programs` that all of them compute.
    """
    present = [program.name for program in PROGRAMS.values() if program.missing is None]
    return Timers(_MODULE, {task: present})


def _load(program: Program) -> Actions:
    make = program.load()

    def train(task: Task) -> Train:
        data, size = task.arrays.data, task.program.batch_size
        assert size is not None, "what is timed has batches"
        weights, rate = dict(task.arrays.weights), task.program.learning_rate
        return make(data["images"], data["labels"], weights, rate, size).run

    return Worker(train).actions


def main() -> None:
    """Answers until stdin is closed."""
    (program,) = choose("program", sys.argv[1:2], PROGRAMS)
    serve(lambda: _load(program))


if __name__ == "__main__":
    main()
