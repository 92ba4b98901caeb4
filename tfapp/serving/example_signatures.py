"""What classify and regress ask of a signature, and of the tensors it gives.

Texts and codes are those of TensorFlow Serving.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfapp.serving.servable import Signature
from tfapp.serving.status import Code, ServingError, invalid
from tfapp.serving.tensors import data_type_name

PREDICT, CLASSIFY, REGRESS = (
    f"tensorflow/serving/{method}" for method in ("predict", "classify", "regress")
)

Classifications = list[list[tuple[str | bytes, float]]]

_CONTEXTS_LIMIT = 2**28  # bytes; a message must not ask for its context a million times


def with_context(context: bytes, examples: Sequence[bytes]) -> np.ndarray:
    """Returns the `tf.train.Example`s `[N]` of a request, each together with its context.

    Args:
        context: A serialized example; empty for none.
        examples: Serialized.

    Raises:
        ServingError: `INVALID_ARGUMENT`: the contexts of all would take too many bytes.
    """
    if len(context) * len(examples) > _CONTEXTS_LIMIT:
        raise invalid(
            f"A context of {len(context)} bytes for each of {len(examples)} examples takes more"
            f" than {_CONTEXTS_LIMIT} bytes. Send fewer examples at a time."
        )
    joined = np.empty(len(examples), object)
    # Two messages one after the other are read as one, in which the later features win.
    joined[:] = [context + example for example in examples] if context else examples
    return joined


def classify_outputs(signature: Signature, check_method: bool) -> list[str]:
    """Returns the names of the tensors of `classes` and `scores`, as far as there are any.

    Raises:
        ServingError: The signature is not one for classification.
    """
    if check_method:
        _check_method(signature, "classification", CLASSIFY)
    _check_input(signature, "classification")
    if len(signature.outputs) not in (1, 2):
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"Expected one or two output Tensors, found {len(signature.outputs)}",
        )
    fetches = [
        signature.outputs[alias].name
        for alias in ("classes", "scores")
        if alias in signature.outputs
    ]
    if not fetches:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            "Expected classification signature outputs to contain at least one of"
            f' "classes" or "scores". Signature was: {signature.definition}',
        )
    return fetches


def regress_outputs(signature: Signature, check_method: bool) -> list[str]:
    """Returns the name of the tensor of `outputs`, in a list.

    Raises:
        ServingError: The signature is not one for regression.
    """
    if check_method:
        _check_method(signature, "regression", REGRESS)
    _check_input(signature, "regression")
    if len(signature.outputs) != 1:
        raise ServingError(Code.INVALID_ARGUMENT, "Expected one output Tensor.")
    if "outputs" not in signature.outputs:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"No regression outputs found in SignatureDef: {signature.definition}",
        )
    return [signature.outputs["outputs"].name]


def _check_method(signature: Signature, kind: str, expected: str) -> None:
    if signature.method_name != expected:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"Expected {kind} signature method_name to be {expected}. Was: {signature.method_name}",
        )


def _check_input(signature: Signature, kind: str) -> None:
    if len(signature.inputs) != 1:
        raise ServingError(Code.INVALID_ARGUMENT, "Expected one input Tensor.")
    if "inputs" not in signature.inputs:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"No {kind} inputs found in SignatureDef: {signature.definition}",
        )


def classifications(
    signature: Signature, values: Mapping[str, np.ndarray], count: int
) -> Classifications:
    """Returns the classes of each example.

    Args:
        signature: That of the run.
        values: The tensors by their names in the graph.
        count: How many examples there were.

    Raises:
        ServingError: A tensor has another type or shape than `[examples, classes]`.
    """
    found = {
        alias: _class_matrix(alias, expected, values[signature.outputs[alias].name], count)
        for alias, expected in (("classes", "DT_STRING"), ("scores", "DT_FLOAT"))
        if alias in signature.outputs
    }
    classes, scores = found.get("classes"), found.get("scores")
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            "Tensors class and score should match in dim_size(1). Got"
            f" {classes.shape[1]} vs. {scores.shape[1]}",
        )
    shape = next(iter(found.values())).shape
    labels: Any = [[""] * shape[1]] * count if classes is None else classes.tolist()
    numbers = [[0.0] * shape[1]] * count if scores is None else scores.tolist()
    return [list(zip(*row, strict=True)) for row in zip(labels, numbers, strict=True)]


def _class_matrix(alias: str, expected: str, value: np.ndarray, count: int) -> np.ndarray:
    if value.ndim != 2:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"Expected Tensor shape: [batch_size num_classes] but got {_shape(value)}",
        )
    if (found := data_type_name(value)) != expected:
        raise ServingError(
            Code.INVALID_ARGUMENT, f"Expected {alias} Tensor of {expected}. Got: {found}"
        )
    if len(value) != count:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"Expected {alias} output batch size of {count}. Got: {len(value)}",
        )
    return value


def regressions(signature: Signature, values: Mapping[str, np.ndarray], count: int) -> list[float]:
    """Returns the value of each example; arguments as of `classifications`.

    Raises:
        ServingError: The tensor is not float32 `[examples]` or `[examples, 1]`.
    """
    value = values[signature.outputs["outputs"].name]
    if not (value.ndim == 1 or (value.ndim == 2 and value.shape[1] == 1)):
        raise ServingError(
            Code.INVALID_ARGUMENT,
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got"
            f" {_shape(value)}",
        )
    if len(value) != count:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"Input batch size did not match output batch size: {count} vs. {len(value)}",
        )
    if (found := data_type_name(value)) != "DT_FLOAT":
        raise ServingError(
            Code.INVALID_ARGUMENT, f"Expected output Tensor of DT_FLOAT.  Got: {found}"
        )
    return value.ravel().tolist()


def _shape(value: np.ndarray) -> str:
    return f"[{','.join(map(str, value.shape))}]"
