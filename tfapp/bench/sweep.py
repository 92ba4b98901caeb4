"""How the cost of a step grows with the batch and with the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tfapp.bench.results import Row
from tfapp.bench.roster import Entry
from tfapp.bench.suite import run_training
from tfapp.bench.workloads import WORKLOADS, Workload
from tfapp.timing.machine import Machine
from tfapp.timing.schedule import Watch, unwatched

# What tfapp is compared with.
DEFAULT = ("fit",)
BATCH_SIZES = (32, 128, 512, 2048)
WIDTHS = (64, 256, 1024)
# A multiple of every batch size.
_EXAMPLES = 12_288


@dataclass(frozen=True)
class Point:
    """A workload that differs from `mlp-adam` in one number.

    Attributes:
        axis: What is varied: `batch size` or `width`.
        value: Examples of a batch, or units of the first hidden layer; the second has half.
        workload: What is trained.
    """

    axis: str
    value: int
    workload: Workload


@dataclass(frozen=True)
class PointResult:
    """What was measured at a point.

    Attributes:
        axis: As in `Point`.
        value: As in `Point`.
        rows: All contenders.
    """

    axis: str
    value: int
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Sweep:
    """A whole sweep.

    Attributes:
        machine: What it ran on.
        contenders: Their names, the reference first.
        points: In order.
    """

    machine: Machine
    contenders: tuple[str, ...]
    points: tuple[PointResult, ...]


def variations() -> list[Point]:
    """Returns the points of both axes."""
    # A low rate: with the usual one the last bits of a wide network grow into the third digit.
    base = replace(WORKLOADS["mlp-adam"], examples=_EXAMPLES, batch_size=128, learning_rate=1e-4)
    batches = [
        Point("batch size", size, replace(base, name=f"batch size {size}", batch_size=size))
        for size in BATCH_SIZES
    ]
    widths = [
        Point("width", width, replace(base, name=f"width {width}", hidden=(width, width // 2)))
        for width in WIDTHS
    ]
    return batches + widths


def run_sweep(
    contenders: Sequence[Entry],
    points: Sequence[Point],
    *,
    rounds: int,
    seconds: float,
    watch: Watch = unwatched,
) -> Sweep:
    """Times contenders at every point.

    Args:
        contenders: Who trains, the reference first.
        points: Where, as of `variations`.
        rounds: Slices of each contender.
        seconds: Length of a slice, about.
        watch: Is told what happens next.

    Raises:
        UsageError: No contender can train the network of a point.
    """
    result = run_training(
        [point.workload for point in points],
        contenders,
        rounds=rounds,
        seconds=seconds,
        watch=watch,
    )
    return Sweep(
        result.machine,
        tuple(entry.name for entry in contenders),
        tuple(
            PointResult(point.axis, point.value, measured.rows)
            for point, measured in zip(points, result.workloads, strict=True)
        ),
    )
