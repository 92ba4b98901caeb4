"""What a handler of HTTP/1.1 is asked and answers, and what its clients may take."""

from __future__ import annotations

import functools
import http
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

Reply = Callable[["HttpAnswer"], None]

_ABSOLUTE = re.compile(rb"(?i:https?)://(?:[^/?#]*@)?([^/?#]*)(.*)", re.DOTALL)
_MOST_CONNECTIONS = 10_000
_OTHER_FILES = 320  # that a process needs besides: models, gRPC, logs, lingering connections


class HttpRequest(NamedTuple):
    """A request that has arrived whole.

    Attributes:
        method: In upper case.
        path: As it was sent, without the query, and without a scheme and host before it.
        query: What follows the question mark.
        headers: By name in lower case; of several with one name the last.
        body: As it was sent; empty if there is none.
    """

    method: str
    path: str
    query: bytes
    headers: dict[bytes, bytes]
    body: bytes


class HttpAnswer(NamedTuple):
    """An answer.

    Attributes:
        status: Of HTTP.
        body: Its content.
        headers: Without `Content-Length` and `Connection`.
    """

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Handler(Protocol):
    """Answers requests."""

    def answer(self, request: HttpRequest, reply: Reply) -> None:
        """Answers a request, at once or later.

        Args:
            request: What was asked.
            reply: To be called once, in the thread of the event loop.
        """

    def refuse(self, status: int, text: str) -> HttpAnswer:
        """Returns the answer to what is no request."""


def _most_connections() -> int:
    # A model is loaded from files. It must not fail because clients have taken all there can be.
    if sys.platform == "win32":
        return _MOST_CONNECTIONS
    import resource

    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return _MOST_CONNECTIONS
    return min(_MOST_CONNECTIONS, max(files - _OTHER_FILES, files // 2))


@dataclass(frozen=True)
class HttpLimits:
    """What clients may take.

    Attributes:
        head_bytes: Size of a request line and its headers.
        body_bytes: Size of a body; None for any.
        idle_seconds: How long a connection is kept between requests, and one whose client takes
            nothing of an answer.
        grace_seconds: How long any request may take to arrive.
        bytes_per_second: How fast it must come in after that, and an answer be taken.
        handshake_seconds: How long a handshake of TLS may take.
        connections: How many there may be at a time.
        lingering: How many more, that are refused and only kept until their client has heard it.
    """

    head_bytes: int = 2**16
    body_bytes: int | None = None
    idle_seconds: float = 75.0
    grace_seconds: float = 30.0
    bytes_per_second: int = 1000
    handshake_seconds: float = 10.0
    connections: int = field(default_factory=_most_connections)
    lingering: int = 64


def answer_head(answer: HttpAnswer, connection: bytes = b"") -> bytes:
    """Writes an answer without its body.

    Args:
        answer: What to write.
        connection: The header that says whether the connection is kept; nothing if it is.
    """
    return b"%bcontent-length: %d\r\n%b\r\n" % (
        _beginning(answer.status, answer.headers),
        len(answer.body),
        connection,
    )


@functools.lru_cache(256)
def _beginning(status: int, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    try:
        phrase = http.HTTPStatus(status).phrase
    except ValueError:  # 499 is nginx's, and the contract's
        phrase = "Client Closed Request"
    lines = [b"HTTP/1.1 %d %b" % (status, phrase.encode())]
    lines += [b"%b: %b" % header for header in headers]
    return b"\r\n".join(lines) + b"\r\n"


def origin_form(target: bytes, headers: dict[bytes, bytes]) -> tuple[bytes, dict[bytes, bytes]]:
    """Turns the target of a request for a proxy into that of one for a server.

    A server must take `http://host/path` too, and then believe that host.
    Source: RFC 9112, 3.2.2.

    Args:
        target: As it was sent.
        headers: By name.

    Returns:
        The path and query, and the headers with that host; both unchanged if there is no host.
    """
    match = _ABSOLUTE.fullmatch(target)
    if match is None:
        return target, headers
    host, path = match.groups()
    return path if path.startswith(b"/") else b"/" + path, headers | {b"host": host}
