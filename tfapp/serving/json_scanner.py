"""The JSON that TensorFlow Serving reads: NaN and Infinity, any depth, anything after the end.

Source: `rapidjson` with `kParseNanAndInfFlag`, whose texts and offsets of errors these are.
"""

from __future__ import annotations

import math
import re
from typing import Any, NoReturn

from tfapp.serving.status import invalid

_SPACE = re.compile(rb"[ \t\n\r]*")
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_EXPONENT = re.compile(rb"[eE][+-]?")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_HEX = re.compile(rb"[0-9A-Fa-f]{4}")
_ESCAPES = {
    b'"': b'"', b"\\": b"\\", b"/": b"/",
    b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t",
}  # fmt: skip
_WORDS = {b"t": (b"true", True), b"f": (b"false", False), b"n": (b"null", None)}
# Of lists and objects in one another. A megabyte of brackets, and a second; more is no request.
_DEEPEST = 1_000_000
_BOM = b"\xef\xbb\xbf"


def scan(body: bytes) -> Any:
    """Parses any JSON value by value and without recursion, some two megabytes a second.

    Raises:
        ServingError: `INVALID_ARGUMENT` with the reason and the offset in bytes.
    """
    return _Scanner(body).document()


class _Scanner:
    def __init__(self, text: bytes) -> None:
        self.text = text
        self.at = len(_BOM) if text.startswith(_BOM) else 0

    def document(self) -> Any:
        self._skip_space()
        if self._next() in (b"", b"\0", b",", b":", b"]", b"}"):
            self._fail("The document is empty.")
        opened: list[Any] = []
        keys: list[str] = []
        while True:
            value = self._value()
            if isinstance(value, (dict, list)) and not self._closes(value):
                opened.append(value)
                if len(opened) > _DEEPEST:
                    self._fail("Terminate parsing due to Handler error.")
                if isinstance(value, dict):
                    keys.append(self._key())
                continue
            while opened:
                outer = opened[-1]
                if isinstance(outer, list):
                    outer.append(value)
                else:
                    outer[keys[-1]] = value
                if self._continues(outer):
                    if isinstance(outer, dict):
                        keys[-1] = self._key()
                    break
                value = opened.pop()
                if isinstance(value, dict):
                    keys.pop()
            else:
                return value

    def _value(self) -> Any:
        """Reads a scalar whole, of a list or object only its opening."""
        char = self._next()
        if char == b'"':
            return self._string()
        if char in (b"[", b"{"):
            self.at += 1
            self._skip_space()
            return [] if char == b"[" else {}
        if char in _WORDS:
            word, value = _WORDS[char]
            self._expect(word)
            return value
        return self._number()

    def _closes(self, container: Any) -> bool:
        closed = self._next() == (b"]" if isinstance(container, list) else b"}")
        self.at += closed
        return closed

    def _continues(self, container: Any) -> bool:
        self._skip_space()
        if self._closes(container):
            return False
        if self._next() != b",":
            what = "] after an array element" if isinstance(container, list) else ""
            self._fail(f"Missing a comma or {what or '} after an object member'}.")
        self.at += 1
        self._skip_space()
        return True

    def _key(self) -> str:
        if self._next() != b'"':
            self._fail("Missing a name for object member.")
        key = self._string()
        self._skip_space()
        if self._next() != b":":
            self._fail("Missing a colon after a name of object member.")
        self.at += 1
        self._skip_space()
        return key

    def _string(self) -> str:
        self.at += 1
        parts = []
        while True:
            plain = _PLAIN.match(self.text, self.at)
            assert plain is not None
            parts.append(plain[0])
            self.at = plain.end()
            char = self._next()
            if char == b'"':
                self.at += 1
                return b"".join(parts).decode("utf-8", "surrogateescape")
            if char == b"\\":
                parts.append(self._escaped())
            elif char in (b"", b"\0"):
                self._fail("Missing a closing quotation mark in string.")
            else:
                self._fail("Invalid encoding in string.")

    def _escaped(self) -> bytes:
        start = self.at
        char = self.text[start + 1 : start + 2]
        self.at += 2
        if char in _ESCAPES:
            return _ESCAPES[char]
        if char != b"u":
            self._fail("Invalid escape character in string.", start)
        point = self._hex(start)
        if 0xD800 <= point <= 0xDFFF:
            followed = self.text.startswith(b"\\u", self.at)
            self.at += 2
            low = self._hex(start) if followed and point <= 0xDBFF else 0
            if not 0xDC00 <= low <= 0xDFFF:
                self._fail("The surrogate pair in string is invalid.", start)
            point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00)
        return chr(point).encode()

    def _hex(self, start: int) -> int:
        digits = _HEX.match(self.text, self.at)
        if digits is None:
            self._fail("Incorrect hex digit after \\u escape in string.", start)
        self.at += 4
        return int(digits[0], 16)

    def _number(self) -> float:
        start = self.at
        match = _NUMBER.match(self.text, start)
        if match is None:
            return self._not_finite()
        fraction, exponent = match.groups()
        self.at = match.end()
        if exponent is None:
            if fraction is None and self._next() == b".":
                self._fail("Miss fraction part in number.", self.at + 1)
            if unfinished := _EXPONENT.match(self.text, self.at):
                self._fail("Miss exponent in number.", unfinished.end())
        if fraction is None and exponent is None and len(match[0]) <= 20:
            whole = int(match[0])
            if -(2**63) <= whole < 2**64:
                return whole
        value = float(match[0])
        if math.isinf(value):
            self._fail("Number too big to be stored in double.", start)
        return value

    def _not_finite(self) -> float:
        minus = self._next() == b"-"
        self.at += minus
        if self._next() == b"N":
            self._expect(b"NaN")
            return math.nan
        self._expect(b"Inf")
        if self._next() == b"i":
            self._expect(b"inity")
        return -math.inf if minus else math.inf

    def _expect(self, word: bytes) -> None:
        for char in word:
            if self._next() != bytes((char,)):
                self._fail("Invalid value.")
            self.at += 1

    def _next(self) -> bytes:
        return self.text[self.at : self.at + 1]

    def _skip_space(self) -> None:
        space = _SPACE.match(self.text, self.at)
        assert space is not None
        self.at = space.end()

    def _fail(self, reason: str, at: int | None = None) -> NoReturn:
        offset = self.at if at is None else at
        raise invalid(f"JSON Parse error: {reason} at offset: {offset}")
