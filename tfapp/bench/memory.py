"""How much memory a training takes, against how much data it trains on."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tfapp.bench.examples import write_examples
from tfapp.bench.suite import CONTENDERS
from tfapp.bench.workloads import WORKLOADS, Workload
from tfapp.timing.machine import Machine, read_machine
from tfapp.timing.process import Crew
from tfapp.timing.schedule import Moment, Watch, unwatched

LOOPS = ("tfapp-resident", "tfapp-streaming")
SIZES = (12_000, 48_000, 192_000)
_TRAIN_SECONDS = 0.5


@dataclass(frozen=True)
class MemoryPoint:
    """The memory of one process that trained on some data.

    Attributes:
        contender: Name of the loop.
        examples: Size of the training split.
        data_mb: What its features take.
        peak_mb: Peak resident memory of the process, reading the file and TensorFlow included;
            `None` where the system does not tell.
    """

    contender: str
    examples: int
    data_mb: float
    peak_mb: float | None


@dataclass(frozen=True)
class Memory:
    """All points.

    Attributes:
        machine: What it ran on.
        points: By size, then by loop.
    """

    machine: Machine
    points: tuple[MemoryPoint, ...]


def run_memory(
    sizes: Sequence[int] = SIZES, *, loops: Sequence[str] = LOOPS, watch: Watch = unwatched
) -> Memory:
    """Trains `mlp-sgd` on data of several sizes, each time in a new process.

    Args:
        sizes: Numbers of examples, multiples of the batch size.
        loops: Names of contenders.
        watch: Is told what happens next.

    Raises:
        ContenderFailed: A loop could not train, e.g. for lack of memory.
    """
    machine, points = read_machine(), []
    with tempfile.TemporaryDirectory(prefix="tfapp-bench-") as folder:
        for index, size in enumerate(sizes):
            workload = replace(WORKLOADS["mlp-sgd"], examples=size)
            source = Path(folder) / f"{size}.npz"
            write_examples(workload, source)
            for number, loop in enumerate(loops):
                done = (index * len(loops) + number) / (len(sizes) * len(loops))
                watch(Moment(f"{size:,} examples", "training", loop, done, None))
                points.append(_measure(loop, workload, source, Path(folder)))
            source.unlink()
    return Memory(machine, tuple(points))


def _measure(loop: str, workload: Workload, source: Path, folder: Path) -> MemoryPoint:
    with Crew(CONTENDERS) as crew:
        for _ in crew.start([loop]):
            pass
        crew.ask(
            loop,
            "prepare",
            workload=workload.to_json(),
            source=str(source),
            folder=str(folder),
            check_steps=0,
        )
        crew.ask(loop, "time", seconds=_TRAIN_SECONDS)
        peak = crew.ask(loop, "drop")["peak_bytes"]
    return MemoryPoint(
        loop,
        workload.examples,
        workload.examples * math.prod(workload.feature_shape) * 4 / 2**20,
        None if peak is None else peak / 2**20,
    )
