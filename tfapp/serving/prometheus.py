"""Numbers as Prometheus reads them: counters, gauges and histograms with labels, and their page.

The page is TensorFlow Serving's: lines for types, none for help, and a metric has lines for the
labels that have been seen. Nothing here locks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class Number:
    """A counter, or a gauge.

    Attributes:
        value: What was added up.
    """

    value: float = 0

    def add(self, value: float) -> None:
        """Adds to it."""
        self.value += value

    def copy(self) -> Number:
        """Returns the same, which stays as it is."""
        return Number(self.value)


class Histogram:
    """How many values are in each bucket.

    Args:
        limits: The largest value of each bucket but the last, ascending.
        counts: How many values are in each; none if not given.
        total: Their sum.
    """

    __slots__ = ("counts", "limits", "total")

    def __init__(
        self, limits: Sequence[float], counts: Sequence[int] = (), total: float = 0.0
    ) -> None:
        self.limits = limits
        self.counts = list(counts or [0] * (len(limits) + 1))
        self.total = total

    def add(self, value: float) -> None:
        """Counts a value."""
        self.counts[bisect_left(self.limits, value)] += 1
        self.total += value

    def copy(self) -> Histogram:
        """Returns the same, which stays as it is."""
        return Histogram(self.limits, self.counts, self.total)


Cell = Number | Histogram


@dataclass
class Family:
    """One metric: a cell for each combination of values of its labels.

    Attributes:
        kind: `counter`, `gauge` or `histogram`.
        labels: Names of the labels.
        limits: Of the buckets, for a histogram.
        cells: By the values of the labels, in the order of their first use.
    """

    kind: str
    labels: tuple[str, ...] = ()
    limits: tuple[float, ...] = ()
    cells: dict[tuple[str, ...], Cell] = field(default_factory=dict)

    def cell(self, *values: str) -> Cell:
        """Returns the cell of these values, a new one if they have not been seen."""
        found = self.cells.get(values)
        if found is None:
            found = self.cells[values] = Histogram(self.limits) if self.limits else Number()
        return found

    def copy(self) -> Family:
        """Returns the same, which stays as it is."""
        cells = {values: cell.copy() for values, cell in self.cells.items()}
        return Family(self.kind, self.labels, self.limits, cells)


def exponential(first: float, factor: float, number: int) -> tuple[float, ...]:
    """Returns limits of buckets, each a multiple of the one before."""
    limits = [first]
    while len(limits) < number:
        limits.append(limits[-1] * factor)
    return tuple(limits)


def page(families: Mapping[str, Family]) -> bytes:
    """Returns metrics in Prometheus' text format, in the order of their names."""
    lines: list[str] = []
    for name in sorted(families):
        lines += _written(name, families[name])
    return "\n".join([*lines, ""]).encode(errors="replace")


def _written(name: str, family: Family) -> list[str]:
    lines = [f"# TYPE {name} {family.kind}"]
    for values, cell in family.cells.items():
        pairs = zip(family.labels, values, strict=True)
        labels = ",".join(f'{label}="{_escaped(value)}"' for label, value in pairs)
        if isinstance(cell, Number):
            lines.append(f"{name}{{{labels}}} {_number(cell.value)}")
            continue
        before, below = f"{name}_bucket{{{labels}{',' if labels else ''}", 0
        for limit, count in zip(cell.limits, cell.counts, strict=False):
            below += count
            lines.append(f'{before}le="{limit:g}"}} {below}')
        everything = below + cell.counts[-1]
        lines.append(f'{before}le="+Inf"}} {everything}')
        lines.append(f"{name}_sum{{{labels}}} {_number(cell.total)}")
        lines.append(f"{name}_count{{{labels}}} {everything}")
    return lines


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
