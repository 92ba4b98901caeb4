"""Times slices of several contenders in turn, A B C A B C, so that all see the same moments."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfapp.timing.process import ContenderFailed, Crew
from tfapp.timing.schedule import Schedule, Watch
from tfapp.timing.slices import Slice

# Threads of OpenMP and OpenBLAS spin for tens of milliseconds after the work before they sleep.
PAUSE_SECONDS = 0.08


@dataclass
class Turns:
    """What one contender came to.

    Attributes:
        slices: One a round.
        idle_cores: Cores kept busy while it was not its turn, one number a round.
        answer: The newest to `time`, whatever else it holds.
        failure: Why it dropped out; `None` if it did not.
    """

    slices: list[Slice] = field(default_factory=list)
    idle_cores: list[float] = field(default_factory=list)
    answer: Mapping[str, Any] = field(default_factory=dict)
    failure: str | None = None

    def add(self, answer: Mapping[str, Any]) -> None:
        """Notes one answer."""
        self.slices.append(Slice(answer["steps"], answer["seconds"]))
        self.idle_cores.append(answer["idle_cores"])
        self.answer = answer


def take_turns(
    crew: Crew,
    names: Sequence[str],
    *,
    workload: str,
    rounds: int,
    seconds: float,
    schedule: Schedule,
    watch: Watch,
) -> dict[str, Turns]:
    """Asks every contender for a slice, round after round; who fails drops out.

    Args:
        crew: Their processes, all prepared.
        names: Who is timed.
        workload: What is trained, for `watch`.
        rounds: Slices of each.
        seconds: Length of a slice, about.
        schedule: Knows how far the measurement is.
        watch: Is told what happens next.
    """
    turns = {name: Turns() for name in names}
    for number in range(1, rounds + 1):
        for name, turn in turns.items():
            if turn.failure is not None:
                continue
            watch(schedule.now(workload, f"round {number}/{rounds}", name))
            try:
                turn.add(crew.ask(name, "time", seconds=seconds))
            except ContenderFailed as error:
                turn.failure = str(error)
            finally:
                schedule.slice_done()
                time.sleep(PAUSE_SECONDS)
    return turns
