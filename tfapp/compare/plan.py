"""Checks all that was asked for before anything is computed; imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfapp.compare.arrays import MLP_SIZES, Arrays, mlp_weights
from tfapp.compare.programs import Program, Study, find_subjects
from tfapp.compare.roster import DEFAULT_REFERENCE, ENGINES, Engine, find_engines
from tfapp.compare.task import Task
from tfapp.errors import DataError, MissingError, UsageError

_START_SECONDS = 4.0
_COMPARE_SECONDS = 4.0


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Attributes:
        programs: One after another.
        studies: What else is compared, after them.
        engines: Who is compared; some may be unable or not installed.
        reference: What they are compared with.
        steps: How many updates; `None`: each program's own number.
        exact: Whether every bit must be equal, with Grappler off.
        data: Folder of IDX files, if any program needs one; it has been looked into.
        rounds: Slices in which every engine is timed; 0 for none.
    """

    programs: tuple[Program, ...]
    studies: tuple[Study, ...]
    engines: tuple[Engine, ...]
    reference: Engine
    steps: int | None
    exact: bool
    data: Path | None
    rounds: int

    @property
    def measures(self) -> bool:
        """Whether anything is timed."""
        studies = {study.name for study in self.studies}
        return "graphs" in studies or bool(
            self.rounds and (self.programs or "frameworks" in studies)
        )

    def expected_seconds(self) -> dict[str, float]:
        """Returns about how long each stage takes on two cores."""
        programs, engines = len(self.programs), 1 + len(self.engines)
        seconds = {"comparing": programs and _START_SECONDS + programs * _COMPARE_SECONDS}
        slices = 0.5 + 0.25 * self.rounds
        timed = bool(self.rounds and programs)
        seconds["timing"] = _START_SECONDS + engines * programs * slices if timed else 0.0
        return seconds | {study.name: study.seconds for study in self.studies}

    def tasks(self) -> Iterator[Task]:
        """Yields what engines are given; arrays are drawn when their turn comes."""
        for program in self.programs:
            yield task_of(program, self.data, self.steps, grappler=not self.exact)


def make_plan(
    programs: Iterable[str] = (),
    *,
    engines: Iterable[str] = (),
    reference: str = DEFAULT_REFERENCE,
    steps: int | None = None,
    exact: bool = False,
    data: Path | None = None,
    rounds: int = 0,
) -> Plan:
    """Finds what was asked for by name. Arguments and errors are those of `compare_programs`."""
    if steps is not None and steps < 1:
        raise UsageError(f"steps: found {steps}, allowed 1 or more")
    if rounds < 0:
        raise UsageError(f"rounds: found {rounds}, allowed 0 or more")
    if exact and rounds:
        raise UsageError(
            "nothing is timed where every bit must be equal, because Grappler is off then."
            " Ask for 0 rounds."
        )
    chosen, studies = find_subjects(programs, with_data=data is not None, exact=exact)
    (base,) = find_engines([reference])
    names = list(engines)
    if not chosen and (names or steps is not None or reference != DEFAULT_REFERENCE):
        raise UsageError(
            f"engines, reference and steps are for programs; {studies[0].name} has its own."
        )
    team = _team(names, base, exact=exact)
    for program in chosen:
        _check_able(program, base, team)
    if data is not None:
        read_rows(data)
    return Plan(tuple(chosen), tuple(studies), tuple(team), base, steps, exact, data, rounds)


def task_of(
    program: Program, data: Path | None, steps: int | None = None, *, grappler: bool = True
) -> Task:
    """Returns a program with its arrays.

    Args:
        program: What is computed.
        data: Folder of IDX files; needed only by a program without arrays of its own.
        steps: How many updates; the program's own number when omitted.
        grappler: As in `Task`.

    Raises:
        MissingError: There are no such files.
        DataError: They do not suit the program.
    """
    if program.draw is not None:
        arrays = program.draw()
    else:
        assert data is not None, "find_subjects lets no program pass that has no data"
        arrays = read_rows(data)
    return Task(program, arrays, steps or program.steps, grappler=grappler)


def read_rows(folder: Path) -> Arrays:
    """Returns images `[N, 784]` from 0 to 1 and labels `[N]` of the training part of IDX files.

    Raises:
        MissingError: There are no such files.
        DataError: They are not ten classes of images of 784 pixels.
    """
    from tfapp.data.idx import read_idx

    part = read_idx(folder).train
    images = part.features.reshape(len(part.features), -1)
    labels = part.labels.astype(np.int32)
    pixels, classes = MLP_SIZES[0], MLP_SIZES[-1]
    if not len(images) or images.shape[1] != pixels or labels.max() >= classes:
        raise DataError(
            f"{folder} holds {len(images):,} images of {images.shape[1]} pixels in"
            f" {labels.max(initial=-1) + 1} classes; mnist-mlp needs {pixels} pixels and at most"
            f" {classes} classes."
        )
    scaled = images.astype(np.float32) / np.float32(255)
    return Arrays(mlp_weights(), {"images": scaled, "labels": labels})


def _team(names: Sequence[str], base: Engine, *, exact: bool) -> list[Engine]:
    chosen = find_engines(names)
    if exact:
        able = [name for name, engine in ENGINES.items() if engine.exact]
        wrong = [e.name for e in (base, *(chosen if names else ())) if not e.exact]
        if wrong:
            raise UsageError(
                f"{wrong[0]} rounds in its own way and cannot be compared bit by bit."
                f" With --exact, these can: {', '.join(able)}."
            )
        chosen = [engine for engine in chosen if engine.exact]
    return [engine for engine in chosen if engine.name != base.name]


def _check_able(program: Program, base: Engine, team: Sequence[Engine]) -> None:
    """Refuses a program that the reference cannot compute, or nobody else."""
    if program.kind in base.cannot:
        raise UsageError(
            f"{base.name} cannot be the reference of {program.name}: {base.cannot[program.kind]}."
        )
    if base.missing is not None:
        raise MissingError(f"the reference {base.name} is {base.missing}")
    if not team:
        raise UsageError(f"nothing is compared with {base.name}; name another engine besides it.")
    if all(program.kind in engine.cannot for engine in team):
        reasons = "; ".join(f"{e.name}: {e.cannot[program.kind]}" for e in team)
        raise UsageError(f"nothing can be compared on {program.name}. {reasons}.")
    if all(engine.missing or program.kind in engine.cannot for engine in team):
        missing = "; ".join(f"{e.name} is {e.missing}" for e in team if e.missing)
        raise MissingError(f"nothing can be compared on {program.name}: {missing}")
