"""HTTP/1.1 for a handler in the same event loop: requests in, answers out, in their order.

It is made for this server because a general one takes longer for each request than a small model
does. `httptools` parses; here is what remains: order, limits, and patience with slow clients.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httptools

from tfapp.serving.http1 import (
    HttpAnswer,
    HttpRequest,
    answer_head,
    origin_form,
)
from tfapp.serving.uptake import Uptake

if TYPE_CHECKING:
    from tfapp.serving.http_connections import Connections
    from tfapp.serving.readers import Returned

log = logging.getLogger(__name__)

_BETWEEN = len(b": \r\n")
_SLASH = ord("/")
_INVALID = "Invalid HTTP request."
TOO_MANY = "There are too many connections."
_LARGE = 2**16  # bytes; a body of more is not copied to follow its head
# Share of the time between requests in which nobody asks how much of an answer was taken.
_CALM = 0.02
# How long, and how much, a client may still send that nobody wants, until it has read why.
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 2**26
# How long one that was released, and has come back for a request that only this process can read,
# is kept: the next may be such a one, too.
_STAY_SECONDS = 2.0
_CLOSE, _KEEP = b"connection: close\r\n", b"connection: keep-alive\r\n"


class Connection(asyncio.Protocol):
    """One connection of a client.

    Args:
        connections: Those it belongs to.
        returned: What it was with another process that read for it, if it was.
    """

    def __init__(self, connections: Connections, returned: Returned | None = None) -> None:
        self._all = connections
        self._limits = connections.limits
        self._handler = connections.handler
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._waiting: deque[tuple[HttpRequest, bytes]] = deque()
        self._busy = False  # whether an answer is owed
        self._ends = False  # whether nothing comes after what waits
        self._heard_all = False  # whether the client sends nothing any more
        self._header = b""  # what the answer says of the connection
        self._method = ""
        self._refused = False
        self._counts = False  # whether headers are counted
        self._arriving = False  # whether a part of a request is there
        self._since = self._loop.time()  # what is under way began
        self._writable = True  # whether the client takes what is written
        self._unread = False  # whether an answer may not have reached it
        self._returned = returned
        stays = returned is not None and returned.stays
        self._stays_until = self._since + _STAY_SECONDS if stays else 0.0
        self._asked = False  # since that was asked for
        self._new_request()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins."""
        self._transport = transport
        self._uptake = Uptake(transport)
        self._all.open.add(self)
        if self._returned is None and self._all.are_too_many():
            self._refuse(503, TOO_MANY)
        if (returned := self._returned) is not None:
            self._returned = None
            if returned.answer is not None:
                self._write(returned.answer, b"")
            if returned.received:
                self.data_received(returned.received)

    def take_asked(self) -> bool:
        """Returns whether it may be released, and has begun a request since this was called."""
        asked, self._asked = self._asked, False
        return asked and self._loop.time() >= self._stays_until

    def release(self, take: Callable[[int], None]) -> None:
        """Goes to another process, unless something is under way.

        Args:
            take: Is given the number of its socket's file, which is closed here afterwards. If it
                raises, nothing has changed.
        """
        if self._busy or self._waiting or self._arriving or self._refused or self._ends:
            return
        if self._transport.is_closing() or self._transport.get_write_buffer_size():
            return
        take(self._transport.get_extra_info("socket").fileno())
        self._all.open.discard(self)
        self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """Ends; an answer that is still owed is not sent."""
        self._all.open.discard(self)
        if self in self._all.lingering:
            self._all.lingering.remove(self)
            self._farewell.cancel()
        self._waiting.clear()

    def eof_received(self) -> bool:
        """Keeps the connection for the answer that is owed, if there is one; not so with TLS."""
        self._ends = self._heard_all = True
        owed = self._busy or bool(self._waiting)
        return owed and self._transport.get_extra_info("sslcontext") is None

    def pause_writing(self) -> None:
        """Begins no more requests: the client does not read their answers, which would pile up."""
        self._writable = False

    def resume_writing(self) -> None:
        """Goes on with the requests that wait."""
        self._writable = True
        self._begin_next()

    def data_received(self, data: bytes) -> None:
        """Takes what came in."""
        if self._refused:
            self._discard(len(data))
            return
        if not self._arriving:
            self._arriving = True
            self._since = self._loop.time()
        self._received += len(data)
        if self._received > self._limits.head_bytes:
            self._count_head()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrades(memoryview(data)[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(400, _INVALID)
        self._counts = False
        if self._arriving and self._received > self._limits.head_bytes:
            self._refuse_head()

    # What the parser calls.

    def on_url(self, url: bytes) -> None:
        """Takes a part of the target."""
        self._arriving = True
        self._url += url
        self._head_bytes += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Takes a header; what comes after a body says nothing of it."""
        if not self._in_body:
            self._headers[name.lower()] = value
        if self._counts:
            self._head_bytes += len(name) + len(value) + _BETWEEN

    def on_headers_complete(self) -> None:
        """Refuses a body that is announced as too large, or tells that it may come."""
        if self._refused:  # what the parser has got already came after the end
            return
        if self._head_bytes > self._limits.head_bytes:
            self._refuse_head()
            return
        self._in_body = True
        self._received = 0
        if self._is_too_large(int(self._headers.get(b"content-length", 0))):
            return
        if self._headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, piece: bytes) -> None:
        """Takes a part of the body."""
        self._received = 0
        self._body.append(piece)
        self._body_bytes += len(piece)
        self._is_too_large(self._body_bytes)

    def on_message_complete(self) -> None:
        """Answers a request, after those that came before it."""
        if self._refused or self._parser.should_upgrade():
            return
        url, headers = self._url, self._headers
        if url[0] != _SLASH:
            url, headers = origin_form(url, headers)
        path, _, query = url.partition(b"?")
        request = HttpRequest(
            self._parser.get_method().decode("latin-1"),
            path.decode("latin-1"),
            query,
            headers,
            self._body[0] if len(self._body) == 1 else b"".join(self._body),
        )
        header = b"" if self._parser.should_keep_alive() else _CLOSE
        if not header and self._parser.get_http_version() == "1.0":
            header = _KEEP
        self._new_request()
        if self._busy or self._waiting or not self._writable:
            self._waiting.append((request, header))
            self._transport.pause_reading()
        else:
            self._begin(request, header)

    def _count_head(self) -> None:
        """Counts headers while a piece is read that may hold more than there may be of them.

        With every piece it would take a good part of the time for a small request.
        """
        self._counts = True
        sizes = (len(name) + len(value) + _BETWEEN for name, value in self._headers.items())
        self._head_bytes = len(self._url) + sum(sizes)

    def _refuse_head(self) -> None:
        limit = self._limits.head_bytes
        self._refuse(431, f"The head of the request has more than {limit} bytes.")

    def _decline_upgrades(self, rest: memoryview) -> None:
        """Goes on after a request that has the wish for another protocol, which the parser obeys.

        Args:
            rest: What came after it; it may hold more such requests.
        """
        while not self._refused:
            head = self._declined()
            if head is None:
                return
            try:
                self._parser.feed_data(head)
                self._received += len(rest)
                self._parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
            except httptools.HttpParserError:
                self._refuse(400, _INVALID)

    def _declined(self) -> bytes | None:
        """Returns the head of a request without its wish, for a new parser; None if it is refused.

        It could not be read to its end by the parser that has seen the wish.
        """
        method, url, headers = self._parser.get_method(), self._url, self._headers
        if headers.pop(b"upgrade", None) is None:
            self._refuse(400, f"{method.decode()} is not offered.")
            return None
        headers.pop(b"connection", None)
        self._parser = httptools.HttpRequestParser(self)
        self._new_request()
        lines = [b"%b %b HTTP/1.1" % (method, url)]
        lines += [b"%b: %b" % header for header in headers.items()]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _new_request(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._head_bytes = 0  # of the target, and of headers if there may be too many
        self._body_bytes = 0
        self._received = 0  # bytes since the last that became part of a body
        self._in_body = False
        self._arriving = False

    def _is_too_large(self, size: int) -> bool:
        limit = self._limits.body_bytes
        if limit is None or size <= limit:
            return False
        self._refuse(413, f"The body has more than {limit} bytes. Send it in parts.")
        return True

    def _begin(self, request: HttpRequest, header: bytes) -> None:
        self._busy = self._asked = True
        self._header = header
        self._method = request.method
        try:
            self._handler.answer(request, self._reply)
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            self._reply(self._handler.refuse(500, "The server failed; its log says why."))

    def _reply(self, answer: HttpAnswer) -> None:
        if not self._busy or self._transport.is_closing():
            return
        self._busy = False
        self._since = self._loop.time()
        over = self._ends or (self._all.ending and not self._arriving)
        last = over and not self._waiting
        header = _CLOSE if last else self._header
        self._write(answer, header)
        if last:
            self._end()
        elif header is _CLOSE:
            self._transport.close()
        elif self._waiting:
            self._loop.call_soon(self._begin_next)

    def _begin_next(self) -> None:
        if self._waiting and self._writable and not self._busy:
            self._begin(*self._waiting.popleft())
            if not self._waiting and not self._transport.is_closing():
                self._transport.resume_reading()

    def _write(self, answer: HttpAnswer, header: bytes) -> None:
        head = answer_head(answer, header)
        self._unread = True
        if self._method == "HEAD":
            self._transport.write(head)
        elif len(answer.body) > _LARGE:
            self._transport.writelines((head, answer.body))
        else:
            self._transport.write(head + answer.body)

    def _refuse(self, status: int, text: str) -> None:
        """Answers what is no request; what the client still sends is not read."""
        if self._refused:
            return
        self._refused = True
        self._ends = True
        if self._busy or self._waiting or self._transport.is_closing():
            return  # the answers to what came before are owed first, and are all that comes
        self._method = ""
        self._write(self._handler.refuse(status, text), _CLOSE)
        self._end()

    def _end(self) -> None:
        """Closes it when the client has heard its last answer, which it may not expect.

        To close while there is more to be read would be a reset, and take the answer from a client
        that is still sending.
        """
        self._refused = True
        self._waiting.clear()
        self._new_request()
        lingering = self._all.lingering
        if self._heard_all or len(lingering) >= self._limits.lingering:
            self._transport.close()
            return
        lingering.add(self)
        self._discarded = 0
        self._farewell = self._loop.call_later(_LINGER_SECONDS, self._transport.close)
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._transport.resume_reading()

    def _discard(self, size: int) -> None:
        if self in self._all.lingering:
            self._discarded += size
            if self._discarded > _LINGER_BYTES:
                self._transport.close()

    def drop_if_late(self) -> None:
        """Ends it if the client is too slow or has not asked for anything for long."""
        now = self._loop.time()
        if self._unread and now - self._since > self._limits.idle_seconds * _CALM:
            # What was taken gives time for the rest, but none that could be saved up.
            gained = self._uptake.look() / self._limits.bytes_per_second
            self._since = min(now, self._since + gained)
            self._unread = not self._uptake.complete
        if self._busy:
            return
        seconds = now - self._since
        if self._unread:
            if seconds > self._limits.idle_seconds:
                self._transport.abort()
        elif self._arriving:
            more = self._body_bytes / self._limits.bytes_per_second
            if seconds > self._limits.grace_seconds + more:
                part = "body" if self._in_body else "head"
                self._refuse(408, f"The {part} of the request took too long to arrive.")
        elif seconds > self._limits.idle_seconds:
            self._transport.close()

    def close_if_idle(self, seconds: float) -> None:
        """Closes it if for so long no answer was owed, and no request has been arriving."""
        if self._transport.is_closing():
            # TLS waits for the farewell of a client who may not listen before its next request.
            if self._uptake.has_all():
                self._transport.abort()
        elif self._busy or self._waiting or self._arriving or self in self._all.lingering:
            return
        # To close before what has come is read would be a reset.
        elif self._loop.time() - self._since > seconds and not self._uptake.unread():
            self._transport.close()
