"""What is known of a tensor: whether its rows are those of requests.

A request is computed alone or together with others. N is how many rows the requests have that are
computed together.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import tensorflow as tf

_MOST_ELEMENTS = 32  # shapes are short


class Kind(enum.Enum):
    """How a tensor hangs on the requests that are computed together."""

    CONSTANT = enum.auto()
    """It is the same for a request alone and together with others."""
    ROWS = enum.auto()
    """Its first dimension is N, or a multiple; row i hangs on row i of the feeds only, and so do
    the other dimensions on none."""
    SIZES = enum.auto()
    """It hangs on N, and on nothing else of the requests."""


class Some:
    """A number that is the same alone and together, which is not known; it equals itself only."""


@dataclass(frozen=True)
class Times:
    """An element of a shape that is a multiple of N."""

    factor: int | Some


# None is the same number alone and together, which is not known.
Element = int | Times | None


@dataclass(frozen=True)
class Fact:
    """What is proven of a tensor.

    Attributes:
        kind: How it hangs on the requests.
        block: Of `ROWS`, how many there are for each row of the feeds: they follow one another.
        copies: Of `ROWS`, how often there is one for each row of the feeds, all of these before
            any comes again.
        elements: Of short `SIZES` what is known of them; None if nothing is.
        period: Of `SIZES` that are the same so many elements N times over; None if they are not.
    """

    kind: Kind
    block: int | Some = 1
    copies: int = 1
    elements: tuple[Element, ...] | None = None
    period: int | None = None


CONSTANT = Fact(Kind.CONSTANT)
ROWS = Fact(Kind.ROWS)
SIZES = Fact(Kind.SIZES)


def of_elements(elements: tuple[Element, ...]) -> Fact:
    """Returns the fact of a tensor of sizes: constant if none hangs on N."""
    if any(isinstance(element, Times) for element in elements):
        return Fact(Kind.SIZES, elements=elements)
    return Fact(Kind.CONSTANT, elements=elements)


@dataclass(frozen=True, eq=False)
class Operation:
    """An operation of a flat graph, and what is known of its inputs.

    Attributes:
        node: The `tf.Operation`.
        facts: One for each input.
    """

    node: Any
    facts: tuple[Fact, ...]

    def attr(self, name: str) -> Any:
        """Returns an attribute."""
        return self.node.get_attr(name)

    def rank(self, index: int) -> int | None:
        """Returns the number of dimensions of an input, if it is known."""
        rank = self.node.inputs[index].shape.rank
        return None if rank is None else int(rank)

    def dimensions(self, index: int) -> list[int | None] | None:
        """Returns the dimensions of an input, None for each that is not known."""
        return dimensions(self.node.inputs[index])

    def value(self, index: int) -> np.ndarray | None:
        """Returns an input whose value is in the graph."""
        value = tf.get_static_value(self.node.inputs[index])
        return None if value is None else np.asarray(value)

    def axis(self, index: int, rank: int | None) -> int | None:
        """Returns an input that is an axis of so many dimensions, counted from the first."""
        axes = self.axes(index, rank)
        return axes[0] if axes is not None and len(axes) == 1 else None

    def axes(self, index: int, rank: int | None) -> list[int] | None:
        """Returns an input that lists axes, likewise."""
        value = self.value(index)
        if value is None or rank is None:
            return None
        axes = [from_first(int(axis), rank) for axis in value.ravel()]
        return axes if all(0 <= axis < rank for axis in axes) else None

    def elements(self, index: int) -> tuple[Element, ...] | None:
        """Returns what is known of an input of sizes, scalars as one element."""
        fact, tensor = self.facts[index], self.node.inputs[index]
        if fact.elements is not None:
            return fact.elements
        if fact.kind is not Kind.CONSTANT or not tensor.dtype.is_integer:
            return None
        count = tensor.shape.num_elements()
        if count is None or count > _MOST_ELEMENTS:
            return None
        value = self.value(index)
        return (None,) * count if value is None else tuple(map(int, value.ravel()))


def dimensions(tensor: Any) -> list[int | None] | None:
    """Returns the dimensions of a tensor, None for each that is not known."""
    return None if tensor.shape.rank is None else tensor.shape.as_list()


def from_first(axis: int, rank: int) -> int:
    """Returns an axis that may be counted from the last, counted from the first."""
    return axis + rank if axis < 0 else axis


def rows_of(shape: Sequence[Element] | None) -> int | Some | None:
    """Returns the block of rows that have a shape: N times it; None if they are no rows."""
    if not shape or not isinstance(shape[0], Times):
        return None
    if any(isinstance(element, Times) for element in shape[1:]):
        return None
    block = shape[0].factor
    return block if isinstance(block, Some) or block > 0 else None


def known_product(sizes: Sequence[Element]) -> int | None:
    """Returns the product of sizes that are all known."""
    known = [size for size in sizes if isinstance(size, int)]
    return prod(known) if len(known) == len(sizes) else None
