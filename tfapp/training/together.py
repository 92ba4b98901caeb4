"""What processes that train together must decide as one: each clock and each signal is heard once.

Every process computes the same steps, and each step waits for all of them; were one to stop, or
to save, where another goes on, both would wait for ever.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import tensorflow as tf

from tfapp.errors import ExitCode, reason_of
from tfapp.runs import Run
from tfapp.training.cluster import WorkerLost
from tfapp.training.strategy import Place

_PATH_BYTES = 1024
# What collective operations end with, depending on the moment at which the other side goes.
_LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
)


class Agreement(Protocol):
    """How a process comes to know what all of them go by."""

    def settle(self, steps: int, request: ExitCode | None) -> tuple[int, ExitCode | None]:
        """Returns the steps of the next trip, and whether to stop instead.

        Args:
            steps: What this process would do.
            request: What this process was asked by a signal.
        """

    def clock(self) -> float:
        """Returns seconds that only grow."""

    def from_chief(self, number: int) -> int:
        """Returns the number that the chief gives."""


class Alone:
    """One process decides for itself."""

    clock = staticmethod(time.monotonic)

    def settle(self, steps: int, request: ExitCode | None) -> tuple[int, ExitCode | None]:
        """Returns what it is given."""
        return steps, request

    def from_chief(self, number: int) -> int:
        """Returns it."""
        return number


class Together:
    """The chief's clock counts for all, and a request to stop from any of them.

    All processes must call the methods in the same order: each waits for the others.

    Args:
        place: The processes.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._began = time.monotonic()
        self._clock = 0.0

    def settle(self, steps: int, request: ExitCode | None) -> tuple[int, ExitCode | None]:
        """Returns the chief's steps, and anyone's request: SIGTERM before Ctrl-C."""
        told = [steps, time.monotonic() - self._began] if self._place.is_chief else [0, 0]
        codes = (ExitCode.TERMINATED, ExitCode.INTERRUPTED)
        agreed, self._clock, *asked = self._sum([*told, *(request is code for code in codes)])
        return round(agreed), next((c for c, n in zip(codes, asked, strict=True) if n), None)

    def clock(self) -> float:
        """Returns the chief's clock when it was last settled."""
        return self._clock

    def from_chief(self, number: int) -> int:
        """Returns the chief's number; nobody goes on before all have come here."""
        return int(self._sum([number if self._place.is_chief else 0])[0])

    def text_from_chief(self, text: str) -> str:
        """Returns the chief's text, at most `_PATH_BYTES` bytes long."""
        content = text.encode()[:_PATH_BYTES] if self._place.is_chief else b""
        told = self._sum(list(content.ljust(_PATH_BYTES, b"\0")))
        return bytes(map(int, told)).rstrip(b"\0").decode()

    def _sum(self, numbers: Sequence[float]) -> list[float]:
        whole = self._reduce(tf.constant([float(n) for n in numbers], tf.float64))
        return [float(number) for number in whole.numpy()]

    @tf.function
    def _reduce(self, numbers: tf.Tensor) -> tf.Tensor:
        strategy = self._place.strategy
        return strategy.reduce("SUM", strategy.run(self._once, args=(numbers,)), axis=None)

    def _once(self, numbers: tf.Tensor) -> Any:
        """Lets a process with several replicas count once."""
        index = tf.distribute.get_replica_context().replica_id_in_sync_group
        first = tf.cast(index % self._place.devices, tf.float64) == 0
        return tf.where(first, numbers, tf.zeros_like(numbers))


def agreement_of(place: Place) -> Agreement:
    """Returns how the processes of a place agree."""
    return Together(place) if place.cluster else Alone()


def name_run(place: Place, run: Run | None = None) -> str:
    """Tells all processes the path of the run that the chief has claimed.

    Args:
        place: The processes; with one of them nothing needs telling.
        run: Given by the chief.

    Raises:
        WorkerLost: Another worker of the cluster is gone.
    """
    path = str(run.path.absolute()) if run else ""
    if not place.cluster:
        return path
    with without_lost_workers(place):
        return Together(place).text_from_chief(path)


@contextmanager
def without_lost_workers(place: Place) -> Iterator[None]:
    """Turns what TensorFlow says of a broken connection into one sentence.

    Raises:
        WorkerLost: Another worker of the cluster is gone.
    """
    try:
        yield
    except _LOST as error:
        if not place.cluster:
            raise
        raise WorkerLost(
            f"worker {place.worker} has lost another one of {place.workers}"
            f" ({reason_of(error)}). See what that one said; then continue from the newest"
            " checkpoint on all of them: tfapp train --resume RUN"
        ) from error
