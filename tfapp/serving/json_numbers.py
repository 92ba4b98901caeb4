"""The numbers of a predict request as arrays, without an object of Python for each of them.

What most clients send is lists of numbers of one shape. `simdjson` reads them several times as fast
as a parser that makes Python's lists, which NumPy would have to read once more. It gives the
numbers without their shape; that is taken from the first elements, and the brackets and commas of
the body tell whether all others have it. Everything else, and all that is wrong, is left to
`json_parsing` and `json_values`, which give equal arrays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import simdjson

from tfapp.serving.json_types import FLOATS, INTEGER_RANGES, float_array, integer_array
from tfapp.serving.servable import TensorInfo

# What begins otherwise is not parsed in vain: texts, base64, rows that name their inputs.
_BEGINNING = re.compile(
    rb'\s*\{\s*(?:"signature_name"\s*:\s*"[^"\\]*"\s*,\s*)?'
    rb'(?:"instances"\s*:|"inputs"\s*:\s*(?:\{\s*"[^"\\]*"\s*:)?)\s*\[[\[\s]*[-\d]'
)
_MOST_MEMBERS = 64  # each is looked for among all
_NAMED_BRACKETS = frozenset("[],")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[],"))


class Numbers:
    """A list of numbers of one shape, at any depth, that is no array yet.

    Args:
        values: The list; maybe there is something else than numbers in it.
        shape: Its shape.
    """

    def __init__(self, values: simdjson.Array, shape: tuple[int, ...]) -> None:
        self._values = values
        self._shape = shape

    def array(self, dtype: str) -> np.ndarray | None:
        """Returns it as an array of a type; None if it is not of that, or not in its range.

        Args:
            dtype: Name of the type.
        """
        if dtype in FLOATS:
            doubles = self._read("d", np.float64)
            return None if doubles is None else float_array(doubles, dtype)
        if dtype in INTEGER_RANGES:
            integers = self._read("i", np.int64)
            return None if integers is None else integer_array(integers, dtype)
        return None

    def _read(self, kind: Literal["d", "i"], dtype: type[np.generic]) -> np.ndarray | None:
        try:
            found = np.frombuffer(self._values.as_buffer(of_type=kind), dtype)
            return found.reshape(self._shape)  # too few: an empty list is in place of one number
        except (TypeError, ValueError):  # something else is among them, or does not fit
            return None


class NumberInputs:
    """A predict request that was read, and whose numbers can be taken once its model is known.

    Args:
        signature: The signature it names; empty if it names none.
        rows: Whether the numbers were given as `instances`.
        numbers: Those of the only input, or by alias.

    Attributes:
        signature: As given.
        rows: As given.
    """

    def __init__(self, signature: str, rows: bool, numbers: Numbers | dict[str, Numbers]) -> None:
        self.signature = signature
        self.rows = rows
        self._numbers = numbers

    def take(self, inputs: Mapping[str, TensorInfo]) -> dict[str, np.ndarray] | None:
        """Returns an array for each input, and frees what was read.

        Args:
            inputs: Those of the signature, by alias.

        Returns:
            The arrays; None if they are not what the inputs take.
        """
        given, self._numbers = self._numbers, {}
        if isinstance(given, Numbers):
            given = dict.fromkeys(inputs, given) if len(inputs) == 1 else {}
        arrays = {}
        for alias, info in inputs.items():
            array = given[alias].array(info.dtype.name) if alias in given else None
            if array is None:
                return None
            arrays[alias] = array
        return arrays


def number_inputs(body: bytes) -> NumberInputs | None:
    """Reads a predict request whose inputs are numbers.

    Args:
        body: Its JSON.

    Returns:
        What it asks for; None for any other body.
    """
    if _BEGINNING.match(body) is None:
        return None
    try:
        # A parser of its own: one that is used again is refused while anything it gave is kept.
        document = simdjson.Parser().parse(body)
    except (ValueError, RuntimeError):
        return None
    members = _members(document) if isinstance(document, simdjson.Object) else {}
    signature = members.get("signature_name", "")
    rows = "instances" in members
    given = members.get("instances" if rows else "inputs")
    if len(members) != 1 + ("signature_name" in members) or not isinstance(signature, str):
        return None
    named = isinstance(given, simdjson.Object)
    lists: dict[str, Any] = _members(given) if named else {"": given}
    if not all(isinstance(each, simdjson.Array) for each in lists.values()):
        return None
    shapes = {alias: _shape(each) for alias, each in lists.items()}
    brackets = b",".join(map(_brackets, shapes.values()))
    expected = b",".join(b"" if key == "signature_name" else brackets for key in members)
    if body.translate(None, _NOT_BRACKETS) != expected:
        return None
    numbers = {alias: Numbers(each, shapes[alias]) for alias, each in lists.items()}
    return NumberInputs(signature, rows, numbers if named else numbers[""])


def _members(value: Any) -> dict[str, Any]:
    """Returns the members of an object; none if they are many, or if two names are the same."""
    if len(value) > _MOST_MEMBERS:
        return {}
    names = list(value)
    if len(set(names)) < len(names) or not _NAMED_BRACKETS.isdisjoint("".join(names)):
        return {}
    return {name: value[name] for name in names}


def _shape(value: Any) -> tuple[int, ...]:
    """Returns how many elements a list has, and its first, and the first of that."""
    shape = []
    while isinstance(value, simdjson.Array):
        shape.append(len(value))
        value = value[0] if len(value) else None
    return tuple(shape)


def _brackets(shape: tuple[int, ...]) -> bytes:
    """Returns a list of a shape without its numbers."""
    text = b""
    for size in reversed(shape):
        text = b"[" + (text + b",") * (size - 1) + text + b"]"
    return text
