"""Arrays as the JSON that TensorFlow Serving answers with.

Floats are not left to a JSON library: clients of TensorFlow Serving see `0.1`, not the
`0.10000000149011612` of a float32, and `NaN`, which JSON does not know. All floats of an array are
formatted by one `%`, which is faster than one after the other. The answers are compact.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from tfapp.serving.json_types import INTEGER_RANGES
from tfapp.serving.status import invalid
from tfapp.serving.tensors import data_type_name

# Significant digits that tell all values of a type apart: float32, float64.
_DIGITS = {"f": 9, "d": 17}
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
_INTEGERS = frozenset(map(np.dtype, INTEGER_RANGES))


def predictions_json(outputs: Mapping[str, np.ndarray], *, rows: bool) -> bytes:
    """Returns the answer to a predict request.

    A single output is written without its name. Strings of outputs whose names end in `_bytes` are
    written in base64.

    Args:
        outputs: Arrays by name, of any shape; strings as object arrays of `bytes`.
        rows: Whether the request had `instances`: the answer then has one value, or one object of
            named values, for each row.

    Raises:
        ServingError: `INVALID_ARGUMENT`: a type that has no JSON, or outputs that have no rows in
            common.
    """
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    if rows:
        _check_rows(outputs)
        columns = [_parts(name, array, 1) for name, array in outputs.items()]
        if len(columns) == 1:
            texts = columns[0]
        else:
            form = (
                "{" + ",".join(_string(name).replace("%", "%%") + ":%s" for name in outputs) + "}"
            )
            texts = [form % row for row in zip(*columns, strict=True)]
        return _encoded('{"predictions":[' + ",".join(texts) + "]}")
    values = {name: _parts(name, array, 0)[0] for name, array in outputs.items()}
    if len(values) == 1:
        return _encoded('{"outputs":' + next(iter(values.values())) + "}")
    members = ",".join(f"{_string(name)}:{value}" for name, value in values.items())
    return _encoded('{"outputs":{' + members + "}}")


def classifications_json(results: Sequence[Sequence[tuple[str | bytes, float]]]) -> bytes:
    """Returns the answer to a classify request.

    Args:
        results: For each example its pairs of label and float32 score.
    """
    if not results:
        raise invalid("Cannot convert empty ClassificationResults to JSON")
    scores = iter(_float_texts(np.array([s for row in results for _, s in row], np.float32)))
    rows = [
        "[" + ",".join(f"[{_string(label)},{next(scores)}]" for label, _ in row) + "]"
        for row in results
    ]
    return _encoded('{"results":[' + ",".join(rows) + "]}")


def regressions_json(results: Sequence[float]) -> bytes:
    """Returns the answer to a regress request: one float32 for each example."""
    if not len(results):
        raise invalid("Cannot convert empty RegressionResults to JSON")
    values = _float_texts(np.asarray(results, np.float32))
    return _encoded('{"results":[' + ",".join(values) + "]}")


def error_json(message: str) -> bytes:
    """Returns the answer to a request that failed."""
    text = message.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return orjson.dumps({"error": text})


def _check_rows(outputs: Mapping[str, np.ndarray]) -> None:
    count = -1
    for name, array in outputs.items():
        if array.ndim == 0:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if count >= 0 and len(array) != count:
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {count}"
            )
        count = len(array)


def _parts(name: str, array: np.ndarray, kept: int) -> list[str]:
    """Returns the JSON of an array without its first `kept` dimensions, one text for each part."""
    texts = _texts(array, as_bytes=name.endswith("_bytes"))
    for axis in range(array.ndim - 1, kept - 1, -1):
        size, count = array.shape[axis], math.prod(array.shape[:axis])
        texts = ["[" + ",".join(texts[i * size : (i + 1) * size]) + "]" for i in range(count)]
    return texts


def _texts(array: np.ndarray, *, as_bytes: bool) -> list[str]:
    flat = array.ravel()
    dtype = array.dtype
    if dtype.char in _DIGITS:
        return _float_texts(flat)
    if dtype in _INTEGERS:
        return list(map(str, flat.tolist()))
    if dtype.kind == "b":
        return ["true" if value else "false" for value in flat.tolist()]
    if dtype.kind == "O":
        return list(map(_base64 if as_bytes else _string, flat))
    type_name = data_type_name(array).removeprefix("DT_").lower()
    raise invalid(f"Failed to write JSON value for tensor type: {type_name}")


def _float_texts(values: np.ndarray) -> list[str]:
    """Formats each float as `decimal_text`, all at once."""
    count = values.size
    if not count:
        return []
    numbers = tuple(values.tolist())
    texts = ("%.6g " * count % numbers).split()
    read_back = _rounded(texts, values.dtype)
    long = f"%.{_DIGITS[values.dtype.char]}g"
    return [
        text if "." in text or "e" in text else _NOT_FINITE.get(text) or f"{text}.0"
        for text in (
            short if back == number else long % number
            for short, back, number in zip(texts, read_back, numbers, strict=True)
        )
    ]


def _rounded(texts: Sequence[str], dtype: np.dtype[Any]) -> Sequence[float]:
    """Reads floats of a type."""
    doubles = list(map(float, texts))
    if dtype.char == "d":
        return doubles
    try:
        form = f"{len(doubles)}f"
        return struct.unpack(form, struct.pack(form, *doubles))
    except OverflowError:  # six digits of the largest float32 are larger than it is
        with np.errstate(over="ignore"):
            return np.array(doubles).astype(np.float32).tolist()


def _string(value: Any) -> str:
    text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
    return json.dumps(text, ensure_ascii=False)


def _base64(value: bytes) -> str:
    return f'{{"b64":"{base64.b64encode(value).decode()}"}}'


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
