"""What a program is, and what comes out when it is run. Needs no TensorFlow."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass

PRINTED = "printed in the notes"
CLOSED_FORM = "closed form"
NUMPY = "worked out in NumPy"
RELATION = "relation"


@dataclass(frozen=True)
class Check:
    """Something that must be so, and whether it is.

    Attributes:
        name: What was looked at, e.g. `w after step 1`.
        expected: What must come out, as text.
        found: What came out, as text.
        holds: Whether they agree.
        origin: `PRINTED`, `CLOSED_FORM`, `NUMPY` or `RELATION`: where `expected` comes from.
    """

    name: str
    expected: str
    found: str
    holds: bool
    origin: str


@dataclass(frozen=True)
class Outcome:
    """What one run of a program gave.

    Attributes:
        values: Numbers by name; a list holds one number a step.
        checks: What was compared, in the order of the program.
        unchecked: What was not, because its step was not reached.
    """

    values: Mapping[str, float | list[float]]
    checks: tuple[Check, ...]
    unchecked: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether everything that was checked is as it must be."""
        return all(check.holds for check in self.checks)


@dataclass(frozen=True)
class Program:
    """One program of the notes.

    Attributes:
        name: By which it is run.
        source: The notes and the place in them, or where else it comes from.
        teaches: What it shows, in one line.
        steps: How many steps it makes unless told otherwise.
        function: `module:function`, which takes the number of steps and returns an `Outcome`.
            Imported when the program runs, because it needs TensorFlow.
    """

    name: str
    source: str
    teaches: str
    steps: int
    function: str

    def run(self, steps: int | None = None) -> Outcome:
        """Runs the program in a graph and a session of its own.

        Args:
            steps: At least 1; the program's own number when omitted.

        Returns:
            What came out, beside what must come out.

        Raises:
            ValueError: `steps` is less than 1.
        """
        steps = self.steps if steps is None else steps
        if steps < 1:
            raise ValueError(f"steps: found {steps}, allowed whole numbers from 1 up")
        module, _, function = self.function.partition(":")
        outcome: Outcome = getattr(importlib.import_module(module), function)(steps)
        return outcome
