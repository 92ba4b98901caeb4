"""What a contender is: built for a workload, checked on its first losses, then timed in slices."""

from __future__ import annotations

import abc
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tfapp.bench.workloads import Workload
from tfapp.timing.slices import Slice


@dataclass(frozen=True)
class Task:
    """What a contender is to train.

    Attributes:
        workload: Network, loss and optimizer.
        source: The examples, an `.npz` file of `write_examples`.
        folder: An empty folder for files of the contender; removed afterwards.
        checked: Whether its first losses will be asked for.
    """

    workload: Workload
    source: Path
    folder: Path
    checked: bool = True


@dataclass(frozen=True)
class Losses:
    """Mean loss of some steps in a row.

    Attributes:
        steps: How many.
        mean: Their mean; of one step its loss before the update.
    """

    steps: int
    mean: float


class Contender(abc.ABC):
    """One way to train a workload; made in a process of its own.

    A subclass builds everything in its constructor, from the initial weights of
    `tfapp.bench.examples`. Every step draws a batch that holds other examples than the one before,
    and every epoch but the first has its examples in another order.

    Args:
        task: What to train.
    """

    # The least number of steps that can be asked for; requests are multiples of it.
    unit: int = 1
    # False for what computes only a part of the work, and so has no losses to check.
    trains: ClassVar[bool] = True

    @abc.abstractmethod
    def __init__(self, task: Task) -> None: ...

    @abc.abstractmethod
    def first_losses(self, steps: int) -> Sequence[Losses]:
        """Trains on the first batches of the stored order, before anything else is asked.

        Args:
            steps: How many batches, at most those of an epoch.

        Returns:
            Losses of the first steps, at most so many; one for each where the contender can tell.
        """

    @abc.abstractmethod
    def run(self, steps: int) -> None:
        """Trains `steps` steps more, and returns when they are done."""

    def time(self, steps: int) -> Slice:
        """Trains `steps` steps more and tells how long that took."""
        started = time.perf_counter()
        self.run(steps)
        return Slice(steps, time.perf_counter() - started)

    def loss(self) -> float | None:
        """Returns the newest loss that is known."""
        return None

    def remarks(self) -> str:
        """Returns what a reader of the table should know besides, in a few words."""
        return ""

    def close(self) -> None:  # noqa: B027  (most have nothing to do here)
        """Lets go of what is held; another workload may come."""


def one_by_one(losses: Iterable[float]) -> list[Losses]:
    """Returns the losses of single steps in the form that `first_losses` gives."""
    return [Losses(1, float(loss)) for loss in losses]
