"""What a search is to cost at most, and whether it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tfapp.bench.tuning.results import SearchRow, TuningVerdict
from tfapp.bench.tuning.roster import PLAIN, REFERENCE
from tfapp.timing.slices import paired_ratio, spread


@dataclass(frozen=True)
class Target:
    """A bound on something measured.

    Attributes:
        name: What is asked, with its unit.
        contenders: Whose times it takes; without one of them there is no verdict.
        measure: Works it out from their rows.
        bound: Whether it has to be at least or at most the value.
        value: The bound.
    """

    name: str
    contenders: tuple[str, ...]
    measure: Callable[..., float]
    bound: Literal["at least", "at most"]
    value: float


def _overhead(row: SearchRow) -> float:
    return spread([done.overhead_seconds for done in row.rounds]).median


def _times_as_fast(ours: SearchRow, theirs: SearchRow) -> float:
    return paired_ratio(theirs.times, ours.times)


TARGETS: tuple[Target, ...] = (
    Target("seconds of a trial besides its training", (REFERENCE,), _overhead, "at most", 0.5),
    Target(f"times as fast as {PLAIN}", (REFERENCE, PLAIN), _times_as_fast, "at least", 1.5),
)


def judge(
    rows: Sequence[SearchRow], targets: Sequence[Target] = TARGETS
) -> tuple[TuningVerdict, ...]:
    """Returns a verdict for each target whose contenders' times count."""
    timed = {row.contender: row for row in rows if row.rounds}
    return tuple(
        _judge(target, timed) for target in targets if timed.keys() >= set(target.contenders)
    )


def _judge(target: Target, timed: Mapping[str, SearchRow]) -> TuningVerdict:
    measured = target.measure(*(timed[name] for name in target.contenders))
    met = measured >= target.value if target.bound == "at least" else measured <= target.value
    return TuningVerdict(target.name, measured, f"{target.bound} {target.value:g}", met)
