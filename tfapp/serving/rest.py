"""The REST interface as an ASGI application: HTTP around `rest_requests`."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tfapp.serving.json_answers import error_json
from tfapp.serving.json_dialect import invalid
from tfapp.serving.pages import PATHS, ServedModels, page
from tfapp.serving.rest_requests import Route, answer, inflate, parse_route
from tfapp.serving.status import Code, ServingError

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

# Source: `ToHTTPStatusCode` of TensorFlow Serving; the others are 500.
_HTTP = {
    Code.OK: 200, Code.INVALID_ARGUMENT: 400, Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400, Code.UNAUTHENTICATED: 401, Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404, Code.ALREADY_EXISTS: 409, Code.ABORTED: 409, Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499, Code.UNIMPLEMENTED: 501, Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}  # fmt: skip
_TOO_LARGE = 413
_JSON = (b"content-type", b"application/json")
_CORS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"POST, GET"),
    (b"access-control-allow-headers", b"Content-Type"),
)

# What takes so little is done at once: the hand-over to a thread would cost as much.
_SHORT_SECONDS = 0.001
_SHORT_BYTES = 2**16
# So long a short one may take among busy threads. A longer one waits for something.
_CROWDED_SECONDS = 0.02


@dataclass(frozen=True)
class RestOptions:
    """How requests by REST are answered.

    Attributes:
        timeout_ms: How long a request may take, in milliseconds, once its body has arrived.
        cors: Whether pages of any site may ask.
        body_limit: Bytes of the largest body; None for any.
        threads: How many requests compute at a time.
        check_method: Refuse signatures that do not say that they are for what is asked.
    """

    timeout_ms: int = 30_000
    cors: bool = False
    body_limit: int | None = None
    threads: int = field(default_factory=lambda: 4 * (os.cpu_count() or 1))
    check_method: bool = False


def rest_app(models: ServedModels, *, options: RestOptions | None = None) -> App:
    """Makes the application that answers as TensorFlow Serving's REST interface.

    Besides `/v1/` it has `/models`, `/healthz` and `/readyz`. Bodies may have the key
    `output_filter`, a list of the outputs to compute.

    Args:
        models: Who keeps the models.
        options: How to answer.
    """
    return _RestApp(models, options or RestOptions())


@dataclass(frozen=True)
class _Answer:
    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = (_JSON,)


class _TooLarge(Exception):
    """The body is larger than the options allow."""


class _Disconnected(Exception):
    """Nobody waits for the answer any more."""


class _RestApp:
    def __init__(self, models: ServedModels, options: RestOptions) -> None:
        self._models = models
        self._options = options
        self._threads = ThreadPoolExecutor(options.threads, thread_name_prefix="tfapp-rest")
        self._seconds: dict[Route, float] = {}  # a request took lately, at most

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._handle(scope, receive, send)
        else:
            raise NotImplementedError(f"ASGI scope {scope['type']!r}")

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            kind = (await receive())["type"]
            if kind == "lifespan.shutdown":
                self._threads.shutdown(wait=False)
            await send({"type": f"{kind}.complete"})
            if kind == "lifespan.shutdown":
                return

    async def _handle(self, scope: Message, receive: Receive, send: Send) -> None:
        path = _path(scope)
        try:
            if path[:4].lower() == "/v1/":
                result = await self._api(scope["method"], path, _headers(scope), receive)
            elif path in PATHS and scope["method"] in ("GET", "HEAD"):
                result = _Answer(*page(path, self._models))
            else:
                result = _Answer(404, b"Not Found\n", ((b"content-type", b"text/plain"),))
        except _Disconnected:
            return
        length = (b"content-length", str(len(result.body)).encode())
        await send(
            {
                "type": "http.response.start",
                "status": result.status,
                "headers": [*result.headers, length],
            }
        )
        await send({"type": "http.response.body", "body": result.body})

    async def _api(
        self, method: str, path: str, headers: dict[bytes, bytes], receive: Receive
    ) -> _Answer:
        extra = _CORS if self._options.cors else ()
        try:
            body = await self._body(receive)
            if method == "OPTIONS":
                return _Answer(200, _preflight(headers), (_JSON, *extra))
            route = parse_route(method, path)
            zipped = b"gzip" in headers.get(b"content-encoding", b"").lower()
            return _Answer(200, await self._answer(route, body, zipped), (_JSON, *extra))
        except ServingError as error:
            return _Answer(_HTTP.get(error.code, 500), error_json(str(error)), (_JSON, *extra))
        except _TooLarge:
            text = f"The body has more than {self._options.body_limit} bytes."
            # What is still on its way is not read, so nothing else can come by this connection.
            close = (b"connection", b"close")
            return _Answer(_TOO_LARGE, error_json(text), (_JSON, *extra, close))
        except _Disconnected:
            raise
        except Exception as error:
            log.exception("%s %s failed", method, path)
            text = f"{type(error).__name__}: {error}"
            return _Answer(500, error_json(text), (_JSON, *extra))

    async def _body(self, receive: Receive) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _Disconnected
            piece = message.get("body", b"")
            size += len(piece)
            if self._options.body_limit is not None and size > self._options.body_limit:
                raise _TooLarge
            pieces.append(piece)
            if not message.get("more_body", False):
                return b"".join(pieces)

    async def _answer(self, route: Route, body: bytes, zipped: bool) -> bytes:
        short = not zipped and len(body) <= _SHORT_BYTES
        if route.action == "status":  # must come when all threads are busy, and takes no time
            return answer(route, body, self._models)
        if short and self._seconds.get(route, _SHORT_SECONDS) < _SHORT_SECONDS:
            return self._timed(route, body, zipped, alone=True)
        loop = asyncio.get_running_loop()
        run = loop.run_in_executor(self._threads, self._timed, route, body, zipped, False)
        try:
            return await asyncio.wait_for(run, self._options.timeout_ms / 1000)
        except TimeoutError:
            raise ServingError(
                Code.DEADLINE_EXCEEDED,
                f"Timed out waiting for notification: it took longer than"
                f" {self._options.timeout_ms} ms.",
            ) from None

    def _timed(self, route: Route, body: bytes, zipped: bool, alone: bool) -> bytes:
        began, worked = time.perf_counter(), time.thread_time()
        result = answer(
            route,
            inflate(body) if zipped else body,
            self._models,
            check_method=self._options.check_method,
        )
        taken = time.perf_counter() - began
        if not alone and taken < _CROWDED_SECONDS:
            # Other threads had their turns meanwhile.
            taken = time.thread_time() - worked
        # A slow one is remembered for some time: the next may be as slow.
        self._seconds[route] = max(taken, 0.9 * self._seconds.get(route, 0.0))
        return result


def _path(scope: Message) -> str:
    """Returns the path as it was sent, without the query."""
    raw = scope.get("raw_path") or scope["path"].encode()
    return bytes(raw).decode("latin-1")


def _headers(scope: Message) -> dict[bytes, bytes]:
    return {bytes(name).lower(): bytes(value) for name, value in scope["headers"]}


def _preflight(headers: dict[bytes, bytes]) -> bytes:
    origin = headers.get(b"origin", b"")
    if b"http://" not in origin and b"https://" not in origin:
        raise invalid("Origin header is missing in CORS preflight.")
    return b""
