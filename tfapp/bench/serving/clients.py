"""Clients that ask again as soon as they are answered, as fast as Python can.

What a request costs them is little: it is written whole, and of an answer only the status and the
length are read. Threads of gRPC's synchronous client with a channel each need the least time for
a request of all of its clients for Python, measured against a server that only echoes.
"""

from __future__ import annotations

import asyncio
import importlib.util
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tfapp.errors import TfappError
from tfapp.timing.slices import quantile

PREDICT = "/tensorflow.serving.PredictionService/Predict"
_END_OF_HEAD = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"


class WrongAnswer(TfappError):
    """A server did not answer as it should."""


@dataclass
class Outcome:
    """What a client saw.

    Attributes:
        latencies: Seconds to each answer that counts.
        seconds: Wall time in which they came.
        cores: Cores that the client kept busy.
        answers: All of them, those before the time counted included.
        firsts: The first answer of each connection, and which request it belongs to.
    """

    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cores: float = 0.0
    answers: int = 0
    firsts: list[tuple[int, bytes]] = field(default_factory=list)

    def quantile_ms(self, share: float) -> float:
        """Returns the time that so many answers stay below, in milliseconds."""
        return quantile(self.latencies, share) * 1e3


def http_request(port: int, path: str, body: bytes) -> bytes:
    """Returns a whole request by HTTP."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def ask_by_rest(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Outcome:
    """Asks by HTTP until so many seconds are over, then waits for the last answers.

    Time counts from when every connection has had an answer.

    Args:
        port: Of the server, on this machine.
        requests: Whole requests, asked in turn.
        connections: How many ask at a time.
        seconds: How long.

    Raises:
        WrongAnswer: An answer without status 200, or the server closed a connection.
        OSError: Nobody listens.
    """
    loop: Any = asyncio.new_event_loop
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop

        loop = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(_Rest(requests, seconds).run(port, connections))


class _Rest:
    """What the connections share: the requests, the clock, and what came of it."""

    def __init__(self, requests: Sequence[bytes], seconds: float) -> None:
        self._requests = requests
        self._seconds = seconds
        self._asked = self._open = 0
        self._started = self._cpu = 0.0
        self._over: asyncio.Future[None]
        self._outcome = Outcome()

    async def run(self, port: int, connections: int) -> Outcome:
        loop = asyncio.get_running_loop()
        self._over = loop.create_future()
        self._open = connections
        made: list[_Asking] = []
        try:
            for _ in range(connections):
                _, asking = await loop.create_connection(lambda: _Asking(self), "127.0.0.1", port)
                made.append(asking)
            for asking in made:
                asking.ask()
            await self._over
        finally:
            for asking in made:
                asking.abort()
        return self._outcome

    def next(self) -> tuple[int, bytes]:
        """Returns a request, and which it is."""
        number = self._asked % len(self._requests)
        self._asked += 1
        return number, self._requests[number]

    def answered(self, asked: float, first: tuple[int, bytes] | None) -> bool:
        """Notes an answer, and tells whether to ask once more."""
        now, outcome = time.perf_counter(), self._outcome
        outcome.answers += 1
        if first is not None:
            outcome.firsts.append(first)
            if len(outcome.firsts) == self._open:
                self._started, self._cpu = now, time.process_time()
            return True
        if not self._started:
            return True
        outcome.latencies.append(now - asked)
        if now - self._started < self._seconds:
            return True
        self._open -= 1
        if not self._open:
            outcome.seconds = now - self._started
            outcome.cores = (time.process_time() - self._cpu) / outcome.seconds
            self._over.set_result(None)
        return False

    def failed(self, reason: str) -> None:
        """Ends it all."""
        if not self._over.done():
            self._over.set_exception(WrongAnswer(reason))


class _Asking(asyncio.Protocol):
    """One connection."""

    def __init__(self, rest: _Rest) -> None:
        self._rest = rest
        self._transport: asyncio.Transport
        self._asked, self._number = 0.0, 0
        self._got = b""
        self._needed: int | None = None  # bytes of head and body, once the head is there
        self._body = 0
        self._is_new = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def ask(self) -> None:
        """Sends the next request."""
        self._number, request = self._rest.next()
        self._got, self._needed = b"", None
        self._asked = time.perf_counter()
        self._transport.write(request)

    def abort(self) -> None:
        """Closes it at once."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        got = self._got = self._got + data if self._got else data
        if self._needed is None and not self._read_head(got):
            return
        if self._needed is None or len(got) < self._needed:
            return
        first = (self._number, got[self._body :]) if self._is_new else None
        self._is_new = False
        if self._rest.answered(self._asked, first):
            self.ask()

    def connection_lost(self, error: Exception | None) -> None:
        self._rest.failed(f"it closed a connection{f': {error}' if error else ''}")

    def _read_head(self, got: bytes) -> bool:
        end = got.find(_END_OF_HEAD)
        if end < 0:
            return False
        head = got[:end].lower() + b"\r\n"
        at = head.find(_LENGTH)
        if head[9:12] != b"200" or at < 0:
            self._rest.failed(f"it answered {got[:300].decode(errors='replace')!r}")
            return False
        at += len(_LENGTH)
        self._body = end + len(_END_OF_HEAD)
        self._needed = self._body + int(head[at : head.index(b"\r", at)])
        return True


