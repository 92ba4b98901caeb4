"""Which operations that move elements about keep rows apart that they are given apart.

Rules as in `row_rules`: for what is given rows of requests.
"""

from __future__ import annotations

import itertools
from math import prod

from tfapp.serving.row_facts import (
    ROWS,
    Fact,
    Kind,
    Operation,
    Some,
    from_first,
    known_product,
    rows_of,
)
from tfapp.serving.row_rules import Facts, Rule, alike, only


def _reshape(op: Operation) -> Facts:
    rows, shape = op.facts[0], op.elements(1)
    if rows.kind is not Kind.ROWS or rows.copies != 1 or not shape:
        return None
    block = rows_of(shape)
    if block is None and shape[0] == -1:
        block = _block_of_rest(op, known_product(shape[1:]))
    return None if block is None else Fact(Kind.ROWS, block)


def _block_of_rest(op: Operation, size: int | None) -> int | Some | None:
    """Returns the block of rows of a size when there are as many as the elements suffice for.

    Rows stay together if theirs are whole numbers of the new ones.
    """
    old, block = op.dimensions(0), op.facts[0].block
    if not old or not size:
        return None
    elements = known_product(old[1:])
    if elements is not None and isinstance(block, int):
        return block * elements // size if elements and block * elements % size == 0 else None
    # A row is a whole number of its last dimensions, whatever those before are.
    known = itertools.takewhile(lambda dimension: dimension is not None, reversed(old[1:]))
    return None if (known_product(list(known)) or 1) % size else Some()


def _space_to_batch(op: Operation) -> Facts:
    blocks = op.value(1)
    if blocks is None or only(op) != ROWS:
        return None
    return Fact(Kind.ROWS, copies=prod(map(int, blocks.ravel())))


def _batch_to_space(op: Operation) -> Facts:
    blocks, fact = op.value(1), only(op)
    if blocks is None or fact is None:
        return None
    return ROWS if fact == Fact(Kind.ROWS, copies=prod(map(int, blocks.ravel()))) else None


def _expand_dims(op: Operation) -> Facts:
    rank = op.rank(0)
    axis = op.axis(1, None if rank is None else rank + 1)
    return only(op) if axis else None


def _squeeze(op: Operation) -> Facts:
    # Of no axis in particular it would take away the first of a single row.
    rank, axes = op.rank(0), op.attr("squeeze_dims")
    if rank is None or not axes or any(from_first(axis, rank) <= 0 for axis in axes):
        return None
    return only(op)


def _transpose(op: Operation) -> Facts:
    order = op.value(1)
    return only(op) if order is not None and order.size and order[0] == 0 else None


def _concatenate(op: Operation) -> Facts:
    axis = op.axis(len(op.facts) - 1, op.rank(0))
    return alike(op.facts[:-1]) if axis and op.facts[-1].kind is Kind.CONSTANT else None


def _pack(op: Operation) -> Facts:
    rank = op.rank(0)
    axis = None if rank is None else from_first(op.attr("axis"), rank + 1)
    return alike(op.facts) if axis else None


def _unpack(op: Operation) -> Facts:
    rank = op.rank(0)
    return only(op) if rank is not None and from_first(op.attr("axis"), rank) else None


def _split(op: Operation) -> Facts:
    return only(op, 1) if op.axis(0, op.rank(1)) else None


def _split_by_sizes(op: Operation) -> Facts:
    return only(op) if op.axis(2, op.rank(0)) else None


def _slice(op: Operation) -> Facts:
    begin, size = op.value(1), op.value(2)
    if begin is None or size is None or not begin.size or begin[0] != 0 or size[0] != -1:
        return None
    return only(op)


def _strided_slice(op: Operation) -> Facts:
    strides, rank = op.value(3), op.rank(0)
    if strides is None or rank is None:
        return None
    # An ellipsis that comes first stands for the first axis, if those after it leave it one.
    if op.attr("ellipsis_mask") & 1:
        added = op.attr("new_axis_mask")
        used = sum(not added >> bit & 1 for bit in range(1, strides.size))
        return only(op) if used < rank else None
    if (op.attr("new_axis_mask") | op.attr("shrink_axis_mask")) & 1:
        return None
    if not strides.size or strides[0] != 1 or not op.attr("end_mask") & 1:
        return None
    begin = op.value(1)
    whole = op.attr("begin_mask") & 1 or (begin is not None and begin[0] == 0)
    return only(op) if whole else None


def _pad(op: Operation) -> Facts:
    paddings = op.value(1)
    return only(op) if paddings is not None and paddings.size and not any(paddings[0]) else None


def _tile(op: Operation) -> Facts:
    multiples = op.elements(1)
    if not multiples:
        return None
    return only(op) if multiples[0] == 1 else None


def _broadcast_to(op: Operation) -> Facts:
    shape, fact = op.elements(1), op.facts[0]
    if not shape or len(shape) != op.rank(0) or fact.kind is not Kind.ROWS:
        return None
    return fact if rows_of(shape) == fact.block else None


def _gather(op: Operation) -> Facts:
    axis, rank = op.axis(2, op.rank(0)), op.rank(1)
    if axis is None or rank is None:
        return None
    if from_first(op.attr("batch_dims"), rank) > 0:
        return alike(op.facts[:2])
    return only(op, 1) if axis == 0 else only(op)


def _gather_rows(op: Operation) -> Facts:
    return only(op, 1)


def _resource_gather(op: Operation) -> Facts:
    return only(op, 1) if op.attr("batch_dims") == 0 else None


def _gather_nd(op: Operation) -> Facts:
    # The last axis of the indices is one position.
    rank = op.rank(1)
    return only(op, 1) if rank is not None and rank >= 2 else None


def _one_hot(op: Operation) -> Facts:
    rank, axis = op.rank(0), op.attr("axis")
    return only(op) if axis > 0 or (axis == -1 and rank) else None


def _roll(op: Operation) -> Facts:
    axes = op.axes(2, op.rank(0))
    return only(op) if axes is not None and 0 not in axes else None


def _rank(op: Operation) -> Facts:
    rank = op.rank(0)
    return None if rank is None else Fact(Kind.CONSTANT, elements=(rank,))


RULES: dict[str, Rule] = {
    "Reshape": _reshape,
    "SpaceToBatchND": _space_to_batch,
    "BatchToSpaceND": _batch_to_space,
    "ExpandDims": _expand_dims,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "ConcatV2": _concatenate,
    "Pack": _pack,
    "Unpack": _unpack,
    "Split": _split,
    "SplitV": _split_by_sizes,
    "Slice": _slice,
    "StridedSlice": _strided_slice,
    **dict.fromkeys(("MirrorPad", "Pad", "PadV2"), _pad),
    "Tile": _tile,
    "BroadcastTo": _broadcast_to,
    "Gather": _gather_rows,
    "GatherV2": _gather,
    "GatherNd": _gather_nd,
    "ResourceGather": _resource_gather,
    "ResourceGatherNd": _gather_nd,
    "OneHot": _one_hot,
    "Roll": _roll,
    "Rank": _rank,
}
