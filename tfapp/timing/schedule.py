"""How far a measurement is and how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

# Until one has been seen; importing and compiling take about so long on two cores.
_START_SECONDS = 4.0
_CHECK_SECONDS = 4.0
_FIRST_SHARE = 0.05


@dataclass(frozen=True)
class Moment:
    """Where a benchmark stands.

    Attributes:
        workload: What is trained; empty while processes start.
        stage: `starting`, `started`, `compiling`, or which round.
        contender: Who does something next.
        done: Share that is done, by time.
        seconds_left: Until the end, by what was seen so far; `None` where nobody knows.
    """

    workload: str
    stage: str
    contender: str
    done: float
    seconds_left: float | None


Watch = Callable[[Moment], None]


def unwatched(moment: Moment) -> None:
    """Is told how far a benchmark is, and keeps it to itself."""


class Schedule:
    """Counts what is done and extrapolates.

    Args:
        starts: Processes to start.
        checks: Contenders to prepare, over all workloads.
        rounds: Slices that follow each of them.
        slice_seconds: Length of one.
    """

    def __init__(self, *, starts: int, checks: int, rounds: int, slice_seconds: float) -> None:
        self._begun = time.monotonic()
        self._starts, self._checks, self._slices = starts, checks, checks * rounds
        self._slice_seconds = slice_seconds
        self._started = self._checked = self._sliced = 0
        self._check_total = 0.0

    def now(self, workload: str, stage: str, contender: str) -> Moment:
        """Returns where the benchmark stands before the contender begins.

        Args:
            workload: What is trained; empty while processes start.
            stage: `starting`, `started`, `compiling`, or which round.
            contender: Who does something next.
        """
        spent = time.monotonic() - self._begun
        start = spent / self._started if self._started else _START_SECONDS
        if self._checked:  # starting has ended
            start = 0.0
        check = self._check_total / self._checked if self._checked else _CHECK_SECONDS
        left = (
            (self._starts - self._started) * start
            + (self._checks - self._checked) * check
            + (self._slices - self._sliced) * self._slice_seconds
        )
        left = max(0.0, left)
        return Moment(workload, stage, contender, spent / (spent + left) if spent else 0.0, left)

    def expect(self, slice_seconds: float) -> None:
        """Takes a better guess of how long a slice is."""
        self._slice_seconds = slice_seconds

    def started(self) -> None:
        """Notes that a process is ready."""
        self._started += 1

    @contextmanager
    def check(self) -> Iterator[None]:
        """Notes that a contender is prepared at the end of the block."""
        begun = time.monotonic()
        yield
        self._checked += 1
        self._check_total += time.monotonic() - begun

    def slice_done(self) -> None:
        """Notes that a slice is over."""
        self._sliced += 1


class Stages:
    """Long work in stages of which each tells how far it is; adds them up.

    Args:
        expected: Seconds that each stage may take, by name and in order; only their proportion
            matters once something is done.
        watch: Is told where the whole stands.
    """

    def __init__(self, expected: Mapping[str, float], watch: Watch) -> None:
        self._expected = expected
        self._watch = watch
        self._begun = time.monotonic()
        self._total = sum(expected.values())
        self._before = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[Watch]:
        """Gives what a stage tells its own moments; it is over at the end of the block."""
        share = self._expected[name]

        def tell(moment: Moment) -> None:
            done = (self._before + share * moment.done) / self._total
            spent = time.monotonic() - self._begun
            # Until something can be extrapolated, what was expected.
            whole = spent / done if done > _FIRST_SHARE else max(spent, self._total)
            self._watch(replace(moment, done=done, seconds_left=max(0.0, whole - spent)))

        yield tell
        self._before += share
