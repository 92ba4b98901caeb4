"""A client's connection in a process that reads requests for the server.

It knows one kind of request: a short one to predict, of numbers, as HTTP/1.1 on a connection that
stays open. With anything else the connection goes back to the server, together with what the client
has sent of it, and the server does as if it had never been away: limits, errors and all other paths
are its affair alone.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Protocol

import httptools

from tfapp.serving.json_numbers import SHORT_BODY, number_inputs
from tfapp.serving.reader_messages import encode_question

# Head and body. What is longer takes the server long enough to let others wait for it.
_MOST_BYTES = 2**16
_LONGEST_PATH = 512  # characters
# With one of these a request may mean something else than its body says.
_UNUSUAL = frozenset((b"content-encoding", b"transfer-encoding", b"expect", b"upgrade"))
# How often each connection is looked at.
LOOK_SECONDS = 0.25
# Looks at one with a request that arrives slowly, or with none, until the server is to see to it.
_SLOW, _QUIET = 1, 4
# Looks at one that does not take an answer, until it is cut off: that is when the server cuts off a
# client who takes next to nothing of the longest answer there is here, 64 KiB.
_STUCK = round((75 + 65) / LOOK_SECONDS)


class Link(Protocol):
    """Where a connection tells the server of what happens."""

    def entered(self, client: ClientConnection) -> None:
        """Is told of a connection that is there."""

    def ask(self, client: ClientConnection, question: bytes) -> None:
        """Passes a request on."""

    def give_back(self, client: ClientConnection, file: int, sent: bytes, *, stays: bool) -> bool:
        """Returns a connection.

        Args:
            client: The connection.
            file: Number of its socket's file.
            sent: What came from it and is not answered.
            stays: Whether it is better kept from now on.

        Returns:
            Whether it is gone. If not, it is to be tried later.
        """

    def lost(self, client: ClientConnection) -> None:
        """Is told of a connection that has ended."""


class ClientConnection(asyncio.Protocol):
    """One connection.

    It reads until a request is whole; then an answer is owed, and what comes meanwhile is kept.
    Once it is to leave, nothing more is read. It leaves when no answer is owed and all that was
    written is sent, with what came and is not answered; then it is gone, as when its client goes.

    Args:
        number: By which the server knows it.
        server: Where requests go.

    Attributes:
        number: As given.
        asked: How many requests it has sent since this was set to 0.
    """

    def __init__(self, number: int, server: Link) -> None:
        self.number = number
        self.asked = 0
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._quiet = 0  # looks since it has asked
        self._stuck = 0  # looks since all answers were taken
        self._owed = False  # whether an answer is awaited
        self._ends = False  # whether the client sends nothing any more
        self._leaves = False  # whether it goes back as soon as it can
        self._stays = False  # whether it does not come again then
        self._gone = False
        self._later: list[bytes] = []  # what came after a request that is not answered yet
        self._sent: list[bytes] = []  # of the request that is not answered yet
        self._new_request()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins."""
        self._transport = transport
        self._server.entered(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Ends."""
        if not self._gone:
            self._gone = True
            self._server.lost(self)

    def eof_received(self) -> bool:
        """Stays for the answer that is owed, if there is one."""
        self._ends = True
        return self._owed

    def pause_writing(self) -> None:
        """Reads no more from a client that does not read."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Reads again."""
        if not self._leaves:
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Takes what came in."""
        if self._owed or self._leaves:
            self._later.append(data)
            self._leave(stays=True)  # who does not wait for answers is the server's affair
        else:
            self._read(data)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Counts requests: one at a time is read."""
        self._begun += 1

    def on_url(self, url: bytes) -> None:
        """Takes a part of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Looks for what is unusual."""
        if name.lower() in _UNUSUAL:
            self._is_unusual = True

    def on_headers_complete(self) -> None:
        """Looks at the whole head."""
        parser, url = self._parser, self._url
        self._is_unusual |= (
            parser.get_method() != b"POST"
            or parser.get_http_version() != "1.1"
            or not parser.should_keep_alive()
            or len(url) > _LONGEST_PATH
            or url[:4].lower() != b"/v1/"
            or url[-8:].lower() != b":predict"
            or b"?" in url
        )

    def on_body(self, piece: bytes) -> None:
        """Takes a part of the body."""
        self._body.append(piece)

    def on_message_complete(self) -> None:
        """Notes that a request is there."""
        self._complete = True

    def answer(self, answer: bytes) -> None:
        """Writes an answer to the client."""
        self._owed = False
        self._sent = []
        if self._gone or self._transport.is_closing():
            return
        self._transport.write(answer)
        if self._ends:
            self._transport.close()  # when all is written
        elif self._leaves:
            # What was written is sent when this turn of the loop ends.
            asyncio.get_running_loop().call_soon(self.try_to_leave)

    def release(self, *, answered: bool = False) -> None:
        """Gives it back with what was asked, which the server has to read itself.

        Args:
            answered: Whether it has read that, and answers it.
        """
        self._owed = False
        if answered:
            self._sent = []
        self._leave(stays=True)

    def look(self, *, crowded: bool) -> None:
        """Sees at some times whether it is in the right place.

        Args:
            crowded: Whether there are enough requests for it to be here.
        """
        self._quiet = 0 if self.asked else self._quiet + 1
        self.asked = 0
        self._stuck = self._stuck + 1 if self._transport.get_write_buffer_size() else 0
        if self._stuck > _STUCK:
            self._transport.abort()
        elif self._leaves:
            self.try_to_leave()
        elif self._sent and not self._owed:  # a request that arrives slowly
            if self._quiet > _SLOW:
                self._leave(stays=True)
        elif not crowded or self._quiet > _QUIET:
            self._leave(stays=False)

    def leave(self) -> None:
        """Gives it back as soon as no answer is owed."""
        self._leave(stays=False)

    def _new_request(self) -> None:
        self._url = b""
        self._body: list[bytes] = []
        self._size = 0
        self._begun = 0
        self._is_unusual = False
        self._complete = False

    def _read(self, data: bytes) -> None:
        self._sent.append(data)
        self._size += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._is_unusual = True
        if self._is_unusual or self._begun > 1 or self._size > _MOST_BYTES:
            self._leave(stays=True)
        elif self._complete:
            self._ask(self._body[0] if len(self._body) == 1 else b"".join(self._body))

    def _ask(self, body: bytes) -> None:
        arrived = time.perf_counter()
        inputs = number_inputs(body) if len(body) > SHORT_BODY else None
        packed = None if inputs is None else inputs.packed()
        if packed is None:
            self._leave(stays=True)
            return
        question = encode_question(self._url.decode("latin-1"), arrived, len(body), packed)
        self.asked += 1
        self._owed = True
        self._new_request()
        self._server.ask(self, question)

    def _leave(self, *, stays: bool) -> None:
        if self._gone or self._transport.is_closing():
            return
        self._stays |= stays
        if not self._leaves:
            self._leaves = True
            self._transport.pause_reading()
        self.try_to_leave()

    def try_to_leave(self) -> None:
        """Gives it back if it is to leave, and that can be done now."""
        if self._owed or self._gone or self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size():  # of an answer
            return
        file = self._transport.get_extra_info("socket").fileno()
        if self._server.give_back(
            self, file, b"".join(self._sent + self._later), stays=self._stays
        ):
            self._gone = True
            self._transport.abort()
