"""How fast a server is to be, and whether it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tfapp.bench.serving.results import PointResult, Row, ServingVerdict
from tfapp.bench.serving.roster import ECHO, ORDINARY, REFERENCE
from tfapp.timing.slices import paired_ratio


@dataclass(frozen=True)
class Target:
    """A bound on something measured.

    Attributes:
        name: What is asked, with its unit.
        point: Where.
        contenders: Whose rows it takes; without one of them there is no verdict.
        measure: Works it out from them.
        bound: Whether it has to be at least or at most the value.
        value: The bound.
    """

    name: str
    point: str
    contenders: tuple[str, ...]
    measure: Callable[..., float]
    bound: Literal["at least", "at most"]
    value: float


def _times_as_fast(ours: Row, theirs: Row) -> float:
    return paired_ratio(theirs.times, ours.times)


def _p99(row: Row) -> float:
    assert row.p99_ms is not None, "it was timed"
    return row.p99_ms


_FASTER = f"times as fast as {ORDINARY}"

TARGETS: tuple[Target, ...] = (
    Target(_FASTER, "rest-1", (REFERENCE, ORDINARY), _times_as_fast, "at least", 4.5),
    Target(_FASTER, "rest-32", (REFERENCE, ORDINARY), _times_as_fast, "at least", 10.0),
    Target("p99 in milliseconds", "rest-32", (REFERENCE,), _p99, "at most", 8.0),
    Target(f"share of {ECHO}", "grpc-32", (REFERENCE, ECHO), _times_as_fast, "at least", 0.6),
)


def judge(
    results: Sequence[PointResult], targets: Sequence[Target] = TARGETS
) -> tuple[ServingVerdict, ...]:
    """Returns a verdict for each target whose contenders were timed."""
    found = {result.point: result for result in results}
    return tuple(
        verdict
        for target in targets
        if target.point in found and (verdict := _judge(target, found[target.point])) is not None
    )


def _judge(target: Target, result: PointResult) -> ServingVerdict | None:
    rows = [row for name in target.contenders if (row := result.row(name)) is not None]
    if len(rows) < len(target.contenders):
        return None
    measured = target.measure(*rows)
    met = measured >= target.value if target.bound == "at least" else measured <= target.value
    wanted = f"{target.bound} {target.value:g}"
    return ServingVerdict(target.name, target.point, measured, wanted, met)
