"""How much of what was written to a client has reached it."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any

_SYSTEM_TELLS = sys.platform == "linux"
_ACKNOWLEDGED_AT = 120  # of `tcpi_bytes_acked` in Linux's `struct tcp_info`, since 4.1


class Uptake:
    """What a client takes.

    The buffer of a transport does not tell: the system has megabytes of its own and makes room in
    large steps, so that a client who reads slowly would seem not to read at all, and encryption has
    a buffer that nobody can see. Linux says what has arrived; elsewhere the buffer has to do.

    Args:
        transport: That is written to.

    Attributes:
        complete: Whether nothing was left at the last look.
    """

    def __init__(self, transport: Any) -> None:
        self.complete = True
        self._transport = transport
        self._left = 0
        self._arrived = 0

    def look(self) -> int:
        """Returns how many bytes were taken since the last look, at least."""
        arrived, queued = _arrived(self._transport.get_extra_info("socket"))
        left = self._transport.get_write_buffer_size() + queued
        # Some sandboxes count nothing as arrived.
        taken = max(0, arrived - self._arrived, self._left - left)
        self._left, self._arrived = left, arrived
        self.complete = left == 0
        return taken

    def has_all(self) -> bool:
        """Tells whether everything has certainly been taken."""
        self.look()
        return self.complete and _SYSTEM_TELLS

    def unread(self) -> int:
        """Returns how many bytes of the client's wait to be read; 0 where that cannot be told."""
        connection = self._transport.get_extra_info("socket")
        if sys.platform == "win32" or connection is None:
            return 0
        import fcntl
        import termios

        try:
            found: int = struct.unpack(
                "i", fcntl.ioctl(connection.fileno(), termios.FIONREAD, bytes(4))
            )[0]
        except (OSError, ValueError):  # it was closed meanwhile
            return 0
        return found


def _arrived(connection: socket.socket | None) -> tuple[int, int]:
    """Returns how much has arrived at the other end, and how much the system still keeps.

    Args:
        connection: None if it is lost: with TLS the transport tells of that a turn of the loop
            before its protocol hears of it.
    """
    if sys.platform != "linux" or connection is None:
        return 0, 0
    import fcntl
    import termios

    try:
        told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED_AT + 8)
        kept = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):  # it was closed meanwhile
        return 0, 0
    if len(told) < _ACKNOWLEDGED_AT + 8:
        return 0, struct.unpack("i", kept)[0]
    return struct.unpack_from("Q", told, _ACKNOWLEDGED_AT)[0], struct.unpack("i", kept)[0]
