"""The JSON of a predict request as arrays, one for each input of a signature.

What clients send most, numbers of one shape, is left to NumPy. Everything else, and everything that
is wrong, goes value by value, in the order and with the texts of TensorFlow Serving. Both ways give
equal arrays.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from tfapp.serving.hints import names_hint
from tfapp.serving.json_contents import holds_bools, holds_strings, quotes_of_keys
from tfapp.serving.json_texts import misformatted, type_text, value_text
from tfapp.serving.json_types import FLOATS, INTEGER_RANGES, float_array, integer_array
from tfapp.serving.models import DEFAULT_SIGNATURE
from tfapp.serving.servable import TensorInfo
from tfapp.serving.status import Code, ServingError, invalid
from tfapp.serving.tensors import most_dimensions

_FAST = frozenset((*FLOATS, *INTEGER_RANGES, "bool"))
_TYPE_NAMES = {"float32": "float", "float64": "double", "float16": "half"}


class PredictInputs(NamedTuple):
    """What a predict request asks to compute.

    Attributes:
        arrays: By alias of the input; strings as object arrays of `bytes`.
        rows: Whether they were given as `instances`.
    """

    arrays: dict[str, np.ndarray]
    rows: bool


def signature_name(document: Mapping[str, Any]) -> str:
    """Returns the signature a request is for; `serving_default` if it names none.

    Raises:
        ServingError: `INVALID_ARGUMENT`: the name is no string.
    """
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise misformatted(
            document, "not formatted correctly. 'signature_name' key must be a string value."
        )
    return name or DEFAULT_SIGNATURE


def output_filter(document: Mapping[str, Any]) -> list[str]:
    """Returns the names of the outputs a request wants; none for all of them.

    TensorFlow Serving knows the key in gRPC only.

    Raises:
        ServingError: `INVALID_ARGUMENT`: it is no list of strings.
    """
    names = document.get("output_filter", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise invalid("'output_filter' key must be a list of string values")
    return names


def predict_inputs(
    document: Mapping[str, Any],
    inputs: Mapping[str, TensorInfo],
    *,
    may_hold_bools: bool = True,
    quotes: int | None = None,
    fast: bool = True,
) -> PredictInputs:
    """Converts `instances` or `inputs` of a request.

    Shapes are those of the JSON; they are not compared with the signature.

    Args:
        document: The body.
        inputs: Those of the signature, by alias.
        may_hold_bools: False if neither `true` nor `false` is anywhere in the body: NumPy need
            then not be asked whether some of its numbers were bools.
        quotes: How many quotation marks the body has. If those of its keys are all, none of its
            values is a string, and need not be looked at for that.
        fast: Whether NumPy may convert lists as a whole.

    Raises:
        ServingError: `INVALID_ARGUMENT`, `UNIMPLEMENTED` for an input type that has no JSON.
    """
    may_hold_strings = quotes is None or quotes != quotes_of_keys(document)
    reader = _Reader(inputs, may_hold_bools, may_hold_strings, fast)
    if "instances" in document and "inputs" in document:
        raise misformatted(
            document,
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
        )
    if "instances" in document:
        instances = document["instances"]
        if not isinstance(instances, list):
            raise misformatted(document, "Excepting 'instances' to be an list/array")
        if not instances:
            raise misformatted(document, "No values in 'instances' array")
        return PredictInputs(reader.rows(instances), rows=True)
    if "inputs" in document:
        return PredictInputs(reader.columns(document["inputs"]), rows=False)
    raise invalid("Missing 'inputs' or 'instances' key")


def is_base64(value: Any) -> bool:
    """Tells whether a JSON value stands for bytes: `{"b64": "..."}`."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def decode_base64(text: str) -> bytes:
    """Returns the bytes of base64; padding may be left out, `.` may stand for `=`.

    Raises:
        ServingError: `INVALID_ARGUMENT`: it is not the standard alphabet, or of a wrong length.

    Source: `absl::Base64Unescape`.
    """
    packed = "".join(text.split()).replace(".", "=")
    if "=" not in packed:
        packed += "=" * (-len(packed) % 4)
    try:
        return base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError):
        raise invalid("Unable to base64 decode") from None


