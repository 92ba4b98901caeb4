"""What clients may do to the connections of REST with TLS."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
from http_for_tests import Client, Echo, ending, request, serving, settled, wait_for_end

from tfapp.serving.http1 import HttpLimits

CERTIFICATES = Path(__file__).parent / "certificates"


@pytest.fixture(scope="module")
def server_tls():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")
    return context


@pytest.fixture(scope="module")
def trust():
    return ssl.create_default_context(cafile=CERTIFICATES / "authority.pem")


class Encrypted:
    """A client that has shaken hands."""

    def __init__(self, port, trust):
        plain = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket = trust.wrap_socket(plain, server_hostname="localhost")
        self.sendall, self.recv, self.left = self.socket.sendall, self.socket.recv, b""

    ask, read, ends, _more = Client.ask, Client.read, Client.ends, Client._more

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


class Holding(Echo):
    """Keeps the event loop from everything else, so that clients wait at the listener."""

    def __init__(self):
        super().__init__()
        self.holds, self.let_go = threading.Event(), threading.Event()

    def answer(self, request, reply):
        if request.path == "/hold":
            self.holds.set()
            assert self.let_go.wait(30)
        super().answer(request, reply)


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b""], ids=["nonsense", "nothing"])
def test_the_end_does_not_fail_by_who_does_not_shake_hands(server_tls, trust, said):
    """Not even if it waits at the door before one who does."""
    echo, shaken = Holding(), []
    with serving(echo, tls=server_tls) as (server, port), Encrypted(port, trust) as owed:
        owed.sendall(request("/hold"))
        assert echo.holds.wait(20)
        stranger = Client(port)
        stranger.sendall(said)
        late = threading.Thread(target=lambda: shaken.append(Encrypted(port, trust)))
        late.start()
        time.sleep(0.2)  # until it has connected; it shakes hands later
        closing = threading.Thread(target=server.close, args=(time.monotonic() + 60,))
        closing.start()
        time.sleep(0.1)
        echo.let_go.set()
        late.join(20)
        with shaken[0] as client:
            assert client.ask(request("/x"))[2] == b"GET /x"
        assert owed.read()[2] == b"GET /hold"
        closing.join(40)
        assert not server.is_alive()
        stranger.close()


def test_a_handshake_may_not_take_long(server_tls):
    limits = HttpLimits(handshake_seconds=0.5)
    with serving(Echo(), limits, server_tls) as (_, port), Client(port) as silent:
        assert silent.ends()


def test_the_end_does_not_wait_for_clients_that_do_not_say_farewell(server_tls, trust):
    with serving(Echo(), tls=server_tls) as (server, port), Encrypted(port, trust) as idle:
        assert idle.ask(request("/x"))[0] == 200
        began = time.monotonic()
        with ending(server, port, 60):
            pass

        assert time.monotonic() - began < 25, "asyncio's own patience is 30 s"


def test_a_connection_may_be_looked_at_just_when_it_is_lost(server_tls, trust, monkeypatch, caplog):
    """Its transport has no socket for a turn of the loop: here it is looked at in each of them."""
    monkeypatch.setattr("tfapp.serving.http_server._LOOK_SECONDS", 0.0)
    echo = Echo()
    with serving(echo, tls=server_tls) as (server, port), Encrypted(port, trust) as owed:
        idle = [Encrypted(port, trust) for _ in range(10)]
        for client in idle:
            assert client.ask(request("/x"))[0] == 200
        owed.sendall(request("/later"))
        assert settled(echo.asked) == 11
        with ending(server, port):
            end = time.monotonic() + 20
            while server.open_connections() > 1:
                assert time.monotonic() < end
                time.sleep(0.05)
            echo.go_on.set()
            assert owed.read()[2] == b"GET /later"
        for client in idle:
            client.socket.close()
    assert not caplog.records


def test_who_does_not_shake_hands_counts_as_a_connection(server_tls, trust):
    limits = HttpLimits(connections=5, handshake_seconds=60)
    with serving(Echo(), limits, server_tls) as (server, port):
        silent = [Client(port) for _ in range(20)]
        for client in silent[5:]:
            assert client.ends()
        assert server.open_connections() == 5
        with pytest.raises(OSError):
            Encrypted(port, trust)
        silent[0].close()
        end = time.monotonic() + 20
        while server.open_connections() == 5:
            assert time.monotonic() < end
            time.sleep(0.05)
        with Encrypted(port, trust) as client:
            assert client.ask(request("/x"))[0] == 200
            assert client.ask(request("/large"))[2] == b"x" * 1_000_000
            assert server.open_connections() == 5
        for client in silent[1:]:
            client.close()


def test_requests_wait_while_their_answers_are_not_read(server_tls, trust):
    echo = Echo()
    with serving(echo, tls=server_tls) as (_, port), Encrypted(port, trust) as client:
        client.sendall(request("/large") * 100)

        assert settled(echo.asked) < 50
        for _ in range(100):
            assert client.read()[2] == b"x" * 1_000_000


def test_who_takes_nothing_is_dropped(server_tls, trust):
    limits = HttpLimits(idle_seconds=0.5, bytes_per_second=1000)
    with serving(Echo(), limits, server_tls) as (server, port), Encrypted(port, trust) as client:
        client.sendall(request("/large") * 100)
        assert client.recv(1)

        wait_for_end(server)
