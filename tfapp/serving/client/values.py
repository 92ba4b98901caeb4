"""Arrays on their way to a server and back: types, and JSON.

Strings are `object` arrays of `bytes` on this side, as TensorFlow has them.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt

from tfapp.errors import UsageError
from tfapp.serving.client.signatures import TensorInfo

Array = npt.NDArray[Any]


def as_input(value: Any, info: TensorInfo, name: str) -> Array:
    """Returns values as the type that an input has; floats are rounded to the nearest of it.

    Raises:
        UsageError: That would change them otherwise: texts for numbers, 0.5 for an integer, 300 for
            a uint8, 1e300 for a float32, 1+5j for what is not complex.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise UsageError(f"input {name!r} is {info}, the values have no shape: {error}.") from error
    if info.dtype == "string":
        if array.dtype.kind not in "USO":
            raise UsageError(f"input {name!r} is {info}, the values are {array.dtype}.")
        # `U` and `S` pad and cut; each text is taken from the values as they were given.
        texts = array if array.dtype.kind == "O" else np.asarray(value, object)
        for text in texts.flat:
            if not isinstance(text, str | bytes):
                raise UsageError(f"input {name!r} is {info}, a text is needed, found {text!r}.")
        return texts
    dtype = _numpy_type(info)
    if dtype is None or dtype == array.dtype:
        return array
    # V: bfloat16 and the like, but no records
    if array.dtype.kind not in "biufcV" or array.dtype.names is not None:
        raise UsageError(f"input {name!r} is {info}, the values are {array.dtype}.")
    with np.errstate(all="ignore"):
        cast = (array if dtype.kind == "c" else array.real).astype(dtype)
    wrong = array[_changed(array, cast)]
    if wrong.size:
        raise UsageError(f"input {name!r} is {info}, which cannot hold {wrong.flat[0]}.")
    return cast


def _changed(array: Array, cast: Array) -> npt.NDArray[np.bool_]:
    """Tells which values are others in another type; rounding to the next float does not count."""
    if cast.dtype.kind in "biu":
        return np.asarray(cast != array)
    changed = np.isinf(cast) & ~np.isinf(array)
    if array.dtype.kind == "c" and cast.dtype.kind != "c":
        changed |= array.imag != 0
    return np.asarray(changed)


def to_json(array: Array) -> Any:
    """Returns an array as what `json` writes; bytes in base64, as TensorFlow Serving reads them."""
    if array.dtype.kind == "S":
        array = array.astype(object)
    if array.dtype.kind != "O":
        return array.tolist()
    return _each(array.tolist(), _text_to_json)


def from_json(value: Any, info: TensorInfo | None) -> Array:
    """Returns what a server answered as an array of the type that its metadata tells."""
    if info is not None and info.dtype == "string":
        found = np.array(_each(value, _text_from_json), object)
    else:
        found = np.array(value, info.dtype if info is not None and _is_known(info) else None)
    if not found.size and info is not None and info.shape:  # JSON has no shape of nothing
        tail = [size for size in info.shape[1:] if size]
        if len(tail) == len(info.shape) - 1:
            return found.reshape(0, *tail)
    return found


def feature_values(value: Any, name: str) -> list[float] | list[int] | list[bytes]:
    """Returns the values of one feature of a `tf.train.Example`, flat and of one kind.

    Raises:
        UsageError: They are neither numbers nor texts.
    """
    try:
        flat = np.asarray(value).ravel()
    except ValueError as error:
        raise UsageError(f"feature {name!r} has values of unequal length: {error}.") from error
    if flat.dtype.kind == "f":
        return [float(v) for v in flat.tolist()]
    if flat.dtype.kind in "biu":
        return [int(v) for v in flat.tolist()]
    texts = np.asarray(value, object).ravel().tolist()  # `S` would cut zeros at the end
    if flat.dtype.kind in "USO" and all(isinstance(text, str | bytes) for text in texts):
        return [text.encode() if isinstance(text, str) else text for text in texts]
    raise UsageError(f"feature {name!r} holds {value!r}; features are numbers or texts.")


def feature_to_json(values: list[float] | list[int] | list[bytes]) -> list[Any]:
    """Returns the values of a feature as what `json` writes."""
    return [_text_to_json(v) if isinstance(v, bytes) else v for v in values]


def _is_known(info: TensorInfo) -> bool:
    return info.dtype != "string" and not info.dtype.startswith("DT_")


def _numpy_type(info: TensorInfo) -> np.dtype[Any] | None:
    """Returns the type of an input's values; `None` of one that is sent as it is given."""
    if _is_known(info):
        return np.dtype(info.dtype)
    if info.dtype != "DT_BFLOAT16":
        return None
    try:  # it comes with TensorFlow: whoever asks by gRPC has it, and JSON knows no such type
        import ml_dtypes
    except ImportError:
        return None
    return np.dtype(ml_dtypes.bfloat16)


def _each(value: Any, change: Any) -> Any:
    return [_each(item, change) for item in value] if isinstance(value, list) else change(value)


def _text_to_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, str):
        return value
    raise UsageError(f"a text is needed, found {value!r}.")


def _text_from_json(value: Any) -> bytes:
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return str(value).encode("utf-8", "surrogateescape")