class _Reader:
    def __init__(
        self,
        inputs: Mapping[str, TensorInfo],
        may_hold_bools: bool,
        may_hold_strings: bool,
        fast: bool,
    ) -> None:
        self.inputs = inputs
        self.may_hold_bools = may_hold_bools
        self.may_hold_strings = may_hold_strings
        self.fast = fast

    def rows(self, instances: list[Any]) -> dict[str, np.ndarray]:
        first = instances[0]
        named = isinstance(first, dict) and not is_base64(first)
        if not named and len(self.inputs) > 1:
            raise invalid(
                "instances is a plain list, but expecting list of objects as multiple input tensors"
                " required as per tensorinfo_map"
            )
        if self.fast and (arrays := self._fast_rows(instances, named)) is not None:
            return arrays
        return self._exact_rows(instances, named)

    def columns(self, value: Any) -> dict[str, np.ndarray]:
        if not isinstance(value, dict) or is_base64(value):
            if len(self.inputs) > 1:
                raise invalid(
                    "inputs is a plain value/list, but expecting an object as multiple input"
                    " tensors required as per tensorinfo_map"
                )
            value = dict.fromkeys(self.inputs, value)
        arrays = {}
        for alias, info in self.inputs.items():
            if alias not in value:
                hint = names_hint("Its keys", alias, list(islice(value, 20)))
                raise invalid(f"Missing named input: {alias} in 'inputs' object.{hint}")
            array = self._fast_array(value[alias], info)
            if array is None:
                shape, leaves = _leaves_of(value[alias], info)
                array = _array(leaves, shape, info)
            arrays[alias] = array
        return arrays

    def _fast_rows(self, instances: list[Any], named: bool) -> dict[str, np.ndarray] | None:
        columns: dict[str, list[Any]] = {}
        if not named:
            columns = dict.fromkeys(self.inputs, instances)
        elif all(isinstance(row, dict) and row.keys() == self.inputs.keys() for row in instances):
            columns = {alias: [row[alias] for row in instances] for alias in self.inputs}
        else:
            return None
        arrays = {}
        for alias, column in columns.items():
            array = self._fast_array(column, self.inputs[alias])
            if array is None:
                return None
            arrays[alias] = array
        return arrays

    def _fast_array(self, value: Any, info: TensorInfo) -> np.ndarray | None:
        """Converts numbers or bools of one shape; None if they are not that, or not in range."""
        dtype = info.dtype.name
        if not self.fast or dtype not in _FAST:
            return None
        if self.may_hold_strings and holds_strings(value):
            return None
        try:
            array = np.array(value)
        except ValueError:  # not of one shape
            return None
        kind = array.dtype.kind
        if dtype == "bool":
            return array if kind == "b" else None
        if kind not in ("iuf" if dtype in FLOATS else "iu"):
            return None
        if self.may_hold_bools and holds_bools(value):
            return None
        return float_array(array, dtype) if dtype in FLOATS else integer_array(array, dtype)

    def _exact_rows(self, instances: list[Any], named: bool) -> dict[str, np.ndarray]:
        shapes: dict[str, tuple[int, ...]] = {}
        leaves: dict[str, list[Any]] = {}
        for number, element in enumerate(instances):
            if named != (isinstance(element, dict) and not is_base64(element)):
                raise invalid(
                    f"Expecting object but got list at item {number} of input list"
                    if named
                    else f"Expecting value/list but got object at item {number} of input list"
                )
            values = element if named else dict.fromkeys(self.inputs, element)
            for alias, value in values.items():
                try:
                    self._add(alias, value, shapes, leaves)
                except ServingError as error:
                    key = f" key: {alias}" if named else ""
                    raise ServingError(
                        error.code,
                        f"Failed to process element: {number}{key} of 'instances' list. Error:"
                        f" {error.code.name}: {error}",
                    ) from None
            if values.keys() != self.inputs.keys():
                raise invalid(
                    f"Failed to process element: {number} of 'instances' list. JSON object:"
                    f" {value_text(element)} keys must be equal to: {','.join(sorted(self.inputs))}"
                )
        return {
            alias: _array(leaves[alias], (len(instances), *shapes[alias]), info)
            for alias, info in self.inputs.items()
        }

    def _add(
        self,
        alias: str,
        value: Any,
        shapes: dict[str, tuple[int, ...]],
        leaves: dict[str, list[Any]],
    ) -> None:
        """Appends the values of one element of `instances`, which all have one shape."""
        if alias not in self.inputs:
            hint = names_hint("Inputs of the signature", alias, self.inputs)
            raise invalid(f"JSON object: does not have named input: {alias}.{hint}")
        shape, found = _leaves_of(value, self.inputs[alias], batched=False)
        expected = shapes.setdefault(alias, shape)
        if math.prod(expected) != len(found):
            raise invalid(f"Expecting tensor size: {math.prod(expected)} but got: {len(found)}")
        if expected != shape:
            raise invalid(f"Expecting shape {_shape(expected)} but got: {_shape(shape)}")
        leaves.setdefault(alias, []).extend(found)


