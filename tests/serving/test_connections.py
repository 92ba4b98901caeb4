"""What clients may do to the connections of REST, with real sockets."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from tfapp.serving.http1 import HttpAnswer, HttpLimits
from tfapp.serving.http_server import HttpServer
from tfapp.serving.json_answers import error_json
from tfapp.serving.ports import bound_socket

LIMITS = HttpLimits(
    grace_seconds=0.5,
    bytes_per_second=1000,
    head_bytes=20_000,
    connections=20,
)


class Lengths:
    """Answers with the length of the body, or with as many bytes as the path says."""

    def answer(self, request, reply):
        digits = request.path.removeprefix("/")
        body = b"x" * int(digits) if digits else str(len(request.body)).encode()
        reply(HttpAnswer(200, body))

    def refuse(self, status, text):
        return HttpAnswer(status, error_json(text))


@contextmanager
def listening(limits):
    bound = bound_socket("rest_api_port", 0)
    server = HttpServer(Lengths(), bound, limits=limits)
    server.start()
    yield bound.getsockname()[1]
    server.close(time.monotonic() + 5)


@pytest.fixture(scope="module")
def port():
    with listening(LIMITS) as port:
        yield port


@contextmanager
def connected(port):
    with socket.create_connection(("localhost", port), timeout=10) as client:
        yield client


def everything(client):
    """Returns what a server sends until it closes the connection."""
    pieces = []
    while piece := client.recv(2**16):
        pieces.append(piece)
    return b"".join(pieces)


def parsed(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower().split(b"\r\n")
    return int(head.split()[1]), json.loads(body)["error"]


def ask(port, body=b"abc"):
    client = http.client.HTTPConnection("localhost", port, timeout=10)
    client.request("POST", "/", body)
    answer = client.getresponse()
    assert (answer.status, answer.read()) == (200, str(len(body)).encode())
    client.close()


def drip(client, content, end):
    """Sends a byte at a time until the server has closed, and returns what it said."""
    client.settimeout(0.05)
    for byte in content:
        assert time.monotonic() < end, "nobody ended it"
        try:
            client.sendall(bytes((byte,)))
            if answer := client.recv(2**16):
                client.settimeout(10)
                return answer + everything(client)
        except TimeoutError:
            continue
    raise AssertionError("the content came to its end")


@pytest.mark.parametrize(
    ("sent", "dripped", "part"),
    [
        (b"", b"POST / HTTP/1.1\r\nx-a: " + b"a" * 500, "head"),
        (b"POST / HTTP/1.1\r\ncontent-length: 900\r\n\r\n", b"a" * 500, "body"),
        (
            b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n",
            b"1\r\na\r\n" * 100,
            "body",
        ),
    ],
    ids=["head", "body", "chunks"],
)
def test_a_request_that_comes_a_byte_at_a_time_is_ended(port, sent, dripped, part):
    started = time.monotonic()
    with connected(port) as client:
        client.sendall(sent)
        status, text = parsed(drip(client, dripped, started + 8))
    assert (status, text) == (408, f"The {part} of the request took too long to arrive.")
    assert time.monotonic() - started > LIMITS.grace_seconds
    ask(port)


def test_a_large_body_may_take_as_long_as_its_bytes_allow(port):
    body = b"a" * 10_000  # ten seconds at the slowest
    with connected(port) as client:
        client.sendall(b"POST / HTTP/1.1\r\ncontent-length: 10000\r\nconnection: close\r\n\r\n")
        client.sendall(body[:5000])
        time.sleep(3.0)  # longer than half a second, and a look a second
        client.sendall(body[5000:])
        assert everything(client).endswith(b"\r\n\r\n10000")


def test_who_does_not_read_the_answer_is_ended(port):
    limits = HttpLimits(idle_seconds=0.5, bytes_per_second=10**9)
    with listening(limits) as hurried, connected(hurried) as client:
        # Much more than the system keeps on its way.
        client.sendall(b"GET /90000000 HTTP/1.1\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")
        time.sleep(4)
        assert len(everything(client)) < 90_000_000, "what the system had already"
        ask(hurried)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /" + b"a" * 10**6,
        b"GET / HTTP/1.1\r\nx-a: " + b"a" * 10**6,
        b"GET / HTTP/1.1\r\n" + b"x-a: a\r\n" * 10**6,
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
        + b"1\r\na\r\n0\r\n"
        + b"x: a\r\n" * 10**6,
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"x=a;" * 10**6,
    ],
    ids=["path", "header", "headers", "trailers", "chunk-extension"],
)
def test_a_head_without_an_end_is_refused(port, sent):
    with connected(port) as client:
        client.sendall(sent)
        assert parsed(everything(client))[0] == 431
    ask(port)


LONG = b"x-a: " + b"a" * 21_000 + b"\r\n"
BODY = b"a" * 100_000
LENGTH = b"content-length: 100000\r\nconnection: close\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        [b"GET / HTTP/1.1\r\n" + LONG + b"\r\n"],
        [b"GET /" + b"0" * 21_000 + b" HTTP/1.1\r\n\r\n"],
        [b"POST / HTTP/1.1\r\n" + LENGTH + LONG + b"\r\n" + BODY],
        [b"GET / HTTP/1.1\r\n" + b"x-a: a\r\n" * 2700 + b"\r\n"],
        [b"GET / HTTP/1.1\r\nx-a: " + b"a" * 15_000, b"a" * 6000 + b"\r\n\r\n"],
        [b"POST / HTTP/1.1\r\nx-b: b\r\nx-a: " + b"a" * 15_000, LONG[5:] + LENGTH + b"\r\n" + BODY],
    ],
    ids=["header", "target", "with-body", "headers", "pieces", "pieces-with-body"],
)
def test_a_head_that_is_too_large_is_refused_also_when_it_is_whole(port, sent):
    with connected(port) as client:
        for piece in sent:
            client.sendall(piece)
            time.sleep(0.1)
        assert parsed(everything(client)) == (
            431,
            "The head of the request has more than 20000 bytes.",
        )


def test_of_requests_that_come_at_once_each_head_is_looked_at(port):
    good = b"GET / HTTP/1.1\r\nx-a: " + b"a" * 15_000 + b"\r\n\r\n"
    with connected(port) as client:
        client.sendall(good * 4 + b"GET / HTTP/1.1\r\n" + LONG + b"\r\n")
        answers = everything(client)
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 4
    assert answers.count(b"HTTP/1.1 431 ") == 1


@pytest.mark.parametrize("pieces", [1, 2])
def test_a_large_body_does_not_count_as_head(port, pieces):
    head = b"POST / HTTP/1.1\r\n" + LENGTH + b"x-a: " + b"a" * 15_000 + b"\r\n\r\n"
    at = len(head) // 2
    with connected(port) as client:
        for piece in [head + BODY] if pieces == 1 else [head[:at], head[at:] + BODY]:
            client.sendall(piece)
            time.sleep(0.1)
        assert everything(client).endswith(b"\r\n\r\n100000")


def test_a_head_of_the_allowed_size_is_read(port):
    with connected(port) as client:
        client.sendall(b"GET / HTTP/1.1\r\nx-a: " + b"a" * 10_000)
        time.sleep(0.1)
        client.sendall(b"a" * 9000 + b"\r\nconnection: close\r\n\r\n")
        assert everything(client).startswith(b"HTTP/1.1 200 OK\r\n")


def test_connections_too_many_are_refused_and_room_is_made_again(port):
    clients = [socket.create_connection(("localhost", port), timeout=10) for _ in range(20)]
    for client in clients:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert client.recv(2**16).startswith(b"HTTP/1.1 200 OK\r\n")
    with connected(port) as client:
        assert parsed(everything(client)) == (503, "There are too many connections.")
    for client in clients:
        client.close()
    time.sleep(0.2)
    ask(port)


def test_a_connection_in_use_is_never_ended(port):
    """Also with a request at every moment the server looks."""
    client = http.client.HTTPConnection("localhost", port, timeout=10)
    end = time.monotonic() + 3.5
    socket_used = None
    while time.monotonic() < end:
        client.request("POST", "/", b"abc")
        assert client.getresponse().read() == b"3"
        socket_used = socket_used or client.sock
        assert client.sock is socket_used
        time.sleep(0.005)
    client.close()


H2C = "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAA\r\n"
SOCKET = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: AAAA\r\n"


@pytest.mark.parametrize("offer", [H2C, SOCKET], ids=["h2c", "websocket"])
@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize(
    ("method", "rest", "length"),
    [
        ("GET", "\r\n", 0),
        ("POST", "content-length: 5\r\n\r\nabcde", 5),
        ("POST", "transfer-encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", 5),
    ],
    ids=["none", "length", "chunks"],
)
def test_an_offer_of_another_protocol_is_passed_over(port, offer, pieces, method, rest, length):
    request = f"{method} / HTTP/1.1\r\nhost: a\r\n{offer}{rest}".encode()
    size = -(-len(request) // pieces)
    with connected(port) as client:
        for _ in range(2):  # the connection is kept
            for start in range(0, len(request), size):
                client.sendall(request[start : start + size])
                time.sleep(0.02)
            answer = b""
            while not answer.endswith(b"\r\n\r\n%d" % length):
                answer += (piece := client.recv(2**16))
                assert piece, answer
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


def test_slow_clients_do_not_keep_others_waiting(port):
    ended = []

    def slow():
        with connected(port) as client:
            ended.append(parsed(drip(client, b"POST / HTTP/1.1\r\n" + b"a" * 500, 10**9))[0])

    threads = [threading.Thread(target=slow) for _ in range(10)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        ask(port)
    for thread in threads:
        thread.join(20)
    assert ended == [408] * 10


def test_the_limits_leave_room_for_files():
    resource = pytest.importorskip("resource")
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert 0 < HttpLimits().connections <= 10_000
    assert HttpLimits().connections < files
