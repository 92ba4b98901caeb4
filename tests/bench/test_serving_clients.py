"""The clients, asked to ask small servers of this process."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest

from tfapp.bench.serving.base import free_port
from tfapp.bench.serving.clients import WrongAnswer, ask_by_grpc, ask_by_rest, http_request
from tfapp.bench.serving.servers.grpc_echo import Echo

GOOD = b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: %d\r\n\r\n%s"


class Tiny:
    """A server by HTTP that answers a body with what it is told; it knows who asked when."""

    def __init__(self, reply, pieces=1):
        self.reply, self.pieces, self.slow = reply, pieces, 0.0
        self.connections = self.waiting = self.most_waiting = 0
        self.bodies = []

    async def handle(self, reader, writer):
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.split(b"Content-Length: ")[1].split(b"\r")[0])
                body = await reader.readexactly(length)
                self.bodies.append(body)
                self.waiting += 1
                self.most_waiting = max(self.most_waiting, self.waiting)
                await asyncio.sleep(self.slow if body == b"slow" else 0.002)
                self.waiting -= 1
                answer = self.reply(body)
                if answer is None:
                    break
                await self.send(writer, answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()

    async def send(self, writer, answer):
        size = -(-len(answer) // self.pieces)
        for start in range(0, len(answer), size):
            writer.write(answer[start : start + size])
            await writer.drain()
            await asyncio.sleep(0)

    @contextmanager
    def running(self) -> Iterator[int]:
        loop = asyncio.new_event_loop()
        server = loop.run_until_complete(asyncio.start_server(self.handle, "127.0.0.1", 0))
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            loop.call_soon_threadsafe(server.close)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()


def same(body):
    return GOOD % (len(body), body)


def ask(tiny, bodies=(b"a",), connections=1, seconds=0.1):
    with tiny.running() as port:
        requests = [http_request(port, "/ask", body) for body in bodies]
        return ask_by_rest(port, requests, connections, seconds)


@pytest.mark.parametrize("connections", [1, 4])
def test_every_connection_asks_again_once_it_has_its_answer(connections):
    tiny = Tiny(same)
    outcome = ask(tiny, connections=connections, seconds=0.2)
    assert tiny.connections == tiny.most_waiting == connections
    assert outcome.answers == len(tiny.bodies)
    # Each connection's first answer comes before the time that counts.
    assert len(outcome.firsts) == connections
    assert connections <= len(outcome.latencies) <= outcome.answers - connections
    assert 0.2 <= outcome.seconds < 2
    assert min(outcome.latencies) >= 0.002  # it sleeps for so long
    assert outcome.seconds >= sum(outcome.latencies) / connections * 0.8
    assert outcome.quantile_ms(0) == min(outcome.latencies) * 1e3
    assert 0 < outcome.cores < 2.5


def test_without_time_every_connection_asks_twice_at_least():
    outcome = ask(Tiny(same), connections=3, seconds=0.0)
    assert len(outcome.firsts) == 3
    assert len(outcome.latencies) >= 3


def test_time_counts_once_all_have_been_answered():
    tiny = Tiny(same)
    tiny.slow = 0.3
    outcome = ask(tiny, bodies=[b"slow", *[b"fast"] * 5000], connections=2, seconds=0.05)
    before = outcome.answers - len(outcome.latencies)
    assert before > 10, "the other one went on meanwhile"
    assert max(outcome.latencies) < 0.3
    assert 0.05 <= outcome.seconds < 0.3


def test_requests_are_asked_in_turn():
    tiny = Tiny(same)
    outcome = ask(tiny, bodies=[b"first", b"second", b"third"], connections=2)
    assert set(outcome.firsts) == {(0, b"first"), (1, b"second")}
    seen = [tiny.bodies.count(body) for body in (b"first", b"second", b"third")]
    assert max(seen) - min(seen) <= 1


def test_an_answer_may_come_in_pieces():
    long = bytes(range(32, 127)) * 4000
    outcome = ask(Tiny(same, pieces=9), bodies=[long])
    assert outcome.firsts == [(0, long)]
    lower = Tiny(lambda body: same(body).replace(b"Content-Length", b"content-length"), pieces=60)
    assert ask(lower).firsts == [(0, b"a")]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (lambda body: b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone", "404 Not Found"),
        (lambda body: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "chunked"),
        (lambda body: None, "it closed a connection"),
    ],
    ids=["status", "no length", "closed"],
)
def test_what_is_no_answer_ends_it(reply, said):
    with pytest.raises(WrongAnswer, match=said):
        ask(Tiny(reply), connections=2)


def test_nobody_listens():
    with pytest.raises(OSError, match="refused"):
        ask_by_rest(free_port(), [b"GET"], 2, 0.1)
    with pytest.raises(OSError, match="refused"):
        ask_by_grpc(free_port(), [b"a"], 2, 0.1)


@contextmanager
def grpc_server(handler) -> Iterator[int]:
    server = grpc.server(ThreadPoolExecutor(8), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


def test_threads_ask_by_grpc():
    with grpc_server(Echo()) as port:
        outcome = ask_by_grpc(port, [b"\x00first", b"\x00second"], 4, 0.2)
    assert sorted(outcome.firsts) == [(0, b"\x00first")] * 2 + [(1, b"\x00second")] * 2
    assert outcome.answers == 4 + len(outcome.latencies)
    assert len(outcome.latencies) >= 4
    assert 0.2 <= outcome.seconds < 2
    assert outcome.seconds >= sum(outcome.latencies) / 4 * 0.8


class Refusing(Echo):
    """Answers some requests only."""

    def __init__(self, good):
        self.left = good

    def service(self, details):
        def refuse(request, context):
            self.left -= 1
            if self.left < 0:
                context.abort(grpc.StatusCode.NOT_FOUND, "no such model")
            return request

        return grpc.unary_unary_rpc_method_handler(refuse)


@pytest.mark.parametrize("good", [0, 3, 20])
def test_an_error_by_grpc_ends_it(good):
    started = time.monotonic()
    with grpc_server(Refusing(good)) as port, pytest.raises(WrongAnswer) as raised:
        ask_by_grpc(port, [b"a"], 4, 0.3)
    assert str(raised.value) == "it answered NOT_FOUND: no such model"
    assert time.monotonic() - started < 10


def test_a_free_port_is_free_and_never_given_to_clients():
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        assert 10_000 <= port < 61_000
