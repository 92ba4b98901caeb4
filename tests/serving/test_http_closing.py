"""The end of a server while clients are still sending."""

from __future__ import annotations

import threading
import time

from http_for_tests import Client, Echo, ending, request, serving

from tfapp.serving.http1 import HttpLimits
from tfapp.serving.http_connection import Connection

POST = request("/c", "Content-Length: 4", method="POST")
LONGER_THAN_IDLE = 1.0  # connections without a request are kept for half a second


def test_a_request_that_is_arriving_is_answered():
    with serving(Echo()) as (server, port), Client(port) as body, Client(port) as head:
        body.sendall(POST + b"ab")
        head.sendall(POST[:20])
        time.sleep(0.1)
        with ending(server, port):
            time.sleep(LONGER_THAN_IDLE)
            for client, rest in ((body, b"cd"), (head, POST[20:] + b"abcd")):
                status, headers, content = client.ask(rest)

                assert (status, content) == (200, b"POST /c abcd")
                assert headers["connection"] == "close"
                assert client.ends()


def test_requests_that_wait_for_one_another_are_answered():
    echo = Echo()
    with serving(echo) as (server, port), Client(port) as client:
        client.sendall(request("/later") + request("/b") + POST + b"ab")
        while "/later" not in echo.asked:
            time.sleep(0.01)
        with ending(server, port):
            echo.go_on.set()
            first, second = client.read(), client.read()
            last = client.ask(b"cd")

            assert [first[2], second[2], last[2]] == [b"GET /later", b"GET /b", b"POST /c abcd"]
            assert ["connection" in answer[1] for answer in (first, second, last)] == [0, 0, 1]
            assert client.ends()


def test_who_does_not_come_to_an_end_is_not_waited_for_longer_than_usual():
    limits = HttpLimits(grace_seconds=0.5)
    with serving(Echo(), limits) as (server, port), Client(port) as client:
        client.sendall(POST + b"ab")
        time.sleep(0.1)
        with ending(server, port, 60):
            assert client.read()[0] == 408
            assert client.ends()


def test_what_is_wrong_with_one_connection_does_not_end_the_others(monkeypatch, caplog):
    seen: list[Connection] = []
    as_ever = Connection.close_if_idle

    def fail_for_one(connection: Connection, seconds: float) -> None:
        seen.append(connection)
        if connection is seen[0]:
            raise LookupError("this one")
        as_ever(connection, seconds)

    monkeypatch.setattr(Connection, "close_if_idle", fail_for_one)
    echo = Echo()
    with serving(echo) as (server, port), Client(port) as owed, Client(port) as idle:
        assert idle.ask(request("/x"))[0] == 200
        owed.sendall(request("/later"))
        closing = threading.Thread(target=server.close, args=(time.monotonic() + 4,))
        closing.start()
        time.sleep(LONGER_THAN_IDLE)
        echo.go_on.set()
        assert owed.read()[2] == b"GET /later"
        closing.join(10)
        assert not server.is_alive()
    assert "LookupError: this one" in caplog.text
