"""What has come from a client and is not read yet."""

from __future__ import annotations

import socket
import sys

import pytest

from tfapp.serving.uptake import Uptake


class Transport:
    def __init__(self, connection: socket.socket | None) -> None:
        self._connection = connection

    def get_extra_info(self, name: str) -> socket.socket | None:
        assert name == "socket"
        return self._connection


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell")
def test_what_waits_to_be_read_is_counted():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        connection, _ = listener.accept()
    with client, connection:
        uptake = Uptake(Transport(connection))
        assert uptake.unread() == 0
        client.sendall(b"12345")
        assert connection.recv(5, socket.MSG_PEEK | socket.MSG_WAITALL) == b"12345"
        assert uptake.unread() == 5
        connection.recv(2)
        assert uptake.unread() == 3
    assert uptake.unread() == 0  # it is closed


def test_a_lost_connection_has_nothing_to_be_read():
    assert Uptake(Transport(None)).unread() == 0
