"""Listens for HTTP in a thread of its own, and ends without losing a request."""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from tfapp.serving.event_loops import new_event_loop
from tfapp.serving.http1 import Handler, HttpLimits
from tfapp.serving.http_connection import TOO_MANY, Connection
from tfapp.serving.http_connections import Connections
from tfapp.serving.http_entrance import Entrance, HandedOver
from tfapp.serving.readers import MakeReaders, Returned

log = logging.getLogger(__name__)

# How long connections without a request are kept at the end: a request may be on its way.
_LINGER_SECONDS = 0.5
# And handshakes: they take a few round trips. Who is not in then has not sent a request.
_LAST_HANDSHAKE_SECONDS = 2.0
_LOOK_SECONDS = 0.05
_SWEEP_SECONDS = 1.0
_BACKLOG = 1024


class HttpServer:
    """Serves a handler.

    Args:
        handler: Answers requests, in the thread of the event loop.
        bound: A socket that does not listen yet; it is closed with the server.
        limits: What clients may take.
        tls: For HTTPS.
        readers: Makes the processes that read requests where one cannot; without TLS only.
    """

    def __init__(
        self,
        handler: Handler,
        bound: socket.socket,
        *,
        limits: HttpLimits | None = None,
        tls: ssl.SSLContext | None = None,
        readers: MakeReaders | None = None,
    ) -> None:
        limits = limits or HttpLimits()
        self._connections = Connections(handler, limits)
        self._readers = None if readers is None or tls is not None else readers(self._adopt)
        if self._readers is not None:
            self._connections.away = self._away
        self._entrance = Entrance(self._connect, tls, limits.handshake_seconds, self._has_room)
        self._socket = bound
        self._tls = tls
        self._loop = new_event_loop()
        self._listens = threading.Event()
        self._end = threading.Event()
        self._end_at = 0.0
        self._swept = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="tfapp-http", daemon=True)

    def start(self) -> None:
        """Returns when it listens."""
        self._thread.start()
        while not self._listens.wait(_LOOK_SECONDS) and self._thread.is_alive():
            pass

    def is_alive(self) -> bool:
        """Tells whether it listens."""
        return self._thread.is_alive()

    def open_connections(self) -> int:
        """Returns how many connections there are, also those that are not quite here."""
        return len(self._connections.open) + len(self._entrance.under_way) + self._with_readers()

    def close(self, end: float) -> None:
        """Returns when the requests under way are answered, or at the time `end`.

        Args:
            end: By `time.monotonic()`.
        """
        self._end_at = end
        self._end.set()
        if self._thread.ident is None:
            self._socket.close()
        else:
            self._thread.join(max(0.0, end - time.monotonic()) + 1.0)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except Exception:
            log.exception("HTTP ended by itself")
        finally:
            if self._readers is not None:
                self._readers.close()
            self._loop.close()

    async def _serve(self) -> None:
        server = await self._loop.create_server(
            self._hand_over if self._tls else self._connect, sock=self._socket, backlog=_BACKLOG
        )
        self._listens.set()
        while not self._end.is_set():
            await self._pause()
        self._connections.ending = True
        # Whom the system has let in, but not yet the event loop, would be cut off by closing.
        door = self._socket.dup()
        server.close()
        self._let_in(door)
        if self._readers is not None:
            self._readers.call_back()
        self._loop.call_later(_LAST_HANDSHAKE_SECONDS, self._entrance.close)
        await self._until(self._is_empty, time.monotonic() + _LINGER_SECONDS)
        await self._until(self._is_empty_of_idle, self._end_at)
        self._entrance.close()

    def _connect(self) -> Connection:
        return Connection(self._connections)

    def _hand_over(self) -> HandedOver:
        return HandedOver(self._entrance)

    def _adopt(self, returned: Returned) -> None:
        """Takes a connection back from who has read for it."""
        make = functools.partial(Connection, self._connections, returned)
        self._entrance.admit(returned.socket, make)

    def _with_readers(self) -> int:
        return 0 if self._readers is None else self._readers.away()

    def _away(self) -> int:
        return self._with_readers() + len(self._entrance.under_way)

    def _has_room(self) -> bool:
        if not self._connections.are_too_many(len(self._entrance.under_way) + 1):
            return True
        self._connections.handler.refuse(503, TOO_MANY)  # it is not sent, but counted
        return False

    def _let_in(self, door: socket.socket) -> None:
        """Takes the connections that wait at a listener, and closes it."""
        door.setblocking(False)
        with door, suppress(OSError):  # BlockingIOError when none is left
            while True:
                self._entrance.admit(door.accept()[0])

    def _is_empty(self) -> bool:
        return not self.open_connections()

    def _is_empty_of_idle(self) -> bool:
        self._connections.close_idle(_LINGER_SECONDS)
        return self._is_empty()

    async def _until(self, true: Callable[[], bool], end: float) -> None:
        while not true() and time.monotonic() < min(end, self._end_at):
            await self._pause()

    def _look_for_readers(self) -> None:
        try:
            if self._readers is not None:
                self._readers.look(self._connections.open)
        except Exception:  # it is but faster with them
            log.exception("connections could not be handed over")

    async def _pause(self) -> None:
        await asyncio.sleep(_LOOK_SECONDS)
        self._look_for_readers()
        if time.monotonic() - self._swept >= _SWEEP_SECONDS:
            self._swept = time.monotonic()
            self._connections.drop_late()
