"""Collects what a program checks while it runs.

    record = Record()
    record.printed("w", 0.1, weights, step=1)
    record.close("w at the end", 5.0, weights[-1], tolerance=1e-5)
    return record.outcome(w=weights[-1])

A number of the notes is what an old NumPy printed of a float32: six digits. It is compared in that
form and never digit by digit with what `repr` shows today.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from legacy_tf1.program import CLOSED_FORM, PRINTED, RELATION, Check, Outcome


class Record:
    """The checks of one run."""

    def __init__(self) -> None:
        self._checks: list[Check] = []
        self._unchecked: list[str] = []

    def reached(self, name: str, step: int, steps: int) -> bool:
        """Tells whether a run has come as far as a check needs; if not, notes that down.

        Args:
            name: What would be checked.
            step: How many steps it takes.
            steps: How many were made.
        """
        if step <= steps:
            return True
        self._unchecked.append(f"{name} (needs {step} steps)")
        return False

    def printed(self, name: str, expected: float, series: Sequence[float], step: int) -> None:
        """Compares with a number that is printed in the notes, in six digits.

        Args:
            name: What it is the value of.
            expected: The number as it is printed.
            series: `[steps + 1]` values, the first before training.
            step: After how many steps the notes print it.
        """
        name = f"{name} after step {step}" if step else f"{name} before training"
        if self.reached(name, step, len(series) - 1):
            wanted, found = f"{expected:.6g}", f"{series[step]:.6g}"
            self._checks.append(Check(name, wanted, found, wanted == found, PRINTED))

    def close(
        self, name: str, expected: Any, found: Any, *, tolerance: float, origin: str = CLOSED_FORM
    ) -> None:
        """Compares numbers up to rounding.

        Args:
            name: What they are.
            expected: A number or an array.
            found: The same shape.
            tolerance: The largest difference, as a share of the largest expected magnitude.
            origin: Where `expected` comes from.
        """
        wanted, came = np.asarray(expected, np.float64), np.asarray(found, np.float64)
        if wanted.shape != came.shape:
            holds = False
        else:
            holds = bool(np.all(np.abs(wanted - came) <= tolerance * np.abs(wanted).max()))
        self._checks.append(Check(name, _text(wanted), _text(came), holds, origin))

    def equal(self, name: str, expected: Any, found: Any) -> None:
        """Compares two arrays bit by bit."""
        same = np.array_equal(np.asarray(expected), np.asarray(found))
        self.relation(name, "equal, bit by bit", "equal" if same else "different", same)

    def relation(self, name: str, expected: str, found: str, holds: bool) -> None:
        """Notes down whether a relation holds."""
        self._checks.append(Check(name, expected, found, bool(holds), RELATION))

    def outcome(self, **values: Any) -> Outcome:
        """Returns all of it, with the values turned into floats and lists of floats."""
        plain = {name: np.asarray(value, np.float64).tolist() for name, value in values.items()}
        return Outcome(plain, tuple(self._checks), tuple(self._unchecked))


def _text(value: np.ndarray) -> str:
    if not value.ndim:
        return f"{float(value):.8g}"
    flat = value.ravel()
    ends = ", ".join(f"{number:.6g}" for number in flat[:2])
    middle = ", ..., " if flat.size > 3 else ", "
    last = f"{middle}{flat[-1]:.6g}" if flat.size > 2 else ""
    shape = " x ".join(map(str, value.shape))
    return f"[{ends}{last}] ({shape})"
