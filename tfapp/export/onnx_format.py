"""`serving_default` as an ONNX file, written by tf2onnx and read back by ONNX Runtime.

The inputs and outputs have the names of the signature, and the batch may have any size.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tfapp.export.requests import Arrays
from tfapp.export.signatures import ServingModule, output_specs
from tfapp.export.verification import Check, worst_difference
from tfapp.exported import input_specs

NEEDED = ("tf2onnx", "onnx", "onnxruntime")
_LOOKUP = "LabelEncoder"  # ONNX's operation for texts to numbers


def write_onnx(folder: Path, module: ServingModule, check: Check) -> float:
    """Writes `model.onnx` and asks it for all rows at once, and for the first by itself.

    Args:
        folder: The SavedModel.
        module: What is exported.
        check: Real rows and the live model's answers.

    Returns:
        The largest difference from the live model, relative to the largest output or to 1.
    """
    import onnx

    file = folder / "model.onnx"
    onnx.save_model(_converted(module), file)
    differences = [
        worst_difference(_rows(check.outputs, rows), _answers(file, _rows(check.inputs, rows)))
        for rows in (slice(None), slice(0, 1))
    ]
    return float(np.max(differences))  # Python's own passes over a NaN that is not the first


def _converted(module: ServingModule) -> Any:
    import tf2onnx

    with _warnings_unsaid():
        model, _ = tf2onnx.convert.from_function(
            module.serving,
            input_signature=module.serving.input_signature,
            custom_op_handlers={"LookupTableFindV2": (_look_up, [_LOOKUP, _vocabularies(module)])},
        )
    specs = {**input_specs(module.predictor.info), **output_specs(module)}
    for value in [value for value in model.graph.input if value.name not in specs]:
        model.graph.input.remove(value)  # what a look-up gives unknown texts: nothing reads it now
    for value in (*model.graph.input, *model.graph.output):
        _declare(value.type.tensor_type.shape, specs[value.name].shape)
    return model


def _declare(shape: Any, sizes: Any) -> None:
    """Writes the shape that the signature tells; tf2onnx loses it behind a look-up of texts."""
    del shape.dim[:]
    for index, size in enumerate(sizes):
        dim = shape.dim.add()
        if size is None:
            dim.dim_param = "batch" if index == 0 else f"size_{index}"
        else:
            dim.dim_value = size


def _answers(file: Path, inputs: Arrays) -> dict[str, Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    asked = {name: _as_text(values) for name, values in inputs.items()}
    return dict(zip(names, session.run(names, asked), strict=True))


def _as_text(values: Any) -> Any:
    """Returns texts as `str`: of `bytes`, ONNX Runtime would take what they look like in Python."""
    return np.array([text.decode() for text in values]) if values.dtype.kind in "OS" else values


def _vocabularies(module: ServingModule) -> dict[str, Sequence[str]]:
    """Returns the texts of each column that has texts, by the name of its input."""
    info = module.predictor.info
    pairs = zip(input_specs(info), info.columns or (), strict=False)
    return {name: column.vocabulary for name, column in pairs if column.vocabulary is not None}


def _look_up(graph: Any, node: Any, _: str, args: list[Mapping[str, Sequence[str]]]) -> None:
    """Replaces the look-up of a column's texts; tf2onnx loses tables that a function holds."""
    (vocabularies,) = args
    texts, output = node.input[1], node.output[0]
    vocabulary = vocabularies[texts.partition(":")[0]]
    shape, dtype = graph.get_shape(texts), graph.get_dtype(output)
    graph.remove_node(node.name)
    graph.make_node(
        _LOOKUP,
        [texts],
        outputs=[output],
        domain="ai.onnx.ml",
        attr={
            "keys_strings": list(vocabulary),
            "values_int64s": list(range(1, len(vocabulary) + 1)),
            "default_int64": 0,
        },
        shapes=[shape],
        dtypes=[dtype],
    )


def _rows(arrays: Arrays, rows: slice) -> dict[str, Any]:
    return {name: values[rows] for name, values in arrays.items()}


@contextmanager
def _warnings_unsaid() -> Iterator[None]:
    """Silences what tf2onnx tells, through the root logger too, of models that it converts.

    What it cannot convert, ONNX Runtime refuses to read.
    """
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
