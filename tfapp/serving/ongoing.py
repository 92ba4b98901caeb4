"""A request by REST that is being answered, and what is told of it."""

from __future__ import annotations

import logging
import time

from tfapp.serving.http1 import HttpAnswer, HttpRequest, Reply
from tfapp.serving.json_answers import error_json
from tfapp.serving.observing import Observer, RequestRecord
from tfapp.serving.status import Code, ServingError

log = logging.getLogger(__name__)

# Source: `ToHTTPStatusCode` of TensorFlow Serving; the others are 500.
_HTTP = {
    Code.OK: 200, Code.INVALID_ARGUMENT: 400, Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400, Code.UNAUTHENTICATED: 401, Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404, Code.ALREADY_EXISTS: 409, Code.ABORTED: 409, Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499, Code.UNIMPLEMENTED: 501, Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}  # fmt: skip


class Ongoing:
    """A request of the `/v1/` space.

    Args:
        request: What was asked.
        reply: Takes the answer.
        headers: Of the answer.
        observer: Is told of it.
        began: When it was there, as `time.perf_counter` tells it; now if that is not given.

    Attributes:
        record: What is known of it.
    """

    __slots__ = ("_began", "_headers", "_observer", "_reply", "_request", "_waits", "record")

    def __init__(
        self,
        request: HttpRequest,
        reply: Reply,
        headers: tuple[tuple[bytes, bytes], ...],
        observer: Observer,
        began: float | None = None,
    ) -> None:
        self.record = RequestRecord("REST", "", request_bytes=len(request.body))
        self._request = request
        self._reply = reply
        self._headers = headers
        self._observer = observer
        self._waits = True
        self._began = began or time.perf_counter()

    def done(self, result: bytes | BaseException) -> None:
        """Answers with a body, or with what went wrong; whatever comes later is too late."""
        if not self._waits:
            return
        self._waits = False
        record, status = self.record, 200
        if isinstance(result, bytes):
            body = result
        else:
            if not isinstance(result, ServingError):
                result = self._unforeseen(result)
            record.code, record.message = result.code, str(result)
            status, body = _HTTP.get(result.code, 500), error_json(record.message)
        record.seconds = time.perf_counter() - self._began
        record.answer_bytes = len(body)
        self._observer.request(record)
        self._reply(HttpAnswer(status, body, self._headers))

    def _unforeseen(self, error: BaseException) -> ServingError:
        request = self._request
        log.error("%s %s failed", request.method, request.path, exc_info=error)
        return ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}")
