"""The programs that are compared, each declared once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from tfapp.compare import arrays
from tfapp.compare.arrays import Arrays
from tfapp.compare.parity import Tolerance
from tfapp.compare.tolerances import TOLERANCES
from tfapp.errors import UnknownName, UsageError

# What an engine must know how to compute.
Kind = Literal["polynomial", "fed polynomial", "sum", "two-layer", "mlp", "cnn"]

ALL = "all"


@dataclass(frozen=True)
class Program:
    """A computation and everything that it depends on.

    Attributes:
        name: What it is asked for by.
        about: What it computes, in a line.
        kind: Which computation it is; engines know these.
        draw: Makes its arrays; `None` if they come from the user's folder.
        learning_rate: Of gradient descent.
        steps: How many updates, unless asked otherwise.
        batch_size: Rows of a step; `None`: all data in every step.
        averages: Weights that are moving averages and not trained.
        exact: Whether TF1, eager and compiled TensorFlow agree bit by bit without Grappler.
    """

    name: str
    about: str
    kind: Kind
    draw: Callable[[], Arrays] | None
    learning_rate: float
    steps: int
    batch_size: int | None = None
    averages: tuple[str, ...] = ()
    exact: bool = True

    def tolerance(self, engine: str, reference: str) -> Tolerance:
        """Returns how far `engine` may be from `reference`.

        Tolerances are stated against TF1; two engines may be as far apart as both from it.
        """
        stated = TOLERANCES[self.kind]
        return stated[engine] + stated[reference]


PROGRAMS: Mapping[str, Program] = {
    program.name: program
    for program in (
        Program(
            "quadratic",
            "w^2 - 10 w + 25, one weight, gradient descent",
            "polynomial",
            partial(arrays.polynomial, 1, -10, 25),
            learning_rate=0.01,
            steps=200,
        ),
        Program(
            "coefficients",
            "w^2 - 20 w + 100, the coefficients fed in every step",
            "fed polynomial",
            partial(arrays.polynomial, 1, -20, 100),
            learning_rate=0.01,
            steps=200,
        ),
        Program(
            "graph",
            "sum(x y + z) and its gradients, no weights",
            "sum",
            arrays.three_inputs,
            learning_rate=0.0,
            steps=1,
        ),
        Program(
            "two-layer",
            "1000-100-1000, relu, no biases, squared error summed over a row, 64 rows",
            "two-layer",
            arrays.two_layer,
            learning_rate=1e-5,
            steps=50,
        ),
        Program(
            "mlp",
            "784-256-128-10, relu, mean squared error, batches of 200 of 2,000 rows of noise",
            "mlp",
            arrays.mlp,
            learning_rate=0.001,
            steps=50,
            batch_size=200,
        ),
        Program(
            "mnist-mlp",
            "the same network on IDX files",
            "mlp",
            None,
            learning_rate=0.001,
            steps=50,
            batch_size=200,
        ),
        Program(
            "cnn",
            "convolution 3 x 3, batch normalization, relu, pooling, dense, cross-entropy",
            "cnn",
            arrays.cnn,
            learning_rate=0.1,
            steps=30,
            batch_size=32,
            averages=("bn/moving_mean", "bn/moving_variance"),
        ),
    )
}
NEEDS_DATA = tuple(program.name for program in PROGRAMS.values() if program.draw is None)


@dataclass(frozen=True)
class Study:
    """Something compared that is no program on several engines.

    Attributes:
        name: What it is asked for by.
        about: What it is, in a line.
        seconds: That it takes on two cores, about.
    """

    name: str
    about: str
    seconds: float


STUDIES: Mapping[str, Study] = {
    study.name: study
    for study in (
        Study("notes", "every program of the course notes, and the numbers it must give", 30),
        Study("frameworks", "one network by hand and in four frameworks: lines, speed", 15),
        Study("graphs", "static against dynamic graphs: size, cost, control flow, retracing", 15),
    )
}


def find_subjects(
    names: Iterable[str], *, with_data: bool, exact: bool
) -> tuple[list[Program], list[Study]]:
    """Returns programs and studies by name, each once.

    Args:
        names: Names of the tables; none for every program that can be run, `all` for these and
            every study.
        with_data: Whether the user gave a folder of data.
        exact: Whether every bit must be equal; `all` then leaves out what does not promise it.

    Raises:
        UnknownName: With the nearest known name.
        UsageError: A program needs data that was not given, or nothing needs what was given, or a
            study cannot be compared bit by bit.
    """
    typed = list(dict.fromkeys(names))
    for name in typed:
        if name not in PROGRAMS and name not in STUDIES and name != ALL:
            raise UnknownName("program", name, (*PROGRAMS, *STUDIES, ALL))
    asked = [study for study in STUDIES.values() if study.name in typed]
    if exact and asked:
        raise UsageError(f"{asked[0].name} has nothing to be compared bit by bit with --exact.")
    studies = list(STUDIES.values()) if ALL in typed and not exact else asked
    every = ALL in typed or not typed
    programs = [
        program
        for program in PROGRAMS.values()
        if program.name in typed
        or (every and (with_data or program.draw is not None) and (program.exact or not exact))
    ]
    _check_data(programs, with_data=with_data)
    return programs, studies


def _check_data(programs: Iterable[Program], *, with_data: bool) -> None:
    needing = [program.name for program in programs if program.draw is None]
    if needing and not with_data:
        raise UsageError(
            f"{needing[0]} needs --data FOLDER, a folder of IDX files such as MNIST's."
        )
    if with_data and not needing:
        raise UsageError(f"--data is for {', '.join(NEEDS_DATA)}, which is not among the programs.")
