"""Who was the fastest, and whom the others are compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from tfapp.timing.slices import spread


class Timed(Protocol):
    """A contender and what was measured of it."""

    @property
    def contender(self) -> str:
        """Its name."""

    @property
    def times(self) -> list[float]:
        """One a round; empty if it was not timed."""


R = TypeVar("R", bound=Timed)


def in_order(
    rows: Sequence[R], reference: str, counts: Callable[[R], bool] = lambda row: True
) -> tuple[str | None, list[R]]:
    """Puts rows that were timed in order by the median of their times.

    Args:
        rows: As measured.
        reference: The contender that ratios refer to; if it was not timed, the fastest takes its
            place.
        counts: Whether a row may take that place, as long as there is one that may.

    Returns:
        The name of the reference, and the rows, the fastest first.
    """
    timed = sorted((row for row in rows if row.times), key=lambda row: spread(row.times).median)
    names = [row.contender for row in timed]
    if reference in names:
        return reference, timed
    counting = [row.contender for row in timed if counts(row)]
    return next(iter(counting or names), None), timed
