"""JSON values as TensorFlow Serving's errors and answers write them."""

from __future__ import annotations

import json
import math
from itertools import islice
from typing import Any

from tfapp.serving.status import ServingError, invalid

TEXT_LIMIT = 256  # bytes of a value that an error repeats

_TYPES = {
    dict: "Object", list: "Array", str: "String", int: "Number", float: "Number",
    type(None): "Null",
}  # fmt: skip


def misformatted(value: Any, what: str) -> ServingError:
    """Makes an `INVALID_ARGUMENT` error that begins with a JSON value."""
    return invalid(f"JSON Value: {value_text(value)} {what}")


def type_text(value: Any) -> str:
    """Returns what errors call the type of a JSON value, e.g. `Number`."""
    return str(value) if isinstance(value, bool) else _TYPES[type(value)]


def value_text(value: Any) -> str:
    """Returns a JSON value as errors repeat it: indented by 4, cut after 256 bytes."""
    todo: list[str | tuple[int, Any]] = [(0, value)]
    pieces: list[str] = []
    length = 0
    while todo and length < TEXT_LIMIT:
        item = todo.pop()
        if isinstance(item, tuple):
            if isinstance(item[1], (dict, list)) and item[1]:
                todo.extend(reversed(_members(*item)))
                continue
            item = _scalar_text(item[1])
        pieces.append(item)
        length += len(item)
    text = "".join(pieces).encode("utf-8", "surrogateescape")[:TEXT_LIMIT]
    return text.decode("utf-8", "ignore")


def decimal_text(value: float) -> str:
    """Returns a double as answers write it, e.g. `0.5`, `999999.0`, `9e+06`, `NaN`."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    text = f"{value:.6g}"
    if float(text) != value:
        text = f"{value:.17g}"
    return text if "." in text or "e" in text else f"{text}.0"


def _members(depth: int, container: Any) -> list[str | tuple[int, Any]]:
    """Returns the texts and values a container consists of, as many as a text can show."""
    first, last = ("{", "}") if isinstance(container, dict) else ("[", "]")
    members: list[str | tuple[int, Any]] = [first]
    # Each takes a byte at least.
    for key in islice(container, TEXT_LIMIT):
        members.append(",\n" if len(members) > 1 else "\n")
        members.append("    " * (depth + 1))
        if isinstance(container, dict):
            members.append(f"{_scalar_text(key)}: ")
            members.append((depth + 1, container[key]))
        else:
            members.append((depth + 1, key))
    return [*members, "\n" + "    " * depth, last]


def _scalar_text(value: Any) -> str:
    if isinstance(value, float):
        return decimal_text(value)
    if isinstance(value, str):
        return json.dumps(value[: TEXT_LIMIT + 1], ensure_ascii=False)
    return json.dumps(value)
