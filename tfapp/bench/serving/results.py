"""What a benchmark of servers comes to."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from tfapp.bench.order import in_order
from tfapp.timing.machine import Machine
from tfapp.timing.slices import Spread, paired_ratio, spread

# `limit`: it computes nothing or less, so it shows what could be reached at most.
Status = Literal["ok", "limit", "failed", "not installed"]
TIMED: tuple[Status, ...] = ("ok", "limit")


@dataclass(frozen=True)
class Load:
    """What came of asking for a while.

    Attributes:
        requests: Answers.
        seconds: Wall time they took.
        p50_ms: Half of the answers took less, in milliseconds.
        p99_ms: 99 of 100 took less.
        client_cores: Cores that the client kept busy; it shares the machine with the server.
        server_us: Processor time of the server for a request, in microseconds; `None` without one.
        idle_cores: Cores that the server kept busy before, while it was not its turn.
    """

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    client_cores: float
    server_us: float | None = None
    idle_cores: float = 0.0

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return self.requests / self.seconds

    @property
    def request_us(self) -> float:
        """Microseconds from an answer to the next."""
        return self.seconds / self.requests * 1e6


@dataclass(frozen=True)
class Started:
    """What a server had taken when its first right answer came.

    Attributes:
        seconds: Since it was started.
        memory_mb: Of all of its processes, in memory; what they share is counted for each.
    """

    seconds: float
    memory_mb: float


@dataclass(frozen=True)
class Row:
    """One contender at one point.

    Attributes:
        contender: Its name.
        status: Whether it was timed, and if not, why.
        detail: A few words: what went wrong, or what it is.
        rounds: One load a round, in order; empty if it was not timed.
        per_second: Requests a second over the rounds.
        p50_ms: Time to an answer that half of them stay below, the median over rounds.
        p99_ms: That 99 of 100 stay below, likewise.
        mb_per_second: Bodies of requests, in MB a second, the median.
        client_cores: Cores that the client kept busy, the median.
        server_us: Processor time of the server for a request, in microseconds, the median.
        ratio: Its time for a request as a multiple of the reference's, the median over rounds.
        started: Of its server; `None` if it has none.
    """

    contender: str
    status: Status
    detail: str = ""
    rounds: tuple[Load, ...] = ()
    per_second: Spread | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    mb_per_second: float | None = None
    client_cores: float | None = None
    server_us: float | None = None
    ratio: float | None = None
    started: Started | None = None

    @property
    def times(self) -> list[float]:
        """Microseconds from an answer to the next in each round."""
        return [load.request_us for load in self.rounds]


@dataclass(frozen=True)
class PointResult:
    """All contenders at one point.

    Attributes:
        point: Its name.
        workload: The group that it belongs to.
        about: What differs from the others of the group.
        request_bytes: Size of the body, or of the arrays.
        reference: The contender that ratios refer to; `None` if none was timed.
        rows: Those that were timed, the fastest first, then the others.
    """

    point: str
    workload: str
    about: str
    request_bytes: int
    reference: str | None
    rows: tuple[Row, ...]

    def row(self, contender: str) -> Row | None:
        """Returns a contender's row if it was timed."""
        return next((r for r in self.rows if r.contender == contender and r.rounds), None)


@dataclass(frozen=True)
class ServingVerdict:
    """A target and what was measured.

    Attributes:
        target: What it is about.
        point: Where.
        measured: In the unit of the target.
        wanted: `at least` or `at most` a number.
        met: Whether it is reached.
    """

    target: str
    point: str
    measured: float
    wanted: str
    met: bool


@dataclass(frozen=True)
class ServingBench:
    """A whole benchmark of servers.

    Attributes:
        machine: What it ran on.
        rounds: Slices of each contender.
        slice_seconds: Their length, about.
        seconds: What all of it took.
        points: One result each.
        targets: What was to be reached.
    """

    machine: Machine
    rounds: int
    slice_seconds: float
    seconds: float
    points: tuple[PointResult, ...]
    targets: tuple[ServingVerdict, ...] = field(default=())


def compare(
    rows: Sequence[Row], reference: str, request_bytes: int
) -> tuple[str | None, tuple[Row, ...]]:
    """Puts the rows of a point in order and compares them.

    Args:
        rows: As measured.
        reference: The contender that ratios refer to; if it was not timed, the fastest takes its
            place.
        request_bytes: Size of a request.

    Returns:
        The reference, and the rows.
    """
    base, timed = in_order(rows, reference)
    times = next((row.times for row in timed if row.contender == base), [])
    compared = [_summary(row, times, request_bytes) for row in timed]
    return base, (*compared, *(row for row in rows if not row.rounds))


def _summary(row: Row, reference: Sequence[float], request_bytes: int) -> Row:
    def median(values: Sequence[float]) -> float:
        return spread(values).median

    rate = spread([load.per_second for load in row.rounds])
    server = [load.server_us for load in row.rounds if load.server_us is not None]
    return dataclasses.replace(
        row,
        per_second=rate,
        p50_ms=median([load.p50_ms for load in row.rounds]),
        p99_ms=median([load.p99_ms for load in row.rounds]),
        mb_per_second=rate.median * request_bytes / 1e6,
        client_cores=median([load.client_cores for load in row.rounds]),
        server_us=median(server) if server else None,
        ratio=paired_ratio(row.times, reference),
    )