def _leaves_of(
    value: Any, info: TensorInfo, *, batched: bool = True
) -> tuple[tuple[int, ...], list[Any]]:
    """Returns the shape of a value, taken from first elements, and all of its leaves in order."""
    dimensions = []
    inner = value
    while isinstance(inner, list):
        dimensions.append(len(inner))
        if not inner:
            break
        inner = inner[0]
    most = most_dimensions(info.dtype.as_numpy_dtype)
    if len(dimensions) > (most if batched else most - 1):
        raise invalid(
            f"Encountered list at unexpected level: {most - (not batched)}; a tensor has at"
            f" most {most} dimensions"
        )
    leaves: list[Any] = []
    _collect(value, 0, dimensions, info.dtype.name, leaves)
    return tuple(dimensions), leaves


def _collect(
    value: Any, level: int, dimensions: Sequence[int], dtype: str, leaves: list[Any]
) -> None:
    rank = len(dimensions)
    if not isinstance(value, list):
        if level != rank:
            raise invalid(
                f"JSON Value: {value_text(value)} found at incorrect level: {level + 1} in the JSON"
                f" DOM. Expected at level: {rank}"
            )
        leaves.append(_leaf(value, dtype))
        return
    if level >= rank:
        raise invalid(f"Encountered list at unexpected level: {level} expected < {rank}")
    if len(value) != dimensions[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size:"
            f" {dimensions[level]}"
        )
    for inner in value:
        _collect(inner, level + 1, dimensions, dtype, leaves)


def _leaf(value: Any, dtype: str) -> Any:
    """Returns a value that is not a list, if a type takes it."""
    if isinstance(value, dict) and dtype == "string":
        if not is_base64(value):
            raise misformatted(value, "not formatted correctly for base64 data")
        return decode_base64(value["b64"])
    taken = False
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if dtype in FLOATS:
        taken = number
    elif dtype in INTEGER_RANGES:
        low, high = INTEGER_RANGES[dtype]
        taken = number and isinstance(value, int) and low <= value <= high
    elif dtype == "bool":
        taken = isinstance(value, bool)
    elif dtype == "string":
        if isinstance(value, str):
            return value.encode("utf-8", "surrogateescape")
    elif not isinstance(value, dict):
        raise ServingError(
            Code.UNIMPLEMENTED,
            f"Conversion of JSON Value: {value_text(value)} to type: {_type_name(dtype)}",
        )
    if not taken:
        raise invalid(
            f"JSON Value: {value_text(value)} Type: {type_text(value)} is not of expected type:"
            f" {_type_name(dtype)}"
        )
    return value


def _array(leaves: Sequence[Any], shape: tuple[int, ...], info: TensorInfo) -> np.ndarray:
    dtype = info.dtype.name
    if dtype in FLOATS:
        return float_array(np.array(leaves, np.float64), dtype).reshape(shape)
    if dtype in INTEGER_RANGES:
        # Of 64 bits as the values are; NumPy would refuse those a small type has to cut.
        wide = np.uint64 if dtype == "uint64" else np.int64
        return np.array(leaves, wide).astype(dtype).reshape(shape)
    array = np.empty(len(leaves), info.dtype.as_numpy_dtype)
    array[:] = leaves
    return array.reshape(shape)


def _shape(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _type_name(dtype: str) -> str:
    return _TYPE_NAMES.get(dtype, dtype)
