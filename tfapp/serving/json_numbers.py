"""The numbers of a predict request as arrays, without an object of Python for each of them.

What most clients send is lists of numbers of one shape. `simdjson` reads them several times as fast
as a parser that makes Python's lists, which NumPy would have to read once more. It gives the
numbers without their shape; that is taken from the first elements, and the brackets and commas of
the body tell whether all others have it. Everything else, and all that is wrong, is left to
`json_parsing` and `json_values`, which give equal arrays.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import simdjson

from tfapp.serving.json_types import FLOATS, INTEGER_RANGES, float_array, integer_array

if TYPE_CHECKING:  # a process that only reads does without TensorFlow
    from tfapp.serving.servable import TensorInfo

# So few numbers are sooner read one by one than prepared to be read at once.
SHORT_BODY = 1024  # bytes

# What begins otherwise is not parsed in vain: texts, base64, rows of single numbers with names.
_BEGINNING = re.compile(
    rb'\s*\{\s*(?:"signature_name"\s*:\s*"[^"\\]*"\s*,\s*)?(?:"instances"\s*:\s*(?:\[\s*\{\s*'
    rb'"[^"\\]*"\s*:\s*)?|"inputs"\s*:\s*(?:\{\s*"[^"\\]*"\s*:\s*)?)\[[\[\s]*[-\d]'
)
_SMALL_ROW = 128  # numbers; rows with names and fewer are read faster by others
_MOST_MEMBERS = 64  # each is looked for among all
# Names with brackets would be counted with those of lists; one with NUL is looked up up to that.
_NOT_NAMED = frozenset("[],\0")
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[],"))


class BodyNeeded(Exception):
    """Numbers that were read elsewhere are not what the model takes: the body has to be read."""


class Packed(NamedTuple):
    """Numbers of a predict request as plain data.

    Attributes:
        signature: The signature it names; empty if it names none.
        rows: Whether the numbers were given as `instances`.
        shapes: Names and shapes of the inputs; None instead of the name of an only one without.
        doubles: Their numbers, one input after the other, as the machine holds doubles.
    """

    signature: str
    rows: bool
    shapes: list[tuple[str | None, tuple[int, ...]]]
    doubles: bytes


class Numbers:
    """Numbers of one shape that are no array yet.

    Args:
        lists: The numbers, one list after the other; maybe something else is among them.
        shape: That of all of them together.
    """

    def __init__(self, lists: Sequence[simdjson.Array], shape: tuple[int, ...]) -> None:
        self._lists = lists
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
            found = [np.frombuffer(each.as_buffer(of_type=kind), dtype) for each in self._lists]
            joined = found[0] if len(found) == 1 else np.concatenate(found)
            return joined.reshape(self._shape)  # too few: an empty list is in place of one number
        except (TypeError, ValueError):  # something else is among them, or does not fit
            return None


class Doubles:
    """Numbers of one shape that another process has read.

    Args:
        values: As doubles.
    """

    def __init__(self, values: np.ndarray) -> None:
        self._values = values

    def array(self, dtype: str) -> np.ndarray | None:
        """Returns it as an array of a type; None if it has to be read as that, or does not fit."""
        return float_array(self._values, dtype) if dtype in FLOATS else None


AnyNumbers = Numbers | Doubles


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

    def __init__(
        self, signature: str, rows: bool, numbers: AnyNumbers | Mapping[str, AnyNumbers]
    ) -> None:
        self.signature = signature
        self.rows = rows
        self._numbers = numbers

    @staticmethod
    def unpacked(packed: Packed) -> NumberInputs:
        """Returns what `packed` was called of, in another process."""
        named: dict[str, AnyNumbers] = {}
        alone: AnyNumbers | None = None
        start = 0
        for name, shape in packed.shapes:
            values = np.frombuffer(packed.doubles, np.float64, math.prod(shape), start)
            start += values.nbytes
            numbers = Doubles(values.reshape(shape))
            if name is None:
                alone = numbers
            else:
                named[name] = numbers
        return NumberInputs(packed.signature, packed.rows, alone or named)

    def packed(self) -> Packed | None:
        """Returns it as plain data; None if some of its numbers are none."""
        given = self._numbers
        shapes, doubles = [], []
        for name, numbers in given.items() if isinstance(given, Mapping) else [(None, given)]:
            array = numbers.array("float64")
            if array is None:
                return None
            shapes.append((name, array.shape))
            doubles.append(array.tobytes())
        return Packed(self.signature, self.rows, shapes, b"".join(doubles))

    def take(self, inputs: Mapping[str, TensorInfo]) -> dict[str, np.ndarray] | None:
        """Returns an array for each input, and frees what was read.

        Args:
            inputs: Those of the signature, by alias.

        Returns:
            The arrays; None if they are not what the inputs take.
        """
        given, self._numbers = self._numbers, {}
        if not isinstance(given, Mapping):
            given = dict.fromkeys(inputs, given) if len(inputs) == 1 else {}
        if self.rows and given.keys() != inputs.keys():
            return None
        arrays = {}
        for alias, info in inputs.items():
            array = given[alias].array(info.dtype.name) if alias in given else None
            if array is None:
                return None
            arrays[alias] = array
        return arrays


class _OtherBody(Exception):
    """It is not one that is read here."""


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
    try:
        return _inputs(document, body.translate(None, _NOT_BRACKETS))
    except _OtherBody:
        return None


def _inputs(document: Any, brackets: bytes) -> NumberInputs:
    members = _members(document)
    signature = members.get("signature_name", "")
    rows = "instances" in members
    if len(members) != 1 + ("signature_name" in members) or not isinstance(signature, str):
        raise _OtherBody
    given = members.get("instances" if rows else "inputs")
    numbers, expected = _numbers(given, len(brackets))
    if brackets != b",".join(b"" if key == "signature_name" else expected for key in members):
        raise _OtherBody
    return NumberInputs(signature, rows, numbers)


def _numbers(given: Any, most: int) -> tuple[Numbers | Mapping[str, Numbers], bytes]:
    """Returns numbers, and the brackets and commas that there are if all is of one shape.

    Args:
        given: Of `instances` or `inputs`.
        most: How many brackets and commas there are.
    """
    if isinstance(given, simdjson.Array):
        if isinstance(given[0], simdjson.Object):
            return _named_rows(given, most)
        shape = _shape(given)
        return Numbers([given], shape), _brackets(shape, most)
    lists = _lists(given)
    shapes = {name: _shape(each) for name, each in lists.items()}
    numbers = {name: Numbers([each], shapes[name]) for name, each in lists.items()}
    return numbers, b",".join(_brackets(shape, most) for shape in shapes.values())


def _named_rows(rows: simdjson.Array, most: int) -> tuple[dict[str, Numbers], bytes]:
    names = list(first := _lists(rows[0]))
    shapes = {name: _shape(each) for name, each in first.items()}
    if sum(map(math.prod, shapes.values())) < _SMALL_ROW:
        raise _OtherBody
    row = b",".join(_brackets(shape, most) for shape in shapes.values())
    brackets = _list_of(len(rows), row, most)
    columns: dict[str, list[simdjson.Array]] = {name: [] for name in names}
    for lists in map(_lists, rows):
        if list(lists) != names:
            raise _OtherBody
        for name, each in lists.items():
            columns[name].append(each)
    numbers = {
        name: Numbers(column, (len(rows), *shapes[name])) for name, column in columns.items()
    }
    return numbers, brackets


def _lists(value: Any) -> dict[str, simdjson.Array]:
    """Returns the members of an object of lists."""
    members = _members(value)
    if not all(isinstance(each, simdjson.Array) for each in members.values()):
        raise _OtherBody
    return members


def _members(value: Any) -> dict[str, Any]:
    """Returns the members of an object, whose names are told apart, and from brackets."""
    if not isinstance(value, simdjson.Object) or len(value) > _MOST_MEMBERS:
        raise _OtherBody
    names = list(value)
    if len(set(names)) < len(names) or not _NOT_NAMED.isdisjoint("".join(names)):
        raise _OtherBody
    return {name: value[name] for name in names}


def _shape(value: Any) -> tuple[int, ...]:
    """Returns how many elements a list has, and its first, and the first of that."""
    shape = []
    while isinstance(value, simdjson.Array):
        shape.append(len(value))
        value = value[0] if len(value) else None
    return tuple(shape)


def _brackets(shape: tuple[int, ...], most: int) -> bytes:
    """Returns a list of a shape without its numbers."""
    text = b""
    for size in reversed(shape):
        text = _list_of(size, text, most)
    return text


def _list_of(size: int, text: bytes, most: int) -> bytes:
    if size * (len(text) + 1) >= most:  # a long first list among many short ones: it would be huge
        raise _OtherBody
    return b"[" + (text + b",") * (size - 1) + text + b"]"
