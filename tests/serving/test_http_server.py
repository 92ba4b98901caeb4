"""HTTP/1.1 over real sockets: what is written byte by byte here is what clients send."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from http_for_tests import Client, Echo, request, serving

from tfapp.serving.http1 import HttpLimits


@pytest.fixture(scope="module")
def echo() -> Echo:
    return Echo()


@pytest.fixture(scope="module")
def port(echo) -> Iterator[int]:
    with serving(echo) as (_, port):
        yield port


@pytest.fixture
def client(port) -> Iterator[Client]:
    with Client(port) as client:
        yield client


def test_a_connection_is_kept_and_the_query_left_out(client):
    for number in range(3):
        status, headers, body = client.ask(request(f"/a/{number}?q=1"))

        assert (status, body) == (200, f"GET /a/{number}".encode())
        assert headers == {"content-type": "text/plain", "content-length": str(len(body))}


def test_requests_that_are_sent_at_once_are_answered_in_their_order(client, echo):
    echo.go_on.clear()
    client.sendall(request("/later") + request("/b", method="POST", body=b"x") + request("/c"))
    time.sleep(0.2)
    assert echo.asked[-1] == "/later", "the next one waits for the answer before it"
    echo.go_on.set()

    assert [client.read()[2] for _ in range(3)] == [b"GET /later", b"POST /b x", b"GET /c"]
    assert client.ask(request("/d"))[2] == b"GET /d"


def test_a_request_may_come_byte_by_byte_and_in_chunks(client):
    content = request("/slow", "Transfer-Encoding: chunked", method="POST")
    for byte in content + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n":
        client.sendall(bytes([byte]))

    assert client.read()[2] == b"POST /slow abcde"


def test_what_comes_after_a_body_says_nothing_of_it(client):
    content = request("/host", "Transfer-Encoding: chunked", method="POST")

    assert client.ask(content + b"1\r\na\r\n0\r\nHost: there\r\n\r\n")[2].endswith(b" here")


@pytest.mark.parametrize(
    ("content", "kept", "header"),
    [
        (request("/x", "Connection: close"), False, "close"),
        (b"GET /x HTTP/1.0\r\n\r\n", False, "close"),
        (b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True, "keep-alive"),
    ],
    ids=["close", "old", "old-kept"],
)
def test_the_client_says_whether_the_connection_is_kept(client, content, kept, header):
    status, headers, _ = client.ask(content)

    assert (status, headers["connection"]) == (200, header)
    if kept:
        assert client.ask(content)[0] == 200
    else:
        assert client.ends()


@pytest.mark.parametrize(
    ("target", "seen"),
    [
        ("http://there:80/host/x?q=1", "GET /host/x q=1 there:80"),
        ("HTTPS://me@there/host?q=/", "GET /host q=/ there"),
        ("/host?u=http://there/", "GET /host u=http://there/ here"),
        ("http://there", "GET /"),
        ("http://there?q=1", "GET /"),
        ("ftp://there/x", "GET ftp://there/x"),
    ],
)
def test_a_target_may_have_a_scheme_and_a_host(client, target, seen):
    assert client.ask(request(target))[::2] == (200, seen.encode())


def test_options_may_ask_for_the_server_itself(client):
    assert client.ask(request("*", method="OPTIONS"))[2] == b"OPTIONS *"


def test_head_has_no_body(client):
    client.sendall(request("/x", method="HEAD"))

    status, headers, _ = client.read(body=False)

    assert (status, headers["content-length"]) == (200, str(len("HEAD /x")))
    assert client.ask(request("/next"))[2] == b"GET /next"


def test_a_client_that_asks_first_is_told_to_go_on(client):
    client.sendall(request("/x", "Expect: 100-continue", "Content-Length: 2", method="POST"))
    assert client.read(body=False)[0] == 100

    assert client.ask(b"ab")[2] == b"POST /x ab"


def test_another_protocol_is_not_taken_up_and_the_request_is_answered(client):
    h2c = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ")

    assert client.ask(request("/x", *h2c, method="POST", body=b"ab"))[2] == b"POST /x ab"
    assert client.ask(request("/x", *h2c) + request("/y"))[2] == b"GET /x"
    assert client.read()[2] == b"GET /y"
    assert client.ask(request("here:80", method="CONNECT"))[0] == 400


def test_offers_of_another_protocol_may_be_many(client):
    """Some of them with a body, and more than would fit into nested calls."""
    offer = ("Connection: Upgrade", "Upgrade: h2c")
    pair = request("/x", *offer) + request("/y", *offer, method="POST", body=b"ab")
    client.sendall(pair * 3000)

    for _ in range(3000):
        assert client.read()[2] == b"GET /x"
        assert client.read()[2] == b"POST /y ab"
    assert client.ask(request("/z"))[2] == b"GET /z"


@pytest.mark.parametrize(
    "end", [b"nonsense\r\n\r\n", request("here:80", method="CONNECT")], ids=["words", "connect"]
)
def test_after_offers_of_another_protocol_nonsense_is_refused(client, end):
    client.sendall(request("/x", "Connection: Upgrade", "Upgrade: h2c") * 3 + end)

    assert [client.read()[0] for _ in range(4)] == [200, 200, 200, 400]
    assert client.ends()


def test_a_large_answer_arrives_whole(client):
    assert client.ask(request("/large"))[2] == b"x" * 1_000_000


def test_what_the_handler_did_not_foresee_is_500(client):
    assert client.ask(request("/broken"))[0] == 500
    assert client.ask(request("/x"))[0] == 200


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (request("/x", "Content-Length: 5", "Transfer-Encoding: chunked", method="POST"), 400),
        (request("/x", "Content-Length: 1", "Content-Length: 2", method="POST"), 400),
        (request("/x", "Content-Length: -1", method="POST"), 400),
        (request("/x", "Content-Length: 1001", method="POST"), 413),
        (
            request("/x", "Transfer-Encoding: chunked", method="POST")
            + b"258\r\n" + b"x" * 600 + b"\r\n258\r\n" + b"x" * 600,
            413,
        ),
        (request("/x", *(f"h{i}: {'v' * 50}" for i in range(50)))[:-4], 431),
        (b"GET /" + b"x" * 3000, 431),
    ],
    ids=["words", "two-lengths", "lengths", "negative", "length", "chunks", "headers", "target"],
)  # fmt: skip
def test_what_is_no_request_or_too_large_is_refused_and_closed(client, echo, content, status):
    before = len(echo.asked)

    found, headers, text = client.ask(content)

    assert (found, headers["connection"]) == (status, "close")
    assert text
    assert client.ends()
    assert len(echo.asked) == before


def test_answers_that_are_owed_come_before_a_refusal_closes(client, echo):
    echo.go_on.clear()
    client.sendall(request("/later") + request("/b") + b"nonsense\r\n\r\n")
    time.sleep(0.1)
    echo.go_on.set()

    assert [client.read()[2] for _ in range(2)] == [b"GET /later", b"GET /b"]
    assert client.ends()


def test_who_has_sent_all_still_gets_the_answer(client, echo):
    echo.go_on.clear()
    client.sendall(request("/later"))
    client.shutdown(socket.SHUT_WR)
    time.sleep(0.1)
    echo.go_on.set()

    assert client.read()[2] == b"GET /later"
    assert client.ends()


def test_who_leaves_before_the_answer_harms_nobody(port, echo):
    echo.go_on.clear()
    with Client(port) as gone:
        gone.sendall(request("/later"))
        time.sleep(0.1)
    echo.go_on.set()

    with Client(port) as client:
        assert client.ask(request("/x"))[0] == 200


def test_slow_clients_are_ended_and_others_are_not():
    limits = HttpLimits(idle_seconds=60, grace_seconds=0.5, bytes_per_second=1000)
    with serving(Echo(), limits) as (_, port):
        head, body = Client(port), Client(port)
        head.sendall(b"GET / HTTP/1.1\r\nHost: ")
        body.sendall(request("/x", "Content-Length: 900", method="POST"))
        for slow in (head, body):
            assert slow.read()[0] == 408
            assert slow.ends()
        with Client(port) as fast:
            assert fast.ask(request("/x"))[0] == 200


def test_connections_without_requests_are_closed_after_a_while():
    with serving(Echo(), HttpLimits(idle_seconds=0.3)) as (_, port):
        new, used = Client(port), Client(port)
        assert used.ask(request("/x"))[0] == 200

        assert used.ends()
        assert new.ends()


def test_a_client_that_does_not_read_is_dropped():
    limits = HttpLimits(idle_seconds=0.2, bytes_per_second=10**9)
    with serving(Echo(), limits) as (server, port), Client(port) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(request("/large") * 20)
        end = time.monotonic() + 20
        while server.open_connections():
            assert time.monotonic() < end
            time.sleep(0.05)


def test_one_connection_too_many_is_refused():
    with serving(Echo(), HttpLimits(connections=1)) as (_, port), Client(port) as first:
        assert first.ask(request("/x"))[0] == 200
        with Client(port) as second:
            assert second.read()[0] == 503
            assert second.ends()
        assert first.ask(request("/x"))[0] == 200


def test_the_end_waits_for_answers_and_takes_what_is_on_its_way():
    echo = Echo()
    with serving(echo) as (server, port):
        busy, idle, silent = Client(port), Client(port), Client(port)
        assert idle.ask(request("/x"))[0] == 200
        busy.sendall(request("/later"))
        while "/later" not in echo.asked:
            time.sleep(0.01)
        closing = threading.Thread(target=server.close, args=(time.monotonic() + 20,))
        closing.start()
        time.sleep(0.2)

        status, headers, _ = idle.ask(request("/last"))
        assert (status, headers["connection"]) == (200, "close")
        with pytest.raises(OSError):
            Client(port)
        assert silent.ends()
        assert closing.is_alive()
        echo.go_on.set()
        status, headers, body = busy.read()

        assert (status, headers["connection"], body) == (200, "close", b"GET /later")
        closing.join(5)
        assert not closing.is_alive()
        assert not server.is_alive()


def test_the_end_does_not_wait_longer_than_it_may():
    with serving(Echo()) as (server, port), Client(port) as client:
        client.sendall(request("/later"))
        time.sleep(0.1)
        began = time.monotonic()
        server.close(began + 1)

        assert time.monotonic() - began < 3
        assert not server.is_alive()
