"""What TensorFlow does not refuse but dies of, and what is done about it.

Some operations do not look at the shapes they are given, those of oneDNN first: a failed assertion
or a division by zero ends the process, and with it every model. Text of more than 32 dimensions
ends it on its way from TensorFlow to NumPy.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfapp.serving.status import Code, ServingError

Shape = tuple[int | None, ...]
Run = Callable[..., Sequence[Any]]

# Of TensorFlow 2.21. Those of oneDNN stand everything with `TF_ENABLE_ONEDNN_OPTS=0`.
_ONEDNN = (
    *("Conv2D", "Conv3D", "DepthwiseConv2dNative"),  # another rank; groups of no channels
    *("Conv2DBackpropInput", "Conv3DBackpropInputV2"),  # another length of the size to make
    *("MaxPool", "MaxPool3D"),  # another rank; smaller than the window by the stride
)
_OTHERS = (
    *("ScatterNd", "TensorScatterUpdate", "TensorScatterAdd", "TensorScatterSub"),
    *("TensorScatterMin", "TensorScatterMax"),  # indices of another rank than the updates
    *("CombinedNonMaxSuppression", "FakeQuantWithMinMaxVarsPerChannel"),  # another rank
    *("BlockLSTM", "BlockLSTMV2"),  # fewer steps than it is told
    *("EncodePng", "IRFFT", "IRFFT2D", "IRFFT3D"),  # no pixels; one frequency
)


class Fragility(enum.Enum):
    """What of the shapes of its inputs a graph would end the process by."""

    NOTHING = enum.auto()
    BUT_ROWS = enum.auto()
    """The ranks, and all dimensions but the number of rows."""
    ALL = enum.auto()


def fragility(graph: Any) -> Fragility:
    """Returns what a `GraphDef` would end the process by."""
    bodies = [graph.node, *(function.node_def for function in graph.library.function)]
    found = {node.op for nodes in bodies for node in nodes}
    if not found.isdisjoint(_OTHERS):
        return Fragility.ALL
    return Fragility.NOTHING if found.isdisjoint(_ONEDNN) else Fragility.BUT_ROWS


def say_rows(inputs: Sequence[Shape | None], outputs: Sequence[Shape | None]) -> bool:
    """Tells whether the first dimension of all is one number of rows.

    Models that were traced with a batch say its size, and take any other.
    """
    shapes = [*inputs, *outputs]
    return all(shapes) and len({shape[0] for shape in shapes if shape}) == 1


def check_shapes(shapes: Sequence[Shape | None], arrays: Sequence[np.ndarray]) -> None:
    """Refuses arrays of other ranks than declared, and of smaller dimensions.

    Larger ones are left to the graph: what convolutions and pooling make of them is larger, too,
    than what they make of the declared ones.

    Args:
        shapes: What is declared for each array; None where it may vary.
        arrays: What is to be fed.

    Raises:
        ServingError: `INVALID_ARGUMENT`.
    """
    for shape, array in zip(shapes, arrays, strict=True):
        if shape is None:
            continue
        if len(shape) != array.ndim:
            raise _refused(f"{len(shape)}-dimensional", array)
        if any(least and size < least for least, size in zip(shape, array.shape, strict=True)):
            wanted = ",".join("?" if size is None else str(size) for size in shape)
            raise _refused(f"[{wanted}] or larger", array)


def _refused(wanted: str, array: np.ndarray) -> ServingError:
    found = ",".join(map(str, array.shape))
    return ServingError(Code.INVALID_ARGUMENT, f"input must be {wanted}: [{found}].")


class Texts:
    """Fetches text as one row and its shape, so that it may have as many dimensions as an array.

    Args:
        graph: Nodes are added to it; it must not have been run yet.
        names: Of the tensors that are fetched from it, those that are no text among them.
    """

    def __init__(self, graph: Any, names: Sequence[str]) -> None:
        with graph.as_default(), tf.device("CPU"):
            self._parts = {
                name: (tf.reshape(text, [-1]).name, tf.shape(text, tf.int64).name)
                for name in names
                if (text := _text(graph, name)) is not None
            }

    def callable(self, fetches: Sequence[str], make: Callable[[tuple[str, ...]], Run]) -> Run:
        """Returns what gives a value for each fetch.

        Args:
            fetches: Names of tensors in the graph.
            make: Makes the call of other fetches.
        """
        if self._parts.keys().isdisjoint(fetches):
            return make(tuple(fetches))
        parts = [self._parts.get(name, (name,)) for name in fetches]
        run = make(tuple(part for of_one in parts for part in of_one))

        def joined(*arrays: np.ndarray) -> list[Any]:
            values = iter(run(*arrays))
            return [
                next(values) if len(of_one) == 1 else _shaped(next(values), next(values))
                for of_one in parts
            ]

        return joined


def _text(graph: Any, name: str) -> Any:
    try:
        tensor = graph.get_tensor_by_name(name)
    except (KeyError, ValueError):  # of an operation, or of nothing: it is refused when it is asked
        return None
    return tensor if tensor.dtype == tf.string else None


def _shaped(row: np.ndarray, shape: np.ndarray) -> np.ndarray:
    if len(shape) > 64:
        raise ServingError(Code.INVALID_ARGUMENT, f"An output has {len(shape)} dimensions of 64")
    return row.reshape(shape)
