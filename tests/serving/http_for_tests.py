"""A server of HTTP for tests, and a client that says what it says byte by byte."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tfapp.serving.http1 import HttpAnswer, HttpLimits, HttpRequest, Reply
from tfapp.serving.http_server import HttpServer
from tfapp.serving.ports import bound_socket

LIMITS = HttpLimits(head_bytes=2000, body_bytes=1000, idle_seconds=30, grace_seconds=30)


class Echo:
    """Answers with what was asked; `/later` from another thread, when it is let go."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.asked: list[str] = []

    def answer(self, request: HttpRequest, reply: Reply) -> None:
        self.asked.append(request.path)
        text = f"{request.method} {request.path} {request.body.decode()}".strip()
        if request.path.startswith("/host"):
            text += f" {request.query.decode()} {request.headers[b'host'].decode()}"
        answer = HttpAnswer(200, text.encode(), ((b"content-type", b"text/plain"),))
        if request.path == "/broken":
            raise KeyError("unforeseen")
        if request.path == "/large":
            reply(HttpAnswer(200, b"x" * 1_000_000))
        elif request.path == "/later":
            loop = asyncio.get_running_loop()
            threading.Thread(target=self._later, args=(loop, reply, answer)).start()
        else:
            reply(answer)

    def _later(self, loop, reply: Reply, answer: HttpAnswer) -> None:
        assert self.go_on.wait(30)
        with suppress(RuntimeError):  # the server has ended
            loop.call_soon_threadsafe(reply, answer)

    def refuse(self, status: int, text: str) -> HttpAnswer:
        return HttpAnswer(status, text.encode())


class Client(socket.socket):
    """A socket that reads answers."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.settimeout(20)
        self.connect(("127.0.0.1", port))
        self.left = b""

    def ask(self, content: bytes) -> tuple[int, dict[str, str], bytes]:
        self.sendall(content)
        return self.read()

    def read(self, *, body: bool = True) -> tuple[int, dict[str, str], bytes]:
        while b"\r\n\r\n" not in self.left:
            self._more()
        head, _, self.left = self.left.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        size = int(headers.get("content-length", 0)) if body else 0
        while len(self.left) < size:
            self._more()
        content, self.left = self.left[:size], self.left[size:]
        return int(first.split(" ")[1]), headers, content

    def ends(self) -> bool:
        try:
            return self.left + self.recv(1000) == b""
        except ConnectionResetError:
            return True

    def _more(self) -> None:
        piece = self.recv(2**16)
        assert piece, f"the server closed after {self.left!r}"
        self.left += piece


@contextmanager
def serving(
    handler: Echo, limits: HttpLimits = LIMITS, tls: ssl.SSLContext | None = None
) -> Iterator[tuple[HttpServer, int]]:
    bound = bound_socket("rest_api_port", 0)
    server = HttpServer(handler, bound, limits=limits, tls=tls)
    server.start()
    try:
        yield server, bound.getsockname()[1]
    finally:
        handler.go_on.set()
        server.close(time.monotonic() + 5)


def request(path: str, *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: here", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def wait_until_refused(port):
    while True:
        try:
            Client(port).close()
        except OSError:
            return
        time.sleep(0.01)


@contextmanager
def ending(server, port, seconds=20.0):
    """Lets a server come to its end meanwhile, and waits for it."""
    closing = threading.Thread(target=server.close, args=(time.monotonic() + seconds,))
    closing.start()
    wait_until_refused(port)
    yield
    closing.join(seconds + 5)
    assert not closing.is_alive()
    assert not server.is_alive()


def settled(asked: list[str]) -> int:
    """Returns how many requests were begun, when no more are."""
    before = -1
    while len(asked) > before:
        before = len(asked)
        time.sleep(0.5)
    return before


def wait_for_end(server) -> None:
    end = time.monotonic() + 20
    while server.open_connections():
        assert time.monotonic() < end, "it is still open"
        time.sleep(0.05)
