"""The body of a request by REST as Python's objects.

Three parsers, and each does what the one before cannot: `orjson` takes what clients send; Python's
own takes NaN, at a tenth of that speed; the scanner takes and refuses all that TensorFlow Serving
does, at a tenth of that again.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

from tfapp.serving.json_scanner import scan
from tfapp.serving.json_texts import misformatted
from tfapp.serving.status import invalid

# What is longer is never scanned, which would take half a second a megabyte. Of these, lists in
# lists in lists are refused where Python's parser ends.
_SCANNED = 2**22  # bytes
_SPACE = re.compile(r"[ \t\n\r]*")
# Half of a surrogate pair: Python takes it, `rapidjson` does not.
_HALF_PAIR = re.compile(
    r"\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]", re.DOTALL
)
# What may not fit 64 bits or a double. Only where there is some, each number is looked at.
_LONG_NUMBER = re.compile(rb"\d{19}|[eE]\+?\d{3}")
# Spellings that Python does not know, and strings, in which they mean nothing.
_SPELLING = re.compile(rb'"(?:[^"\\]|\\.)*"|-NaN|Inf(?!inity)', re.DOTALL)
_SPELLINGS = {b"-NaN": b"NaN", b"Inf": b"Infinity"}


def parse_object(body: bytes) -> dict[str, Any]:
    """Returns the JSON object that a body begins with.

    Integers that fit no 64 bits become floats. Strings that are not UTF-8 keep their bytes as
    Python's `surrogateescape` does. Of equal keys the last one counts.

    Raises:
        ServingError: `INVALID_ARGUMENT`: the body is not JSON, or no object.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = parse_unusual(body)
    if not isinstance(value, dict):
        raise misformatted(value, "Is not object")
    return value


def plain_object(body: bytes) -> dict[str, Any] | None:
    """Returns what `parse_object` does; None for what takes longer to read, or to refuse."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def parse_unusual(body: bytes) -> Any:
    """Parses what `orjson` does not take.

    Raises:
        ServingError: `INVALID_ARGUMENT` with the reason and the offset in bytes.
    """
    if len(body) <= _SCANNED:
        return scan(body)
    try:
        return _by_python(body)
    except json.JSONDecodeError as error:
        offset = len(error.doc[: error.pos].encode("utf-8", "surrogateescape"))
        raise invalid(f"JSON Parse error: {error.msg}. at offset: {offset}") from None
    except (RecursionError, ValueError):
        raise invalid("JSON Parse error: Terminate parsing due to Handler error.") from None


def _by_python(body: bytes) -> Any:
    if b"Inf" in body or b"-NaN" in body:
        body = _SPELLING.sub(lambda found: _SPELLINGS.get(found[0], found[0]), body)
    text = body.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    hooks: dict[str, Any] = {}
    if _LONG_NUMBER.search(body):
        hooks = {"parse_int": _whole, "parse_float": _finite}
    space = _SPACE.match(text)
    assert space is not None
    value, end = json.JSONDecoder(**hooks).raw_decode(text, space.end())
    if half := _HALF_PAIR.search(text, space.end(), end):
        raise json.JSONDecodeError("The surrogate pair in string is invalid", text, half.start())
    return value


def _whole(digits: str) -> float:
    if len(digits) <= 20:
        whole = int(digits)
        if -(2**63) <= whole < 2**64:
            return whole
    return _finite(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"{digits[:20]} is too big for a double")
    return value
