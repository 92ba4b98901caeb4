"""What running a row of the notes comes to, and what collects it while the row runs.

A number of the notes is what an old NumPy printed of a float32: six digits. It is compared in that
form and never digit by digit with what `repr` shows today.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tfapp.errors import reason_of

PRINTED = "printed in the notes"
CLOSED_FORM = "closed form"
NUMPY = "worked out in NumPy"
RELATION = "relation"
MEASURED = "measured"  # on TensorFlow 2.21, Keras 3.15 and PyTorch 2.13, on another day

Status = Literal["reproduced", "differs", "not installed", "no numbers"]


@dataclass(frozen=True)
class Check:
    """Something that must be so, and whether it is.

    Attributes:
        name: What was looked at, e.g. `w after step 1`.
        expected: What must come out, as text.
        found: What came out, as text.
        holds: Whether they agree.
        origin: Where `expected` comes from: `PRINTED`, `CLOSED_FORM`, `NUMPY`, `RELATION` or
            `MEASURED`.
    """

    name: str
    expected: str
    found: str
    holds: bool
    origin: str


@dataclass(frozen=True)
class NoteResult:
    """What came of one row.

    Attributes:
        number: Of the row.
        source: The notes and the place in them.
        title: What the program does.
        framework: What it is written for.
        status: `differs` if a check does not hold or the program raised.
        checks: What was compared, in the order of the program.
        detail: Why it is not reproduced; of a reproduced row what has to be known about it, if
            there is anything.
        seconds: How long it took, with what it was the first to import.
    """

    number: int
    source: str
    title: str
    framework: str
    status: Status
    checks: tuple[Check, ...]
    detail: str
    seconds: float


class Record:
    """Takes down the checks of one row."""

    def __init__(self) -> None:
        self.checks: list[Check] = []

    def include(self, checks: Iterable[Check]) -> None:
        """Adds checks that were made elsewhere."""
        self.checks += checks

    def printed(self, name: str, expected: float, found: Any) -> None:
        """Compares with a number that the notes print, in six digits."""
        wanted, came = f"{expected:.6g}", f"{float(found):.6g}"
        self.checks.append(Check(name, wanted, came, wanted == came, PRINTED))

    def close(self, name: str, expected: Any, found: Any, *, tolerance: float, origin: str) -> None:
        """Compares numbers up to rounding.

        Args:
            name: What they are.
            expected: A number or an array.
            found: The same shape.
            tolerance: The largest difference, as a share of the largest expected magnitude.
            origin: Where `expected` comes from.
        """
        wanted, came = np.asarray(expected, np.float64), np.asarray(found, np.float64)
        same_shape = wanted.shape == came.shape
        holds = same_shape and bool(
            np.all(np.abs(wanted - came) <= tolerance * np.abs(wanted).max())
        )
        self.checks.append(Check(name, _text(wanted), _text(came), holds, origin))

    def measured(self, name: str, expected: Any, found: Any, *, tolerance: float = 1e-6) -> None:
        """Compares with what the program gave when it was first run on these frameworks.

        The tolerance leaves room for processors that add in another order.
        """
        self.close(name, expected, found, tolerance=tolerance, origin=MEASURED)

    def relation(self, name: str, expected: str, found: object, holds: bool) -> None:
        """Notes down whether a relation holds."""
        self.checks.append(Check(name, expected, str(found), bool(holds), RELATION))

    def between(self, name: str, least: float, found: Any, most: float) -> None:
        """Notes down whether a number lies strictly between two others."""
        number = float(found)
        self.relation(name, f"{least:g} to {most:g}", f"{number:.6g}", least < number < most)

    def equal(self, name: str, expected: Any, found: Any) -> None:
        """Compares two arrays bit by bit."""
        same = np.array_equal(np.asarray(expected), np.asarray(found))
        self.relation(name, "equal, bit by bit", "equal" if same else "different", same)

    def exactly(self, name: str, expected: int, found: int) -> None:
        """Compares a count with one that was worked out on paper."""
        self.checks.append(
            Check(name, f"{expected:,}", f"{found:,}", expected == found, CLOSED_FORM)
        )

    def fails(self, line: str, says: str, *errors: type[Exception], **names: Any) -> None:
        """Runs a line as the notes print it, which must fail.

        Args:
            line: Python.
            says: What its error must say; empty if that depends on the machine.
            errors: Of which kind it may be.
            names: What the line can see.
        """
        expected = " or ".join(error.__name__ for error in errors)
        if says:
            expected += f": {says}"
        try:
            exec(compile(line, "<notes>", "exec"), names)
        except Exception as error:
            found = describe(error).partition(". ")[0]
            holds = isinstance(error, errors) and says in str(error)
        else:
            found, holds = "it runs", False
        self.relation(f"as printed: {line}", expected, found, holds)


def describe(error: Exception) -> str:
    """Returns the kind of an error and the one line of it that says something."""
    kind, reason = type(error).__name__, reason_of(error)
    return reason if reason.startswith(kind) else f"{kind}: {reason}"


def _text(value: np.ndarray) -> str:
    """Writes a number, or the ends of an array and its shape."""
    if not value.ndim:
        return f"{float(value):.8g}"
    flat = [f"{number:.6g}" for number in value.ravel()]
    shown = flat if len(flat) <= 4 else [*flat[:2], "...", flat[-1]]
    return f"[{', '.join(shown)}] ({' x '.join(map(str, value.shape))})"
