"""What a comparison comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tfapp.compare.parity import Parity, Tolerance
from tfapp.compare.timing import Timing
from tfapp.timing.machine import Machine

if TYPE_CHECKING:  # they need TensorFlow
    from tfapp.compare.frameworks import FrameworkStudy
    from tfapp.compare.graphs import CompiledSize, GraphSize, GraphStudy
    from tfapp.compare.notes import NoteResult

# `cannot`: the engine does not compute this program. Neither it nor `missing` was compared, nor
# `failed`, which raised an error on the way.
Status = Literal["reference", "inside", "outside", "failed", "cannot", "missing"]
WRONG: tuple[Status, ...] = ("outside", "failed")


@dataclass(frozen=True)
class Differences:
    """How far an engine was from the reference, step by step.

    Attributes:
        loss: max|d| / max|a|; infinite where only one side is NaN or infinite.
        gradients: The largest of all gradients.
        weights: The largest of all weights.
    """

    loss: tuple[float, ...] = ()
    gradients: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()


@dataclass(frozen=True)
class Row:
    """One engine on one program.

    Attributes:
        engine: Its name.
        status: Whether it stayed inside its tolerance, or why it was not compared.
        detail: What left the tolerance first, or why the engine was not compared.
        tolerance: What it had to keep; `None` if it was not compared.
        parity: How far it was from the reference; `None` if it was not compared.
        losses: One a step, before the update.
        differences: From the reference.
        graph: How large its graph is; `None` if it has none.
        timing: How fast it was; `None` if it was not timed.
        timing_failure: Why it was not, if it should have been.
    """

    engine: str
    status: Status
    detail: str = ""
    tolerance: Tolerance | None = None
    parity: Parity | None = None
    losses: tuple[float, ...] = ()
    differences: Differences = Differences()
    graph: GraphSize | CompiledSize | None = None
    timing: Timing | None = None
    timing_failure: str = ""


@dataclass(frozen=True)
class ProgramResult:
    """All engines on one program.

    Attributes:
        program: Its name.
        about: What it computes.
        steps: How many were compared.
        reference: The engine that all others were compared with.
        first_loss: Of the reference.
        last_loss: Of the reference, before its last update.
        rows: The reference, then the others.
    """

    program: str
    about: str
    steps: int
    reference: str
    first_loss: float
    last_loss: float
    rows: tuple[Row, ...]

    def row(self, engine: str) -> Row:
        """Returns the row of an engine.

        Raises:
            KeyError: It did not take part.
        """
        rows = {row.engine: row for row in self.rows}
        return rows[engine]


@dataclass(frozen=True)
class Comparison:
    """A whole comparison.

    Attributes:
        agrees: Whether every engine that was compared stayed inside its tolerance, and everything
            that was studied came out as it must.
        exact: Whether every bit had to be equal, with Grappler off.
        programs: One result each.
        machine: What it was timed on; `None` if nothing was.
        notes: What came of the programs of the notes; empty if they were not run.
        graphs: Static beside dynamic graphs; `None` if they were not measured.
        frameworks: One network by hand and in frameworks; `None` if they were not compared.
        failures: Why a study has no result, by its name.
    """

    agrees: bool
    exact: bool
    programs: tuple[ProgramResult, ...]
    machine: Machine | None = None
    notes: tuple[NoteResult, ...] = ()
    graphs: GraphStudy | None = None
    frameworks: FrameworkStudy | None = None
    failures: Mapping[str, str] = field(default_factory=dict)
