"""`TensorProto` to array and back, without a Python object per number where that can be avoided."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2

from tfapp.serving.status import Code, ServingError

_REPEATED_LIMIT = 2**28  # bytes; a message of a few bytes must not ask for all the memory there is
_MOST_WITHOUT_ELEMENTS = 2**22  # rows, times all other dimensions that are not 0
_STRING_BYTES = 24  # of a string in TensorFlow, besides its text


@dataclass(frozen=True)
class _Kind:
    """How one type of tensor is written in a `TensorProto`.

    Attributes:
        number: Its `DataType`.
        array: Type of its elements in an array.
        field: Field of its values, when they are not in `tensor_content`.
        wire: Type of an element of that field.
        view: Whether the bits of `wire`, not its values, are those of the tensor.
        raw: Whether the field's bytes in a message are those of an array.
    """

    number: int
    array: np.dtype[Any]
    field: str
    wire: np.dtype[Any]
    view: bool = False
    raw: bool = False


def _kind(
    dtype: Any, field: str, wire: Any = None, *, view: bool = False, raw: bool = False
) -> _Kind:
    array = np.dtype(dtype.as_numpy_dtype)
    return _Kind(dtype.as_datatype_enum, array, field, np.dtype(wire or array), view, raw)


# Source: the fields of `tensorflow/core/framework/tensor.proto`.
_KINDS = (
    _kind(tf.float32, "float_val", raw=True),
    _kind(tf.float64, "double_val", raw=True),
    _kind(tf.complex64, "scomplex_val", np.float32, view=True, raw=True),
    _kind(tf.complex128, "dcomplex_val", np.float64, view=True, raw=True),
    _kind(tf.bool, "bool_val", raw=True),  # 0 and 1 are one byte each, as in an array
    _kind(tf.float16, "half_val", np.uint16, view=True),
    _kind(tf.bfloat16, "half_val", np.uint16, view=True),
    _kind(tf.int32, "int_val"),
    _kind(tf.int16, "int_val", np.int32),
    _kind(tf.int8, "int_val", np.int32),
    _kind(tf.uint8, "int_val", np.int32),
    _kind(tf.uint16, "int_val", np.int32),
    _kind(tf.int64, "int64_val"),
    _kind(tf.uint32, "uint32_val"),
    _kind(tf.uint64, "uint64_val"),
    _kind(tf.string, "string_val"),
)
_BY_NUMBER = {kind.number: kind for kind in _KINDS}
_BY_ARRAY = {kind.array: kind for kind in _KINDS}
_FIELDS = tensor_pb2.TensorProto.DESCRIPTOR.fields_by_name


def most_dimensions(dtype: Any) -> int:
    """Returns how many dimensions an array may have that TensorFlow is given.

    It walks through strings with an iterator of NumPy that ends at 32; what it does with more is to
    end the process.

    Args:
        dtype: Type of the array's elements.
    """
    return 32 if np.dtype(dtype).kind == "O" else 64


def to_arrays(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Reads the tensors of a request.

    Args:
        values: `TensorProto`s by alias; what is an array already stays as it is.

    Raises:
        ServingError: As `to_array`; and all of them together are too large for their messages.
    """
    allowance = _Allowance()
    arrays: dict[str, Any] = {}
    for alias, value in values.items():
        is_array = isinstance(value, (np.ndarray, np.generic))
        arrays[alias] = value if is_array else to_array(value, alias, allowance)
    return arrays


class _Allowance:
    """How many bytes the values of a message may still take that are not in it."""

    def __init__(self) -> None:
        self._left = _REPEATED_LIMIT

    def take(self, size: int) -> bool:
        """Takes some of it, if there is so much left."""
        if size > self._left:
            return False
        self._left -= size
        return True


def to_array(proto: Any, alias: str, allowance: _Allowance | None = None) -> np.ndarray:
    """Reads a tensor of a request as TensorFlow does.

    Fewer values than the shape has elements: the last one is repeated, none at all are zeros. More
    values are left out.

    Args:
        proto: A `TensorProto`, with `tensor_content` or with values in the field of its type.
        alias: The name of the input, for the message.
        allowance: Of the message that the tensor is of; its own if None.

    Returns:
        An array that must not be written to; strings as an object array of `bytes`.

    Raises:
        ServingError: `INVALID_ARGUMENT` with `tensor parsing error: <alias>`.
    """
    try:
        return _decode(proto, allowance or _Allowance())
    except ValueError as error:
        raise ServingError(
            Code.INVALID_ARGUMENT, f"tensor parsing error: {alias} ({error})"
        ) from error


