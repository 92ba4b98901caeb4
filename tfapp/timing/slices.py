"""From timed slices to numbers that can be compared.

    slices = [Slice(400, 0.5), Slice(400, 0.52)]
    spread([s.step_us for s in slices]).median     # 1275.0
    paired_ratio([2.0, 3.0, 2.4], [1.0, 1.0, 1.2]) # 2.0

Everything here is a pure function of what was measured.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Slice:
    """An uninterrupted stretch of training by one contender.

    Attributes:
        steps: Updates done.
        seconds: Wall time they took.
    """

    steps: int
    seconds: float

    @property
    def step_us(self) -> float:
        """Microseconds a step."""
        return self.seconds / self.steps * 1e6


@dataclass(frozen=True)
class Spread:
    """The middle of some values and how far they reach.

    Attributes:
        median: Half of them are below.
        p10: A tenth of them is below.
        p90: A tenth of them is above.
    """

    median: float
    p10: float
    p90: float


def spread(values: Sequence[float]) -> Spread:
    """Returns median, 10 % and 90 % quantile of at least one value."""
    return Spread(quantile(values, 0.5), quantile(values, 0.1), quantile(values, 0.9))


def quantile(values: Sequence[float], share: float) -> float:
    """Returns the value below which `share` of `values` lies, interpolated between neighbours."""
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def paired_ratio(values: Sequence[float], reference: Sequence[float]) -> float:
    """Returns the median over rounds of value / reference.

    The two of one round were measured right after each other, so what slowed the machine down for
    a while slowed both; the quotient of two medians would compare different moments.

    Args:
        values: One for each round.
        reference: One for each of the same rounds.
    """
    return statistics.median(v / r for v, r in zip(values, reference, strict=True))


def steps_for(seconds: float, step_seconds: float, unit: int = 1) -> int:
    """Returns how many steps take about `seconds`: a multiple of `unit`, at least one of them.

    Args:
        seconds: Wanted length of a slice.
        step_seconds: What a step took the last time.
        unit: The least number of steps that can be asked for.
    """
    return unit * max(1, round(seconds / (step_seconds * unit)))


def ranks(spreads: Sequence[Spread]) -> list[int | None]:
    """Returns places, 1 for the fastest; none for those whose order noise may have made.

    Two are told apart if the slower one's 10 % quantile is above the faster one's 90 % quantile.
    Who cannot be told apart from somebody has no place.
    """
    places: list[int | None] = []
    for one in spreads:
        others = [other for other in spreads if other is not one]
        faster = sum(other.p90 < one.p10 for other in others)
        slower = sum(one.p90 < other.p10 for other in others)
        places.append(faster + 1 if faster + slower == len(others) else None)
    return places
