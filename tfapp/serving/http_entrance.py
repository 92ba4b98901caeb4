"""The way from a socket to a connection of HTTP, which leads through a handshake with TLS."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

log = logging.getLogger(__name__)


class Entrance:
    """Lets connections in, many at a time: none waits for the handshake of another.

    Args:
        make: Makes the protocol of a connection.
        tls: For HTTPS.
        handshake_seconds: How long a handshake may take.

    Attributes:
        under_way: Those that are not in yet.
    """

    def __init__(
        self,
        make: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None,
        handshake_seconds: float,
    ) -> None:
        self.under_way: set[asyncio.Task[None]] = set()
        self._make = make
        self._tls = tls
        self._seconds = handshake_seconds if tls else None

    def admit(self, accepted: socket.socket) -> None:
        """Begins to let one in.

        Args:
            accepted: Its socket; it is closed if there is no coming in.
        """
        task = asyncio.get_running_loop().create_task(self._admit(accepted))
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)

    def close(self) -> None:
        """Turns away those that are not in yet."""
        for task in self.under_way:
            task.cancel()

    async def _admit(self, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                self._make, accepted, ssl=self._tls, ssl_handshake_timeout=self._seconds
            )
        except OSError as error:  # an error of TLS is one, and so is to take too long
            log.debug("a connection was not let in: %s", error)
            accepted.close()