def write_proto(array: np.ndarray, proto: Any, *, as_content: bool = False) -> None:
    """Writes an array into an empty `TensorProto`.

    Args:
        array: Strings as an object array of `bytes`.
        proto: The message to fill.
        as_content: Write numbers into `tensor_content` instead of the field of their type. Strings
            stay in `string_val`: `tf.make_ndarray` cannot read them from `tensor_content`.

    Raises:
        ServingError: `UNIMPLEMENTED`: a tensor of this type cannot be sent.
    """
    kind = _BY_ARRAY.get(array.dtype)
    if kind is None:
        raise ServingError(Code.UNIMPLEMENTED, f"Tensors of type {array.dtype} cannot be sent")
    proto.dtype = kind.number
    dims = proto.tensor_shape.dim
    for size in array.shape:
        dims.add().size = size
    if not array.shape:
        proto.tensor_shape.SetInParent()
    if kind.array.kind == "O":
        proto.string_val.extend(array.ravel().tolist())
    elif as_content:
        proto.tensor_content = array.tobytes()
    elif kind.raw:
        proto.MergeFromString(_packed(kind.field, array.tobytes()))
    else:
        values = array.view(kind.wire) if kind.view else array
        getattr(proto, kind.field).extend(values.ravel().tolist())


def data_type_name(array: np.ndarray) -> str:
    """Returns the `DataType` of an array by name, e.g. `DT_FLOAT`."""
    kind = _BY_ARRAY.get(array.dtype)
    return str(array.dtype) if kind is None else types_pb2.DataType.Name(kind.number)


def _decode(proto: Any, allowance: _Allowance) -> np.ndarray:
    kind = _BY_NUMBER.get(proto.dtype)
    if kind is None:
        known = proto.dtype in types_pb2.DataType.values()
        name = types_pb2.DataType.Name(proto.dtype) if known else str(proto.dtype)
        raise ValueError(f"dtype {name} cannot be read")
    shape = _shape(proto.tensor_shape)
    if len(shape) > most_dimensions(kind.array):
        raise ValueError(f"{len(shape)} dimensions, of at most {most_dimensions(kind.array)}")
    count = math.prod(shape)
    if not count:
        _check_empty(shape)
    content = proto.tensor_content
    if not content:
        return _resized(_values(proto, kind), count, allowance).reshape(shape)
    if kind.array.kind == "O":
        return _strings(content, count).reshape(shape)
    if len(content) != count * kind.array.itemsize:
        raise ValueError(
            f"tensor_content has {len(content)} bytes, expected {count * kind.array.itemsize}"
            f" for shape {list(shape)}"
        )
    return np.frombuffer(content, kind.array).reshape(shape)


def _shape(proto: Any) -> tuple[int, ...]:
    if proto.unknown_rank:
        raise ValueError("its shape is not known")
    shape = [dim.size for dim in proto.dim]
    if min(shape, default=0) < 0:
        raise ValueError(f"shape {shape} has a negative dimension")
    return tuple(shape)


def _values(proto: Any, kind: _Kind) -> np.ndarray:
    field = getattr(proto, kind.field)
    if kind.field == "half_val":
        return np.array(field, np.int32).astype(kind.wire).view(kind.array)
    values = np.array(field, kind.wire)
    if kind.view:
        return values[: len(values) // 2 * 2].view(kind.array)  # an odd one out has no partner
    return values.astype(kind.array, copy=False)


def _check_empty(shape: tuple[int, ...]) -> None:
    # Without elements it takes no memory, but what is computed of it may, such as the sums of its
    # rows, and time: a loop over them.
    if math.prod(filter(None, shape)) > _MOST_WITHOUT_ELEMENTS:
        raise ValueError(f"shape {list(shape)} has no elements, but too many rows")


def _resized(values: np.ndarray, count: int, allowance: _Allowance) -> np.ndarray:
    if len(values) >= count:
        return values[:count]
    strings = values.dtype == object
    rest: Any = values[-1] if len(values) else b"" if strings else 0
    size = _STRING_BYTES + len(rest) if strings else values.dtype.itemsize
    if not allowance.take((count - len(values)) * size):
        raise ValueError(f"{len(values)} values for a shape of {count} elements")
    filled = np.empty(count, values.dtype)
    filled[: len(values)] = values
    filled[len(values) :] = rest
    return filled


def _strings(content: bytes, count: int) -> np.ndarray:
    # All lengths as varints, then all strings; so C++ clients write them.
    lengths, position = [], 0
    if count > len(content):
        raise ValueError(f"tensor_content ends before the lengths of {count} strings")
    for _ in range(count):
        length, position = _varint(content, position)
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise ValueError(f"tensor_content does not hold {count} strings of the lengths it tells")
    strings = np.empty(count, object)
    for index, length in enumerate(lengths):
        strings[index] = content[position : position + length]
        position += length
    return strings


def _varint(content: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(content) and shift < 35:
        byte = content[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
    raise ValueError("tensor_content ends within the length of a string")


def _packed(field: str, content: bytes) -> bytes:
    # As a message of this one field. Filling it from Python makes an object of every number.
    header: Sequence[int] = [_FIELDS[field].number << 3 | 2, *_varint_bytes(len(content))]
    return bytes(header) + content


def _varint_bytes(value: int) -> list[int]:
    encoded = []
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return [*encoded, value]
