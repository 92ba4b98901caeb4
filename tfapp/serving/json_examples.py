"""The JSON of classify and regress requests as serialized `tf.Example`s."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfapp.serving.example_signatures import with_context
from tfapp.serving.json_texts import misformatted, type_text
from tfapp.serving.json_values import decode_base64, is_base64
from tfapp.serving.status import invalid

_KINDS = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def parse_examples(document: Mapping[str, Any]) -> np.ndarray:
    """Converts `examples` of a request, each together with its `context`.

    A number with a fraction or an exponent is a float, any other an integer: clients write `20.0`
    for a float feature.

    Args:
        document: The body.

    Returns:
        Object array `[examples]` of serialized `tf.Example`s.

    Raises:
        ServingError: `INVALID_ARGUMENT`.
    """
    context = b""
    if "context" in document:
        context = _example(document["context"])
    if "examples" not in document:
        raise misformatted(
            document, "When method is classify, key 'examples' is expected and was not found"
        )
    examples = document["examples"]
    if not isinstance(examples, list):
        raise misformatted(document, "Expecting 'examples' value to be an list/array")
    if not examples:
        raise misformatted(document, "'examples' value is an empty array")
    return with_context(context, [_example(example) for example in examples])


def _example(value: Any) -> bytes:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {type_text(value)}")
    example = tf.train.Example()
    for name, content in value.items():
        feature = example.features.feature[_text(name)]
        for element in content if isinstance(content, list) else [content]:
            _add(feature, name, element)
    return example.SerializeToString()


def _add(feature: Any, name: str, value: Any) -> None:
    kind, stored = _kind_and_value(name, value)
    present = feature.WhichOneof("kind")
    if present not in (None, kind):
        raise invalid(
            f"Unexpected element type in feature: {name} expecting type: {_KINDS[present]}"
        )
    getattr(feature, kind).value.append(stored)


def _kind_and_value(name: str, value: Any) -> tuple[str, Any]:
    if isinstance(value, str):
        return "bytes_list", value.encode("utf-8", "surrogateescape")
    if is_base64(value):
        return "bytes_list", decode_base64(value["b64"])
    if isinstance(value, float):
        with np.errstate(over="ignore"):
            return "float_list", float(np.float32(value))
    if not isinstance(value, int):
        raise invalid(f"Feature: {name} has element with unexpected JSON type: {type_text(value)}")
    if value >= 2**63:
        raise invalid(f"Feature: {name} has uint64_t element. Only int64_t is supported.")
    return "int64_list", int(value)


def _text(name: str) -> str:
    # Protocol buffers take no names that are not UTF-8.
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
