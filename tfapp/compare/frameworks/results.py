"""What the study of the frameworks comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tfapp.compare.frameworks.history import ENDED, UNMEASURED, Ended, Unmeasured
from tfapp.compare.frameworks.packages import Package
from tfapp.compare.frameworks.roster import Step
from tfapp.compare.parity import Tolerance
from tfapp.compare.timing import Timing

Status = Literal["reference", "ok", "differs", "not installed", "failed"]


@dataclass(frozen=True)
class Lines:
    """Lines of code of a program.

    Attributes:
        total: All of them, without imports.
        imports: Those of imports.
        steps: Those of functions that are nothing but one step, by step.
        exchange: Those that only hand weights in and out.
    """

    total: int
    imports: int
    steps: Mapping[str, int]
    exchange: int

    @property
    def own(self) -> int:
        """What a program of one's own would have: all lines but those of the exchange."""
        return self.total - self.exchange

    @property
    def rest(self) -> int:
        """What is neither a step nor exchange: it makes batches and puts the parts together."""
        return self.own - sum(self.steps.values())


@dataclass(frozen=True)
class Row:
    """One program.

    Attributes:
        program: Its name.
        title: What it is, in a few words.
        status: Whether it stayed inside the tolerance, or why it was not compared.
        detail: What left the tolerance, what to install, or what went wrong.
        packages: What it is written with and is installed; its framework first.
        steps: Who does which step.
        lines: Of its code.
        source: Its text.
        loss: Largest max|d| / max|a| of a step's loss; `None` if it was not compared.
        weights: Largest max|d| / max|a| of a final weight; `None` if it was not compared.
        timing: How fast it is, by hand being the reference; `None` if that was not measured.
        timing_failure: Why it was not, if it should have been.
    """

    program: str
    title: str
    status: Status
    detail: str
    packages: tuple[Package, ...]
    steps: Mapping[str, Step]
    lines: Lines
    source: str
    loss: float | None = None
    weights: float | None = None
    timing: Timing | None = None
    timing_failure: str = ""


@dataclass(frozen=True)
class FrameworkStudy:
    """All programs.

    Attributes:
        steps: How many updates were compared.
        tolerance: What `loss` and `weights` of a row had to keep; it says nothing of gradients.
        first_loss: Of the program by hand.
        last_loss: Of the same, before the last update.
        rows: The program by hand, then the others.
        ended: Frameworks that ended, by year.
        unmeasured: Frameworks that did not end and are not measured.
    """

    steps: int
    tolerance: Tolerance
    first_loss: float
    last_loss: float
    rows: tuple[Row, ...]
    ended: tuple[Ended, ...] = ENDED
    unmeasured: tuple[Unmeasured, ...] = UNMEASURED

    @property
    def agrees(self) -> bool:
        """Whether every program that is installed computed what the program by hand did."""
        return all(row.status not in ("differs", "failed") for row in self.rows)

    def row(self, program: str) -> Row:
        """Returns the row of a program.

        Raises:
            KeyError: There is no such program.
        """
        return {row.program: row for row in self.rows}[program]
