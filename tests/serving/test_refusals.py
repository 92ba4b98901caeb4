"""Refusals reach clients that are still sending, with real sockets."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from pathlib import Path

import pytest
from http_for_tests import Client, Echo, ending, request, serving

from tfapp.serving.http1 import HttpLimits

CERTIFICATES = Path(__file__).parent / "certificates"
LARGE = 30_000_000  # bytes: more than the system takes from a client that nobody listens to


def posted(connection, size):
    """Sends a body whole before it looks for an answer, as most clients do."""
    connection.request("POST", "/x", b"x" * size)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, text.split(b".")[0]


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
def test_who_sends_too_much_is_told(encrypted):
    tls = trust = None
    if encrypted:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")
        trust = ssl.create_default_context(cafile=CERTIFICATES / "authority.pem")
    with serving(Echo(), HttpLimits(body_bytes=1000), tls) as (_, port):
        for _ in range(3):
            if trust:
                connection = http.client.HTTPSConnection(
                    "localhost", port, timeout=20, context=trust
                )
            else:
                connection = http.client.HTTPConnection("localhost", port, timeout=20)
            assert posted(connection, LARGE) == (413, b"The body has more than 1000 bytes")


def test_who_is_one_too_many_is_told():
    with serving(Echo(), HttpLimits(connections=1)) as (_, port), Client(port) as first:
        assert first.ask(request("/x"))[0] == 200
        for _ in range(50):
            connection = http.client.HTTPConnection("localhost", port, timeout=20)
            assert posted(connection, 2000) == (503, b"There are too many connections")
        assert first.ask(request("/x"))[0] == 200


def test_few_refused_connections_are_kept_and_not_for_long():
    limits = HttpLimits(connections=1, lingering=2)
    with serving(Echo(), limits) as (server, port), Client(port) as first:
        assert first.ask(request("/x"))[0] == 200
        others = [Client(port) for _ in range(10)]
        for other in others:
            assert other.read()[0] == 503
            assert other.ends()
        assert server.open_connections() <= 3
        end = time.monotonic() + 20
        while server.open_connections() > 1:
            assert time.monotonic() < end, "they are still there"
            time.sleep(0.05)
        assert first.ask(request("/x"))[0] == 200
        for other in others:
            other.close()


def test_who_goes_on_sending_is_cut_off():
    with serving(Echo(), HttpLimits(body_bytes=1000)) as (_, port), Client(port) as client:
        client.sendall(request("/x", "Content-Length: 9999999999", method="POST"))
        end = time.monotonic() + 60
        with pytest.raises(OSError):
            while time.monotonic() < end:
                client.sendall(b"x" * 2**20)


def test_who_sends_the_next_request_into_the_end_is_not_cut_off():
    echo = Echo()
    with serving(echo) as (server, port), Client(port) as client:
        client.sendall(request("/later"))
        while "/later" not in echo.asked:
            time.sleep(0.01)
        with ending(server, port):
            echo.go_on.set()
            assert client.read()[2] == b"GET /later"
            client.sendall(request("/x", method="POST", body=b"x" * LARGE))
            assert client.recv(1) == b"", "it has ended, and the client was told so"


def test_who_has_sent_all_is_not_waited_for():
    echo = Echo()
    with serving(echo) as (server, port), Client(port) as client:
        client.sendall(request("/later") + b"nonsense\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        while "/later" not in echo.asked:
            time.sleep(0.01)
        time.sleep(0.1)
        echo.go_on.set()
        assert client.read()[2] == b"GET /later"
        assert client.recv(1) == b""
        assert not server._connections.lingering
