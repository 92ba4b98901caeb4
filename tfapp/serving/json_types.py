"""The types of tensors that have JSON, and numbers of JSON as arrays of these types."""

from __future__ import annotations

import numpy as np

_INT32 = (-(2**31), 2**31 - 1)
# Integers a type is read from. The small ones are cut to their size afterwards.
INTEGER_RANGES = {
    "int8": _INT32, "int16": _INT32, "int32": _INT32, "uint8": _INT32,
    "int64": (-(2**63), 2**63 - 1), "uint32": (0, 2**32 - 1), "uint64": (0, 2**64 - 1),
}  # fmt: skip
FLOATS = ("float32", "float64")
# All that requests and answers may hold.
JSON_TYPES = (*FLOATS, *INTEGER_RANGES, "bool", "string")


def float_array(array: np.ndarray, dtype: str) -> np.ndarray:
    """Returns numbers as floats of a type.

    Args:
        array: Numbers of any type; integers become doubles first, as everything does in JSON.
        dtype: One of `FLOATS`.
    """
    if dtype == "float64":
        return array.astype(np.float64, copy=False)
    with np.errstate(over="ignore"):
        return array.astype(np.float64, copy=False).astype(dtype, copy=False)


def integer_array(array: np.ndarray, dtype: str) -> np.ndarray | None:
    """Returns integers as ones of a type; None if there are none, or some are out of its range.

    Args:
        array: Integers of 64 bits.
        dtype: One of `INTEGER_RANGES`.
    """
    low, high = INTEGER_RANGES[dtype]
    if not array.size or int(array.min()) < low or int(array.max()) > high:
        return None
    return array.astype(dtype)
