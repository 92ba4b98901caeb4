"""Clients who ask faster than they read, with real sockets."""

from __future__ import annotations

import socket
import time

from http_for_tests import Client, Echo, request, serving, settled, wait_for_end

from tfapp.serving.http1 import HttpLimits

LARGE = 1_000_000  # bytes of the answer to `/large`
REQUESTS = 100


def slow(client: Client) -> Client:
    """Lets the system keep little for it."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)
    return client


def test_requests_wait_while_their_answers_are_not_read():
    echo = Echo()
    with serving(echo) as (_, port), Client(port) as client:
        slow(client).sendall(request("/large") * REQUESTS)

        # What the system keeps on the way to a client may be several megabytes.
        assert settled(echo.asked) < REQUESTS / 2
        for _ in range(REQUESTS):
            assert client.read() == (200, {"content-length": str(LARGE)}, b"x" * LARGE)
        assert client.ask(request("/x"))[2] == b"GET /x"


def test_who_takes_nothing_is_dropped_however_much_waits():
    limits = HttpLimits(idle_seconds=0.5, bytes_per_second=1000)
    with serving(Echo(), limits) as (server, port), Client(port) as client:
        slow(client).sendall(request("/large") * REQUESTS)
        assert client.recv(1)

        wait_for_end(server)


def test_who_reads_slowly_is_kept():
    limits = HttpLimits(idle_seconds=3, bytes_per_second=1000)
    with serving(Echo(), limits) as (_, port), Client(port) as client:
        slow(client).sendall(request("/large") * 20)
        for _ in range(30):
            client.left += client.recv(2**15)
            time.sleep(0.2)

        for _ in range(20):
            assert client.read()[2] == b"x" * LARGE
