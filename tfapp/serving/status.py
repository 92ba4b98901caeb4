"""How a request ends when it does not succeed: a code that both protocols know, and a text."""

from __future__ import annotations

import re
from enum import IntEnum

from tfapp.errors import TfappError


class Code(IntEnum):
    """The codes of gRPC, by number.

    Source: `google/rpc/code.proto`.
    """

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


_SURROGATES = re.compile("[\ud800-\udfff]")


class ServingError(TfappError):
    """A request, or the loading of a version, that ended with a code other than `OK`.

    Args:
        code: What clients decide by.
        message: What clients match on comes first, a hint after it. What is no UTF-8 in it, such as
            a name of a file, is shown as U+FFFD: neither protocol could send it.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(_SURROGATES.sub("\ufffd", message))
        self.code = code


def invalid(message: str) -> ServingError:
    """Makes an `INVALID_ARGUMENT` error."""
    return ServingError(Code.INVALID_ARGUMENT, message)