def ask_by_grpc(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Outcome:
    """Asks for predictions by gRPC; otherwise as `ask_by_rest`.

    Raises:
        WrongAnswer: The server answered with an error.
        OSError: Nobody listens.
    """
    import grpc

    channels = [grpc_channel(port) for _ in range(connections)]
    try:
        return _Grpc(
            [channel.unary_unary(PREDICT) for channel in channels], requests, seconds
        ).run()
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            raise ConnectionError(error.details()) from error
        raise WrongAnswer(f"it answered {error.code().name}: {error.details()}") from error
    finally:
        for channel in channels:
            channel.close()


def grpc_channel(port: int) -> Any:
    """Returns a channel of its own, for messages of any size."""
    import grpc

    options = {
        "grpc.use_local_subchannel_pool": 1,
        "grpc.max_send_message_length": -1,
        "grpc.max_receive_message_length": -1,
    }
    return grpc.insecure_channel(f"127.0.0.1:{port}", list(options.items()))


class _Grpc:
    """Threads that ask, a connection each."""

    def __init__(
        self, calls: Sequence[Callable[[bytes], bytes]], requests: Sequence[bytes], seconds: float
    ) -> None:
        self._calls = calls
        self._requests = requests
        self._seconds = seconds
        self._ready = threading.Barrier(len(calls), self._start)
        self._started = self._cpu = 0.0
        self._ended: list[float] = []
        self._raised: list[BaseException] = []
        self._outcome = Outcome()

    def run(self) -> Outcome:
        threads = [
            threading.Thread(target=self._ask, args=(number, call))
            for number, call in enumerate(self._calls)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._raised:
            raise self._raised[0]
        outcome = self._outcome
        outcome.seconds = max(self._ended) - self._started
        outcome.cores = (time.process_time() - self._cpu) / outcome.seconds
        outcome.answers = len(outcome.latencies) + len(outcome.firsts)
        return outcome

    def _start(self) -> None:
        self._started, self._cpu = time.perf_counter(), time.process_time()

    def _ask(self, number: int, call: Callable[[bytes], bytes]) -> None:
        number %= len(self._requests)
        request, note = self._requests[number], self._outcome.latencies.append
        try:
            self._outcome.firsts.append((number, call(request)))
            self._ready.wait()
            asked, end = time.perf_counter(), self._started + self._seconds
            while True:
                call(request)
                now = time.perf_counter()
                note(now - asked)
                if now >= end:
                    break
                asked = now
            self._ended.append(now)
        except threading.BrokenBarrierError:
            return  # another has said why
        except BaseException as error:
            self._raised.append(error)
            self._ready.abort()
