"""Finds the signatures whose rows may be computed together with those of other requests.

A row of the outputs must hang on the same row of the inputs only. That is proven from the graph.
What is proven is tried, too, with requests that came with the model or with numbers made up: alone,
together, in another order, and beside rows of NaN.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfapp.serving.calls import Call, execute
from tfapp.serving.mixing import Arrays, join
from tfapp.serving.row_wise import obstacle
from tfapp.serving.servable import Servable, Signature
from tfapp.serving.status import ServingError

log = logging.getLogger(__name__)

TRIED_ROWS = 4
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
        if name.startswith("__"):
            continue
        reason = _obstacle(servable, graph, signature, samples.get(name, ()))
        if reason is None:
            found.add(name)
        else:
            log.debug("%s: requests to %s are computed one by one: %s", servable.name, name, reason)
    return frozenset(found)


def _obstacle(
    servable: Servable, graph: Any, signature: Signature, samples: Sequence[Mapping[str, Any]]
) -> str | None:
    """Returns why rows of several requests must not be computed together; None if they may."""
    if not _has_rows(signature):
        return "not all of its tensors are dense with a first dimension of any size"
    reason = obstacle(graph, signature)
    if reason is not None:
        return reason
    try:
        # Only now, since nothing that is proven goes on for ever or changes a state.
        rows = _rows(signature, samples)
        if rows is None or _rows_stand_alone(servable.signature_call(signature), rows):
            return None
    except (ServingError, ValueError) as error:
        return f"it cannot be tried: {error}"
    return "rows are other numbers beside others"


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
        given = [array[:TRIED_ROWS] for array in join(same)]
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
        return generator.standard_normal((TRIED_ROWS, *shape)).astype(dtype)
    # An index of 0 or 1 is in every table.
    return generator.integers(0, 2, (TRIED_ROWS, *shape)).astype(dtype)


def _rows_stand_alone(call: Call, rows: Arrays) -> bool:
    """Tells whether rows are the same alone, together, in another order, and beside NaN.

    Raises:
        ServingError: They cannot be computed.
        ValueError: They have several shapes.
    """
    count = len(rows[0])
    single = [execute(call, [array[i : i + 1] for array in rows]) for i in range(count)]
    if any(not value.ndim or len(value) != 1 for values in single for value in values):
        return False
    alone = join(single)
    orders = [np.arange(count), np.arange(count)[::-1]]
    if not all(
        _same(execute(call, [array[order] for array in rows]), [a[order] for a in alone])
        for order in orders
    ):
        return False
    return _ignores_nan(call, rows, alone)


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
