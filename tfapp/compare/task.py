"""What an engine is given: a program with its arrays, and how to run it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tfapp.compare.arrays import Arrays
from tfapp.compare.programs import Program
from tfapp.compare.trace import Array


@dataclass(frozen=True)
class Task:
    """One program to be computed.

    Attributes:
        program: What is computed.
        arrays: What it starts from; nobody may change them.
        steps: How many updates.
        grappler: Whether TensorFlow may rewrite graphs before it runs them.
    """

    program: Program
    arrays: Arrays
    steps: int
    grappler: bool = True

    @property
    def trained(self) -> tuple[str, ...]:
        """Names of the weights that gradient descent changes."""
        return tuple(name for name in self.arrays.weights if name not in self.program.averages)

    def batch(self, step: int) -> Mapping[str, Array]:
        """Returns the data of a step, counted from 0.

        Rows come in their order, pass after pass; the last batch of a pass holds what is left.
        A program without a batch size gets all data in every step.
        """
        size = self.program.batch_size
        if size is None:
            return self.arrays.data
        rows = min(len(array) for array in self.arrays.data.values())
        start = step % -(-rows // size) * size
        return {name: array[start : start + size] for name, array in self.arrays.data.items()}
