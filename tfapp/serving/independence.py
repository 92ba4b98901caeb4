"""Finds the signatures whose rows may be computed together with those of other requests.

A row of the outputs must hang on the same row of the inputs only. That is tried: with requests that
came with the model, or with numbers made up, alone, together, in another order, and beside rows of
NaN. Nothing that is computed may draw random numbers or change a state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfapp.serving.calls import Call, execute
from tfapp.serving.mixing import Arrays, join
from tfapp.serving.servable import Servable, Signature
from tfapp.serving.status import ServingError

_ROWS = 6
# Stateful by TensorFlow's word, but they only hold, read or call.
_HARMLESS = frozenset(
    {
        "Placeholder", "PlaceholderWithDefault", "VarHandleOp", "ReadVariableOp", "VariableV2",
        "HashTableV2", "MutableHashTableV2", "AnonymousHashTable", "LookupTableFindV2",
        "PartitionedCall", "StatefulPartitionedCall", "If", "While", "Case", "ResourceGather",
        "ResourceGatherNd", "VarIsInitializedOp", "Assert",
    }
)  # fmt: skip
# Of the largest value, or of 1: what rounding may change when terms are added in another order.
_TOLERANCE = {"float64": 1e-10, "float32": 1e-5, "float16": 1e-2, "bfloat16": 5e-2}

Samples = Mapping[str, Sequence[Mapping[str, np.ndarray]]]


def independent_signatures(servable: Servable, samples: Samples) -> frozenset[str]:
    """Returns the names of the signatures whose rows do not hang on one another.

    Args:
        servable: The model.
        samples: Inputs of requests by the name of their signature, as far as there are any.
    """
    found = set()
    graph = servable.graph.as_graph_def()
    for name, signature in servable.signatures.items():
        if name.startswith("__") or not _has_rows(signature):
            continue
        rows = _rows(signature, samples.get(name, ()))
        call = servable.signature_call(signature)
        if rows is not None and not _has_effects(graph, call) and _rows_stand_alone(call, rows):
            found.add(name)
    return frozenset(found)


def _has_rows(signature: Signature) -> bool:
    """Tells whether all tensors are dense, and their first dimension is not fixed."""
    infos = [*signature.inputs.values(), *signature.outputs.values()]
    return bool(signature.inputs and signature.outputs) and all(
        info.name and info.shape and info.shape[0] is None for info in infos
    )


def _rows(signature: Signature, samples: Sequence[Mapping[str, np.ndarray]]) -> Arrays | None:
    """Returns a few rows that differ, from requests or made up; None if there are none."""
    fitting = [
        [sample[alias] for alias in signature.inputs]
        for sample in samples
        if sample.keys() == signature.inputs.keys()
        and all(array.ndim and len(array) == len(next(iter(sample.values())))
                for array in sample.values())
    ]  # fmt: skip
    same = [part for part in fitting if _row_shapes(part) == _row_shapes(fitting[0])]
    if same:
        given = [array[:_ROWS] for array in join(same)]
        if len(given[0]) > 1 and any(_differ(array) for array in given):
            return given
    made = [_made_up(info) for info in signature.inputs.values()]
    return None if any(array is None for array in made) else [a for a in made if a is not None]


def _row_shapes(arrays: Arrays) -> list[tuple[int, ...]]:
    return [array.shape[1:] for array in arrays]


def _differ(array: np.ndarray) -> bool:
    return any(not np.array_equal(row, array[0]) for row in array[1:])


def _made_up(info: Any) -> np.ndarray | None:
    shape = info.shape[1:]
    dtype = np.dtype(info.dtype.as_numpy_dtype)
    if None in shape or dtype.kind not in "fiub":
        return None
    generator = np.random.default_rng(0)
    if dtype.kind == "f":
        return generator.standard_normal((_ROWS, *shape)).astype(dtype)
    # An index of 0 or 1 is in every table.
    return generator.integers(0, 2, (_ROWS, *shape)).astype(dtype)


def _has_effects(graph: Any, call: Call) -> bool:
    """Tells whether computing it draws random numbers or changes a state."""
    bodies = {function.signature.name: function.node_def for function in graph.library.function}
    nodes = {node.name: node for node in graph.node}
    todo = [nodes[name.partition(":")[0]] for name in call.fetches]
    seen: set[str] = set()
    while todo:
        node = todo.pop()
        if _is_stateful(node.op):
            return True
        # Names of functions and of nodes are told apart by a character that neither may have.
        called = [value for attr in node.attr.values() for value in _called(attr)]
        for name in bodies.keys() & {node.op, *called}:
            if f"|{name}" not in seen:
                seen.add(f"|{name}")
                todo.extend(bodies[name])
        # A name of a tensor inside of a function is not one of the graph's, or does no harm.
        for name in {source.lstrip("^").partition(":")[0] for source in node.input} - seen:
            if name in nodes:
                seen.add(name)
                todo.append(nodes[name])
    return False


def _called(attr: Any) -> list[str]:
    return [attr.func.name, *(function.name for function in attr.list.func)]


def _is_stateful(operation: str) -> bool:
    definition = _definition(operation)
    return operation not in _HARMLESS and definition is not None and definition.is_stateful


def _definition(operation: str) -> Any:
    # Private to TensorFlow; a test tells when it is gone.
    from tensorflow.python.framework import op_def_registry

    return op_def_registry.get(operation)


def _rows_stand_alone(call: Call, rows: Arrays) -> bool:
    count = len(rows[0])
    try:
        single = [execute(call, [array[i : i + 1] for array in rows]) for i in range(count)]
        if any(not value.ndim or len(value) != 1 for values in single for value in values):
            return False
        alone = join(single)
        orders = [np.arange(count), np.arange(count)[::-1], np.arange(count // 2, count)]
        if not all(
            _same(execute(call, [array[order] for array in rows]), [a[order] for a in alone])
            for order in orders
        ):
            return False
        return _ignores_nan(call, rows, alone)
    except (ServingError, ValueError):
        return False  # it cannot be tried


def _ignores_nan(call: Call, rows: Arrays, alone: Arrays) -> bool:
    """Tells whether rows of NaN change nothing in the rows between them."""
    floats = [array.dtype.kind == "f" for array in rows]
    if not any(floats):
        return True
    spoilt = [array.copy() for array in rows]
    for array, is_float in zip(spoilt, floats, strict=True):
        if is_float:
            array[1::2] = np.nan
    found = execute(call, spoilt)
    return _same([value[::2] for value in found], [value[::2] for value in alone])


def _same(found: Arrays, expected: Arrays) -> bool:
    return all(map(_close, found, expected))


def _close(found: np.ndarray, expected: np.ndarray) -> bool:
    if found.shape != expected.shape:
        return False
    tolerance = _TOLERANCE.get(found.dtype.name)
    if tolerance is None:
        return np.array_equal(found, expected)
    scale = max(1.0, float(np.nanmax(np.abs(expected), initial=0.0)))
    return np.allclose(
        found.astype(np.float64), expected.astype(np.float64), rtol=0, atol=tolerance * scale,
        equal_nan=True,
    )  # fmt: skip
