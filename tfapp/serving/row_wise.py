"""Proves from the graph that each row of a signature's outputs hangs on one row of its inputs.

Every operation that is computed must be one whose effect on rows is known, so that none draws
random numbers, changes a state or goes on for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from tfapp.serving import row_moves, row_rules, row_sizes
from tfapp.serving.flat_graphs import Feed, NotFlat, flatten
from tfapp.serving.row_facts import CONSTANT, ROWS, Fact, Kind, Operation
from tfapp.serving.servable import Signature

# What they give is the same at each request: nothing that is proven may change it.
_SOURCES = """
    Const HashTable HashTableV2 MutableHashTable MutableHashTableV2 VarHandleOp Variable VariableV2
"""
# They work for constants and sizes, and have no rule for rows.
_PLAIN = """
    Fill LinSpace MatrixDiag MatrixDiagV2 MatrixDiagV3 NoOp Range ReadVariableOp VarIsInitializedOp
"""
_RULES: Mapping[str, row_rules.Rule] = {
    **row_rules.RULES,
    **row_moves.RULES,
    **row_sizes.RULES,
}
_CONSTANT = frozenset(_SOURCES.split())
_KNOWN = _CONSTANT | _RULES.keys() | set(_PLAIN.split())


def obstacle(graph: Any, signature: Signature) -> str | None:
    """Returns why rows of several requests to a signature must not be computed together.

    Args:
        graph: The `GraphDef` of the model.
        signature: One whose inputs and outputs are dense, with a first dimension of any size.

    Returns:
        What could not be proven; None if all could.
    """
    feeds = [Feed(info.name, info.dtype, info.shape or ()) for info in signature.inputs.values()]
    fetches = [info.name for info in signature.outputs.values()]
    try:
        flat = flatten(graph, feeds, fetches)
        unknown = _unknown_operation(flat.definition, flat.feeds)
        if unknown:
            return unknown
        with tf.Graph().as_default() as imported:
            tf.graph_util.import_graph_def(flat.definition, name="")
        return _unproven(imported, flat.feeds, flat.fetches)
    except NotFlat as error:
        return str(error)
    except (ValueError, TypeError, KeyError, RecursionError, tf.errors.OpError) as error:
        return f"the graph cannot be read: {error}"


def _unknown_operation(definition: Any, feeds: Sequence[str]) -> str | None:
    for node in definition.node:
        if node.op not in _KNOWN and node.name not in feeds:
            return f"{node.op} ({_short(node.name)}) may do anything"
    return None


def _unproven(graph: Any, feeds: Sequence[str], fetches: Sequence[str]) -> str | None:
    """Returns why the fetches are not proven to be rows."""
    facts: dict[str, Fact | None] = {}
    for node in graph.get_operations():  # inputs come before what takes them
        found = [ROWS] if node.name in feeds else _facts(node, facts)
        for tensor, fact in zip(node.outputs, found, strict=True):
            facts[tensor.name] = fact
    for name in fetches:
        if (fact := facts[name]) != ROWS:
            tensor = graph.get_tensor_by_name(name)
            return _reason(tensor, facts) if fact is None else f"{_short(name)} has other rows"
    return None


def _facts(node: Any, facts: Mapping[str, Fact | None]) -> Sequence[Fact | None]:
    """Returns what is proven of the outputs of an operation."""
    count = len(node.outputs)
    inputs = [facts[tensor.name] for tensor in node.inputs]
    if node.type in _CONSTANT:
        return [CONSTANT] * count
    if node.type == "PlaceholderWithDefault" and not _has_its_shape(node):
        return [None]
    given = tuple(fact for fact in inputs if fact is not None)
    if len(given) < len(inputs):
        return [None] * count
    op = Operation(node, given)
    if any(fact.kind is Kind.ROWS for fact in given):
        rule = _RULES.get(node.type)
        found = None if rule is None else rule(op)
    else:
        found = row_sizes.from_sizes(op)
    every = [found] * count if found is None or isinstance(found, Fact) else found
    return [
        fact if fact is None or _may_be(fact, tensor) else None
        for fact, tensor in zip(every, node.outputs, strict=True)
    ]


def _has_its_shape(node: Any) -> bool:
    """Tells whether what is given has the shape that an operation says without looking at it."""
    return bool(node.inputs[0].shape.is_subtype_of(node.outputs[0].shape))


def _may_be(fact: Fact, tensor: Any) -> bool:
    """Tells whether a tensor may have any number of rows; else it could fail only alone."""
    if fact.kind is not Kind.ROWS or tensor.shape.rank is None:
        return True
    return bool(tensor.shape.rank) and tensor.shape[0] is None


def _reason(tensor: Any, facts: Mapping[str, Fact | None]) -> str:
    """Names the first operation on the way to a tensor of which nothing is proven."""
    node = tensor.op
    while unproven := [source for source in node.inputs if facts[source.name] is None]:
        node = unproven[0].op
    return f"{node.type} ({_short(node.name)}) may mix rows"


def _short(name: str) -> str:
    return name.partition("/")[2]
