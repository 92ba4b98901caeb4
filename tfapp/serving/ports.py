"""TCP ports that the server listens on, taken or refused with one sentence."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

from tfapp.serving.flags import Flags, StartError
from tfapp.serving.status import Code

# All addresses of the machine; the second where it has no IPv6.
_ANY = ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0"))


def check_ports(flags: Flags) -> None:
    """Refuses ports that are taken, before minutes are spent on loading models.

    Raises:
        StartError: One is taken, or not ours to take; or there is no place for a socket.
    """
    socket_path = Path(flags.grpc_socket_path or ".")
    if not socket_path.parent.is_dir():
        raise StartError(
            Code.UNKNOWN,
            f"there is no folder {socket_path.parent} for the socket of --grpc_socket_path. Make"
            " it, or choose another.",
        )
    for name in ("port", "rest_api_port"):
        if port := getattr(flags, name):
            bound_socket(name, port).close()


def bound_socket(flag: str, port: int) -> socket.socket:
    """Returns a socket on all addresses of this machine that does not listen yet.

    Args:
        flag: The flag that names the port, for the error message.
        port: The port.

    Raises:
        StartError: It is taken, or not ours to take.
    """
    for family, address in _ANY:
        try:
            return _bind(family, address, port)
        except OSError as error:
            if family is socket.AF_INET6 and error.errno not in (errno.EADDRINUSE, errno.EACCES):
                continue
            in_use = error.errno == errno.EADDRINUSE
            reason = "is in use" if in_use else f"cannot be used ({error.strerror or error})"
            raise StartError(
                Code.UNKNOWN, f"port {port} {reason}. Choose another with --{flag}."
            ) from error
    raise AssertionError("the last family either answers or is refused")


def _bind(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind((address, port))
    except OSError:
        bound.close()
        raise
    return bound
