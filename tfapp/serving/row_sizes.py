"""What is proven of the shapes of rows, and of what is computed from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from tfapp.serving.row_facts import (
    CONSTANT,
    SIZES,
    Element,
    Fact,
    Kind,
    Operation,
    Some,
    Times,
    known_product,
    of_elements,
    rows_of,
)
from tfapp.serving.row_rules import Facts, Rule

Elements = tuple[Element, ...]


def shape_of(op: Operation) -> Facts:
    """Returns what is known of the shape of an input."""
    fact, dimensions = op.facts[0], op.dimensions(0)
    if fact.kind is Kind.CONSTANT:
        return CONSTANT if dimensions is None else Fact(Kind.CONSTANT, elements=tuple(dimensions))
    if fact.kind is Kind.SIZES or not dimensions or fact.copies != 1:
        return SIZES
    return of_elements((Times(fact.block), *dimensions[1:]))


def size_of(op: Operation) -> Facts:
    """Returns what is known of how many elements an input has."""
    shape = shape_of(op)
    found = shape.elements if isinstance(shape, Fact) else None
    size = None if found is None else multiplied(found)
    return SIZES if size is None else of_elements(size)


def from_sizes(op: Operation) -> Facts:
    """Returns what is proven of an operation that is given no rows."""
    part = _PARTS.get(op.node.type)
    found = None if part is None else part(op)
    if found is not None:
        return found
    return CONSTANT if all(fact.kind is Kind.CONSTANT for fact in op.facts) else SIZES


def multiplied(elements: Sequence[Element]) -> Elements | None:
    """Returns the product of all, as one element; None if it cannot be said."""
    counts = [element.factor for element in elements if isinstance(element, Times)]
    others = known_product([element for element in elements if not isinstance(element, Times)])
    if not counts:
        return (others,)
    if len(counts) > 1:
        return None
    count = counts[0]
    if others == 1:
        return (Times(count),)
    return (Times(count * others if isinstance(count, int) and others is not None else Some()),)


def _holds_sizes(op: Operation) -> bool:
    """Tells whether the output is of a type that no size is too large for."""
    return op.node.outputs[0].dtype in (tf.int32, tf.int64)


def _same(op: Operation) -> Facts:
    found = op.elements(0) if _holds_sizes(op) else None
    return None if found is None else of_elements(found)


def _joined(op: Operation, count: int, rank: int) -> Facts:
    joined: Elements = ()
    for index in range(count):
        found = op.elements(index)
        if found is None or op.rank(index) != rank:
            return None
        joined += found
    return of_elements(joined)


def _pack(op: Operation) -> Facts:
    return _joined(op, len(op.facts), 0)


def _concatenate(op: Operation) -> Facts:
    return _joined(op, len(op.facts) - 1, 1)


def _unpack(op: Operation) -> Facts:
    found = op.elements(0)
    if found is None or op.rank(0) != 1:
        return None
    return [of_elements((element,)) for element in found]


def _strided_slice(op: Operation) -> Facts:
    found = op.elements(0)
    begin, end, strides = (op.value(index) for index in (1, 2, 3))
    if found is None or op.rank(0) != 1 or begin is None or end is None or strides is None:
        return None
    if begin.size != 1 or op.attr("new_axis_mask") or op.attr("ellipsis_mask"):
        return None
    first, last, step = int(begin[0]), int(end[0]), int(strides[0])
    if op.attr("shrink_axis_mask"):
        return of_elements((found[first],)) if -len(found) <= first < len(found) else None
    begins = None if op.attr("begin_mask") else first
    ends = None if op.attr("end_mask") else last
    return of_elements(found[begins:ends:step])


def _gather(op: Operation) -> Facts:
    found, indices = op.elements(0), op.value(1)
    if found is None or indices is None or op.rank(0) != 1 or op.attr("batch_dims"):
        return None
    positions = [int(index) for index in indices.ravel()]
    if any(not 0 <= position < len(found) for position in positions):
        return None
    return of_elements(tuple(found[position] for position in positions))


def _product(op: Operation) -> Facts:
    found = op.elements(0)
    if found is None or not _holds_sizes(op) or op.rank(0) != 1 or op.axes(1, 1) != [0]:
        return None
    product = multiplied(found)
    return None if product is None else of_elements(product)


def _times(op: Operation) -> Facts:
    found = [op.elements(0), op.elements(1)]
    if not _holds_sizes(op) or any(each is None or len(each) != 1 for each in found):
        return None
    product = multiplied([element for elements in found if elements for element in elements])
    return None if product is None else of_elements(product)


def _filled(op: Operation) -> Facts:
    """Tells of constants that are written as often as there are rows."""
    block = rows_of(op.elements(0))
    # That it is one value is to be seen: a table that grows takes a default for each key, too.
    one = op.facts[1].kind is Kind.CONSTANT and op.rank(1) == 0
    return Fact(Kind.ROWS, block) if one and block is not None else None


def _broadcast(op: Operation) -> Facts:
    shape, found = op.elements(1), op.dimensions(0)
    block = rows_of(shape)
    if block is None or shape is None or found is None or op.facts[0].kind is not Kind.CONSTANT:
        return None
    once = len(found) < len(shape) or found[0] == 1
    return Fact(Kind.ROWS, block) if once else None


def _tiled(op: Operation) -> Facts:
    """Tells of constants that are repeated as often as there are rows."""
    found, multiples, fact = op.dimensions(0), op.elements(1), op.facts[0]
    if found is None or multiples is None or fact.kind is not Kind.CONSTANT:
        return None
    axis = next((i for i, each in enumerate(multiples) if isinstance(each, Times)), None)
    if axis is None or any(size != 1 for size in (*found[:axis], *multiples[:axis])):
        return None
    # Nothing comes before that axis, so that what is after it follows itself.
    block = rows_of(multiples[axis:])
    once = known_product(found[axis : axis + 1])
    if not isinstance(block, int) or not once:
        return None
    if axis == 0:
        return Fact(Kind.ROWS, block * once)
    rest = known_product((*found[axis + 1 :], *multiples[axis + 1 :]))
    return None if rest is None else Fact(Kind.SIZES, period=block * once * rest)


def _reshape(op: Operation) -> Facts:
    period, shape = op.facts[0].period, op.elements(1)
    if period is None or not shape:
        return _same(op)
    block, row = rows_of(shape), known_product(shape[1:])
    if block is None and shape[0] == -1 and row and period % row == 0:
        block = period // row
    return Fact(Kind.ROWS, block) if block else None


# Of what is given no rows, but perhaps how many there are.
_PARTS: dict[str, Callable[[Operation], Facts]] = {
    **dict.fromkeys(("Cast", "Identity", "Snapshot", "StopGradient"), _same),
    **dict.fromkeys(("ExpandDims", "Squeeze"), _same),
    "BroadcastTo": _broadcast,
    "ConcatV2": _concatenate,
    "Fill": _filled,
    "GatherV2": _gather,
    "Mul": _times,
    "Pack": _pack,
    "Prod": _product,
    "Reshape": _reshape,
    "Shape": shape_of,
    "Size": size_of,
    "StridedSlice": _strided_slice,
    "Tile": _tiled,
    "Unpack": _unpack,
}

# Of what is given rows.
RULES: dict[str, Rule] = {"Shape": shape_of, "Size": size_of}
