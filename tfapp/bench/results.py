"""What a benchmark comes to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from tfapp.bench.order import in_order
from tfapp.bench.roster import FIT_VARIANTS
from tfapp.timing.machine import Machine
from tfapp.timing.slices import Slice, Spread, paired_ratio, spread

# `limit`: it computes only a part of the work, so it has no rank. `differs`: its losses are not
# those of the others, or cannot be compared with them, so it was not timed.
Status = Literal["ok", "limit", "differs", "failed", "not installed"]


@dataclass(frozen=True)
class Row:
    """One contender on one workload.

    Attributes:
        contender: Its name.
        status: Whether it was timed, and if not, why.
        detail: A few words: what went wrong, or what it chose.
        slices: One a round, in order; empty if it was not timed.
        step_us: Microseconds a step over the slices.
        ratio: Its time as a multiple of the reference's, the median over rounds.
        rank: 1 for the fastest of those that did the whole work.
        compile_seconds: From its framework imported to its first step done, the check included.
        import_seconds: Of its framework; two may have been imported at a time.
        check: Largest relative deviation of its first losses from what they must be; `None` if
            they were compared with nothing.
        loss: The newest at the end.
        idle_cores: Cores kept busy while it was not its turn.
    """

    contender: str
    status: Status
    detail: str = ""
    slices: tuple[Slice, ...] = ()
    step_us: Spread | None = None
    ratio: float | None = None
    rank: int | None = None
    compile_seconds: float | None = None
    import_seconds: float | None = None
    check: float | None = None
    loss: float | None = None
    idle_cores: float | None = None

    @property
    def times(self) -> list[float]:
        """Microseconds a step of each round."""
        return [timed.step_us for timed in self.slices]


@dataclass(frozen=True)
class WorkloadResult:
    """All contenders on one workload, the fastest first.

    Attributes:
        workload: Its name.
        reference: The contender that ratios refer to; `None` if none was timed.
        best_fit: The fastest of the variants of `fit` on `tf.data`, found afterwards.
        rows: Those that were timed by their median, then the others.
    """

    workload: str
    reference: str | None
    best_fit: str | None
    rows: tuple[Row, ...]

    def row(self, contender: str) -> Row | None:
        """Returns a contender's row if it was timed."""
        return next((r for r in self.rows if r.contender == contender and r.slices), None)


@dataclass(frozen=True)
class Verdict:
    """A target and what was measured.

    Attributes:
        target: What it is about.
        workload: Where.
        contender: Who the reference was compared with.
        measured: The ratio of their times; both were timed, else there is no verdict.
        wanted: `at least` or `at most` a number.
        met: Whether it is reached.
    """

    target: str
    workload: str
    contender: str
    measured: float
    wanted: str
    met: bool


@dataclass(frozen=True)
class TrainingBench:
    """A whole benchmark of training.

    Attributes:
        machine: What it ran on.
        rounds: Slices of each contender.
        slice_seconds: Their length, about.
        seconds: What all of it took.
        workloads: One result each.
        targets: What was to be reached.
    """

    machine: Machine
    rounds: int
    slice_seconds: float
    seconds: float
    workloads: tuple[WorkloadResult, ...]
    targets: tuple[Verdict, ...] = field(default=())


def rank(workload: str, rows: Sequence[Row], reference: str) -> WorkloadResult:
    """Puts rows in order and compares them.

    Args:
        workload: Its name.
        rows: As measured.
        reference: The contender that ratios refer to; if it was not timed, the fastest takes its
            place.
    """
    base, timed = in_order(rows, reference, lambda row: row.status == "ok")
    ranked = [row.contender for row in timed if row.status == "ok"]
    times = next((row.times for row in timed if row.contender == base), [])
    compared = [
        dataclasses.replace(
            row,
            step_us=spread(row.times),
            ratio=paired_ratio(row.times, times),
            rank=ranked.index(row.contender) + 1 if row.status == "ok" else None,
        )
        for row in timed
    ]
    best_fit = next((name for name in ranked if name in FIT_VARIANTS), None)
    return WorkloadResult(
        workload, base, best_fit, (*compared, *(row for row in rows if not row.slices))
    )
