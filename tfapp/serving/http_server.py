"""Listens for HTTP in a thread of its own, and ends without losing a request."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tfapp.serving.http1 import Handler, HttpLimits
from tfapp.serving.http_connections import Connection, Connections

log = logging.getLogger(__name__)

# How long connections without a request are kept at the end: a request may be on its way.
_LINGER_SECONDS = 0.5
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
    """

    def __init__(
        self,
        handler: Handler,
        bound: socket.socket,
        *,
        limits: HttpLimits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._connections = Connections(handler, limits or HttpLimits())
        self._socket = bound
        self._tls = tls
        self._loop = _new_event_loop()
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
        """Returns how many connections there are."""
        return len(self._connections.open)

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
            self._loop.close()

    async def _serve(self) -> None:
        server = await self._loop.create_server(
            lambda: Connection(self._connections),
            sock=self._socket,
            ssl=self._tls,
            backlog=_BACKLOG,
        )
        self._listens.set()
        while not self._end.is_set():
            await self._pause()
        self._connections.ending = True
        # Whom the system has let in, but not yet the event loop, would be cut off by closing.
        door = self._socket.dup()
        server.close()
        await self._let_in(door)
        await self._until(lambda: not self._connections.open, time.monotonic() + _LINGER_SECONDS)
        await self._until(lambda: not self._connections.close_idle(), self._end_at)

    async def _let_in(self, door: socket.socket) -> None:
        """Takes the connections that wait at a listener, and closes it."""
        door.setblocking(False)
        waiting = []
        with door, suppress(OSError):  # BlockingIOError when none is left
            while True:
                waiting.append(door.accept()[0])
        for accepted in waiting:
            await self._loop.connect_accepted_socket(
                lambda: Connection(self._connections), accepted, ssl=self._tls
            )

    async def _until(self, true: Callable[[], Any], end: float) -> None:
        while not true() and time.monotonic() < min(end, self._end_at):
            await self._pause()

    async def _pause(self) -> None:
        await asyncio.sleep(_LOOK_SECONDS)
        if time.monotonic() - self._swept >= _SWEEP_SECONDS:
            self._swept = time.monotonic()
            self._connections.drop_late()


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
