"""How a request by gRPC ends that failed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import grpc

from tfapp.serving.status import Code, ServingError

_LOG = logging.getLogger(__name__)
_STATUS = {status.value[0]: status for status in grpc.StatusCode}
_MESSAGE_LIMIT = 1024  # bytes


@contextmanager
def errors_told(context: Any) -> Iterator[None]:
    """Ends a request with the code and text of an error raised inside."""
    try:
        yield
    except Exception as error:
        abort(context, *code_and_text(error))


def code_and_text(error: Exception) -> tuple[Code, str]:
    """Returns what a client is told of an error; one that nobody foresaw is logged."""
    if isinstance(error, ServingError):
        return error.code, str(error)
    _LOG.error("a request failed for a reason that is not its own", exc_info=error)
    return Code.INTERNAL, f"{type(error).__name__}: {error}"


def abort(context: Any, code: Code, message: str) -> NoReturn:
    """Ends a request; a text over 1,024 bytes is cut, as by TensorFlow Serving.

    Raises:
        Exception: Always: so gRPC ends a call.
    """
    encoded = message.encode()
    if len(encoded) > _MESSAGE_LIMIT:
        message = encoded[:_MESSAGE_LIMIT].decode(errors="ignore") + "...TRUNCATED"
    context.abort(_STATUS[code], message)
    raise AssertionError("gRPC did not end a call that was aborted")
