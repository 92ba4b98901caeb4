"""The REST interface: HTTP around `rest_requests`.

What is known to be quick is computed in the event loop, since handing it to a thread would take as
long as it does; everything else in a thread.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from tfapp.cores import usable_cores
from tfapp.serving.busy_polling import BusyPolling
from tfapp.serving.compression import compressed, inflate, is_worth_it, is_zipped
from tfapp.serving.description_pages import DescriptionPages
from tfapp.serving.http1 import HttpAnswer, HttpRequest, Reply
from tfapp.serving.json_answers import error_json
from tfapp.serving.json_numbers import BodyNeeded
from tfapp.serving.models import ModelSpec, ServedModels
from tfapp.serving.observing import Observer, RequestRecord
from tfapp.serving.ongoing import Ongoing
from tfapp.serving.pages import DESCRIPTION_PATHS, PATHS, page
from tfapp.serving.reader_messages import ReadQuestion
from tfapp.serving.rest_requests import (
    Content,
    Question,
    Route,
    content_of_numbers,
    describe,
    parse_route,
    plan,
    quick_content_of,
    read,
    reading,
)
from tfapp.serving.servable import Servable
from tfapp.serving.status import Code, ServingError, invalid
from tfapp.serving.turns import Turns

log = logging.getLogger(__name__)

# What answers a path of its own: content type and body.
Page = Callable[[], tuple[bytes, bytes]]

_REFUSED = {
    408: Code.DEADLINE_EXCEEDED, 413: Code.RESOURCE_EXHAUSTED, 500: Code.INTERNAL,
    503: Code.UNAVAILABLE,
}  # fmt: skip
_JSON = ((b"content-type", b"application/json"),)
_PLAIN = ((b"content-type", b"text/plain"),)
_CORS = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"POST, GET"),
    (b"access-control-allow-headers", b"Content-Type"),
)

# What takes so little is done at once: the hand-over to a thread would cost as much.
_SHORT_SECONDS = 0.001
_UNKNOWN = (_SHORT_SECONDS, _SHORT_SECONDS)
_SHORT_BYTES = 2**16
_PATHS_KEPT = 4096
_KEPT_PATH = 512  # characters
# So long a short one may take among busy threads. A longer one waits for something.
_CROWDED_SECONDS = 0.02


@dataclass(frozen=True)
class RestOptions:
    """How requests by REST are answered.

    Attributes:
        timeout_ms: How long a request may take, in milliseconds, once its body has arrived.
        cors: Whether pages of any site may ask.
        threads: How many requests compute at a time.
        check_method: Refuse signatures that do not say that they are for what is asked.
        in_loop: Whether quick models may run in the thread that reads and writes.
        pages: Further pages by their paths.
        gzip: Compress answers for clients who accept it.
        scheme: How clients reach the server: `http` or `https`.
        busy_poll_seconds: How long the event loop looks for the next request before it sleeps,
            where requests follow one another; 0 for never.
    """

    timeout_ms: int = 30_000
    cors: bool = False
    threads: int = field(default_factory=lambda: 4 * usable_cores())
    check_method: bool = False
    in_loop: bool = True
    pages: Mapping[str, Page] = field(default_factory=dict)
    gzip: bool = False
    scheme: str = "http"
    busy_poll_seconds: float = 0.0


class RestApp:
    """Answers as TensorFlow Serving's REST interface.

    Besides `/v1/` it has `/models`, `/healthz`, `/readyz`, `/docs` and `/openapi.json`. Bodies may
    have the key `output_filter`, a list of the outputs to compute.

    Args:
        models: Who keeps the models.
        options: How to answer.
        observer: Is told of requests and batches.
    """

    def __init__(
        self,
        models: ServedModels,
        *,
        options: RestOptions | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._models = models
        self._options = options or RestOptions()
        self._observer = observer or Observer()
        self._turns = Turns(self._observer)
        self._polling = BusyPolling(self._options.busy_poll_seconds)
        self._headers = _JSON + (_CORS if self._options.cors else ())
        self._threads = ThreadPoolExecutor(self._options.threads, thread_name_prefix="tfapp-rest")
        self._compressing = ThreadPoolExecutor(thread_name_prefix="tfapp-gzip")
        # By path and signature: the most that requests took lately, and the second to that.
        self._seconds: dict[tuple[str, str], tuple[float, float]] = {}
        self._descriptions = DescriptionPages(models, self._ask, self._options.scheme)

    def answer(self, request: HttpRequest, reply: Reply) -> None:
        """Answers a request, at once or later."""
        path = request.path
        if self._options.gzip:
            reply = functools.partial(self._reply_smaller, request, reply)
        if path[:4].lower() == "/v1/":
            ongoing = Ongoing(request, reply, self._headers, self._observer)
            try:
                self._begin(request, ongoing)
            except Exception as error:
                ongoing.done(error)
        elif path in PATHS and request.method in ("GET", "HEAD"):
            reply(HttpAnswer(*page(path, self._models), _JSON))
        elif path in DESCRIPTION_PATHS and request.method in ("GET", "HEAD"):
            self._collect(
                self._descriptions.answer(request),
                reply,
                lambda error: reply(self._unforeseen(request, error)),
            )
        elif path in self._options.pages and request.method in ("GET", "HEAD"):
            kind, body = self._options.pages[path]()
            reply(HttpAnswer(200, body, ((b"content-type", kind),)))
        else:
            reply(HttpAnswer(404, b"Not Found\n", _PLAIN))

    def answer_read(self, question: ReadQuestion, reply: Reply) -> bool:
        """Answers a request to predict that another process has read.

        Args:
            question: What was asked.
            reply: As for `answer`.

        Returns:
            Whether it is answered, at once or later. If not, the request itself is needed: it is
            not known to be quick, or its numbers are not all that it takes to answer it.
        """
        request = HttpRequest("POST", question.path, b"", {}, b"")
        ongoing = Ongoing(request, reply, self._headers, self._observer, question.arrived)
        ongoing.record.request_bytes = question.body_bytes
        try:
            route = self._note_route(request, ongoing)
            return self._begin_at_once(ongoing, route, request, content_of_numbers(question.inputs))
        except BodyNeeded:
            return False
        except Exception as error:
            ongoing.done(error)
            return True

    def refuse(self, status: int, text: str) -> HttpAnswer:
        """Returns the answer to what is no request, and tells of it."""
        code = _REFUSED.get(status, Code.INVALID_ARGUMENT)
        self._observer.request(RequestRecord("REST", "", code=code, message=text))
        return HttpAnswer(status, error_json(text), self._headers)

    def close(self) -> None:
        """Begins no more requests."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._compressing.shutdown(wait=False)
        self._descriptions.close()

    def _begin(self, request: HttpRequest, ongoing: Ongoing) -> None:
        if request.method == "OPTIONS":
            ongoing.done(_preflight(request.headers))
            return
        route, record = self._note_route(request, ongoing), ongoing.record
        if route.action == "status":  # must come when all threads are busy, and takes no time
            ongoing.done(describe(route, self._models))
        elif route.action == "metadata":
            self._in_thread(ongoing, describe, route, self._models)
        elif not self._begin_in_loop(ongoing, route, request):
            record.deadline = time.monotonic() + self._options.timeout_ms / 1000
            self._in_thread(ongoing, self._infer, route, request, record)

    def _note_route(self, request: HttpRequest, ongoing: Ongoing) -> Route:
        route, record = _route(request.method, request.path), ongoing.record
        record.api, record.model = route.action, route.spec.name
        return route

    def _begin_in_loop(self, ongoing: Ongoing, route: Route, request: HttpRequest) -> bool:
        """Answers a request in the event loop if it is known to be quick; returns whether it is."""
        if not self._options.in_loop or len(request.body) > _SHORT_BYTES or is_zipped(request):
            return False
        began = time.perf_counter()
        self._polling.arrived()
        content = quick_content_of(route, request.body)
        return content is not None and self._begin_at_once(
            ongoing, route, request, content, began=began, answered=self._polling.answered
        )

    def _begin_at_once(
        self,
        ongoing: Ongoing,
        route: Route,
        request: HttpRequest,
        content: Content,
        began: float | None = None,
        answered: Callable[[], None] = lambda: None,
    ) -> bool:
        """Answers a request that was read, in the event loop if it is known to be quick.

        Args:
            ongoing: The request.
            route: What is asked for.
            request: As it came; without its body if another process has read that.
            content: What the body holds.
            began: When reading began here, as `time.perf_counter` tells it; now if not given.
            answered: Is called after the answer.

        Returns:
            Whether it is answered, at once or at the end of this turn of the loop.
        """
        began, record = began or time.perf_counter(), ongoing.record
        key = request.path, content.signature
        if self._seconds.get(key, _UNKNOWN)[1] >= _SHORT_SECONDS:
            return False
        question = read(route, request.body, content)
        lease = self._models.use(route.spec)
        servable = lease.__enter__()
        try:
            _note(record, question, servable)
            computation = plan(question, servable, check_method=self._options.check_method)
        except BaseException:
            lease.__exit__(None, None, None)
            raise
        planned = time.perf_counter() - began

        def done(result: bytes | Exception, seconds: float) -> None:
            lease.__exit__(None, None, None)
            self._remember(key, planned + seconds)
            ongoing.done(result)
            answered()

        self._turns.add(computation, record, done)
        return True

    def _in_thread(self, ongoing: Ongoing, work: Callable[..., bytes], *arguments: Any) -> None:
        """Does work in a thread, for as long as the options allow."""
        loop = asyncio.get_running_loop()
        future = self._threads.submit(work, *arguments)
        timer = loop.call_later(self._options.timeout_ms / 1000, self._give_up, ongoing, future)

        def done(result: bytes | BaseException) -> None:
            timer.cancel()
            ongoing.done(result)

        self._collect(future, done, done)

    def _collect(
        self,
        future: Future[Any],
        done: Callable[[Any], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        """Takes what a thread has made, in the event loop."""
        loop = asyncio.get_running_loop()

        def collect() -> None:
            if future.cancelled():
                return
            if (error := future.exception()) is not None:
                failed(error)
            else:
                done(future.result())

        def tell(_: Future[Any]) -> None:
            with suppress(RuntimeError):  # the loop has ended: nobody waits for it any more
                loop.call_soon_threadsafe(collect)

        future.add_done_callback(tell)

    def _unforeseen(self, request: HttpRequest, error: BaseException) -> HttpAnswer:
        log.error("%s %s failed", request.method, request.path, exc_info=error)
        return self.refuse(500, f"{type(error).__name__}: {error}")

    def _reply_smaller(self, request: HttpRequest, reply: Reply, answer: HttpAnswer) -> None:
        if not is_worth_it(request, answer):
            reply(answer)
            return

        def failed(error: BaseException) -> None:
            log.error("an answer was not compressed", exc_info=error)
            reply(answer)

        # In a thread: others would wait for it. Not in those that compute: all may be busy.
        self._collect(self._compressing.submit(compressed, answer), reply, failed)

    def _ask(self, servable: Servable, verb: str, body: bytes) -> bytes:
        """Answers a request that a page shows."""
        route = Route(verb, ModelSpec(servable.name, servable.version))
        return plan(read(route, body), servable, check_method=self._options.check_method).result()

    def _give_up(self, ongoing: Ongoing, future: Future[bytes]) -> None:
        future.cancel()
        ongoing.done(
            ServingError(
                Code.DEADLINE_EXCEEDED,
                "Timed out waiting for notification: it took longer than"
                f" {self._options.timeout_ms} ms.",
            )
        )

    def _infer(self, route: Route, request: HttpRequest, record: RequestRecord) -> bytes:
        began, worked = time.perf_counter(), time.thread_time()
        body = inflate(request.body) if is_zipped(request) else request.body
        with ExitStack() as lent:
            with reading(body, self._options.timeout_ms / 1000):
                question = read(route, body)
                servable = lent.enter_context(self._models.use(route.spec))
                _note(record, question, servable)
                computation = plan(question, servable, check_method=self._options.check_method)
            result = computation.result(record)
        taken = time.perf_counter() - began
        # Other threads may have had their turns meanwhile.
        self._remember(
            (request.path, question.content.signature),
            time.thread_time() - worked if taken < _CROWDED_SECONDS else taken,
        )
        return result

    def _remember(self, key: tuple[str, str], seconds: float) -> None:
        if len(key[0]) > _KEPT_PATH:
            return
        if len(self._seconds) >= _PATHS_KEPT:  # one model may be asked by paths of many spellings
            self._seconds.clear()
        # One slow one is an accident: another process had its turn. A second one before long is
        # none, and is remembered for some time: the next may be as slow.
        before, most = self._seconds.get(key, (seconds, 0.0))
        self._seconds[key] = max(seconds, 0.9 * before), max(min(seconds, before), 0.9 * most)


def _route(method: str, path: str) -> Route:
    # Long ones are not kept: a head may hold a path of many kilobytes.
    return _kept_route(method, path) if len(path) <= _KEPT_PATH else parse_route(method, path)


_kept_route = functools.lru_cache(1024)(parse_route)


def _note(record: RequestRecord, question: Question, servable: Servable) -> None:
    record.version, record.signature = servable.version, question.content.signature


def _preflight(headers: dict[bytes, bytes]) -> bytes:
    origin = headers.get(b"origin", b"")
    if b"http://" not in origin and b"https://" not in origin:
        raise invalid("Origin header is missing in CORS preflight.")
    return b""
