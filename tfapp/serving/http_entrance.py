"""The way from a socket to a connection of HTTP, which leads through a handshake with TLS."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

log = logging.getLogger(__name__)


class Entrance:
    """Lets connections in, many at a time: none waits for the handshake of another.

    Args:
        make: Makes the protocol of a connection.
        tls: For HTTPS.
        handshake_seconds: How long a handshake may take.
        has_room: Tells whether one more may shake hands. Without TLS the protocol has to look.

    Attributes:
        under_way: Those that are not in yet.
    """

    def __init__(
        self,
        make: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None,
        handshake_seconds: float,
        has_room: Callable[[], bool],
    ) -> None:
        self.under_way: set[asyncio.Task[None]] = set()
        self._make = make
        self._tls = tls
        self._seconds = handshake_seconds if tls else None
        self._has_room = has_room

    def admit(
        self, accepted: socket.socket, make: Callable[[], asyncio.Protocol] | None = None
    ) -> None:
        """Begins to let one in.

        Args:
            accepted: Its socket; it is closed if there is no coming in.
            make: Makes its protocol, if it is another than that of others.
        """
        if self._tls and not self._has_room():
            accepted.close()  # without a handshake nothing can be said
            return
        task = asyncio.get_running_loop().create_task(self._admit(accepted, make or self._make))
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)

    def close(self) -> None:
        """Turns away those that are not in yet."""
        for task in self.under_way:
            task.cancel()

    async def _admit(self, accepted: socket.socket, make: Callable[[], asyncio.Protocol]) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                make, accepted, ssl=self._tls, ssl_handshake_timeout=self._seconds
            )
        except OSError as error:  # an error of TLS is one, and so is to take too long
            log.debug("a connection was not let in: %s", error)
            accepted.close()


class HandedOver(asyncio.Protocol):
    """Takes a connection that has to shake hands from the listener.

    A listener of asyncio's would make the handshake itself, and tell of the connection only then:
    those that never come so far would be seen, and counted, by nobody.

    Args:
        entrance: Where it goes.
    """

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance

    def connection_made(self, transport: Any) -> None:
        """Hands over its socket; this transport has not read of it yet."""
        with suppress(OSError):  # the files that may be open are
            self._entrance.admit(transport.get_extra_info("socket").dup())
        transport.abort()
