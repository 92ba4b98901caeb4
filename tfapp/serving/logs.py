"""The log of the server: a line for each request, as text or as JSON, and requests that failed.

A line is written by a thread of its own: requests do not wait for whoever reads the log. All lines
go through `logging`, those of requests by the logger `tfapp.serving.access`.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

from tfapp.serving.observing import Observer, RequestRecord
from tfapp.serving.status import Code

log = logging.getLogger("tfapp.serving.access")
failures = logging.getLogger("tfapp.serving.failures")

# Lines that wait for being written. Beyond that nobody reads them, and they would fill the memory.
_MOST_WAITING = 20_000
# What is not the fault of who asked.
_OF_THE_SERVER = frozenset(
    {
        Code.UNKNOWN,
        Code.DEADLINE_EXCEEDED,
        Code.RESOURCE_EXHAUSTED,
        Code.ABORTED,
        Code.INTERNAL,
        Code.UNAVAILABLE,
        Code.DATA_LOSS,
    }
)
_REPEAT_SECONDS = 10.0
# How long the first line waits for others: to wake a thread costs more than to write a line.
_PAUSE_SECONDS = 0.05
# Lines that are written by one call. Requests cannot be worked on while they are made.
_TOGETHER = 50
_MESSAGE_LIMIT = 300
_FIELDS = "fields"


class AccessLog(Observer):
    """Writes a line for each request, in a thread of its own; `close` writes what is left."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[tuple[float, RequestRecord] | None] = queue.SimpleQueue()
        self._dropped = 0
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._write, name="tfapp-access-log", daemon=True)
        self._thread.start()

    def request(self, record: RequestRecord) -> None:
        """Takes a request."""
        if self._waiting.qsize() < _MOST_WAITING:
            self._waiting.put((time.time(), record))
        else:
            self._dropped += 1

    def close(self) -> None:
        """Returns when every line is written."""
        self._ends.set()
        self._waiting.put(None)
        self._thread.join()

    def _write(self) -> None:
        while not self._ends.is_set() or not self._waiting.empty():
            first = self._waiting.get()
            self._ends.wait(_PAUSE_SECONDS)
            items = [first, *(self._waiting.get() for _ in range(self._waiting.qsize()))]
            self._tell_dropped()
            lines = [item for item in items if item is not None]
            if log.isEnabledFor(logging.INFO):
                for left, item in zip(reversed(range(len(lines))), lines, strict=True):
                    log.handle(_line(*item, more=left > 0))

    def _tell_dropped(self) -> None:
        dropped, self._dropped = self._dropped, 0
        if dropped:
            log.warning(
                "%d requests are missing here: their lines could not be written in time", dropped
            )


class FailureLog(Observer):
    """Tells of requests that failed by no fault of who asked, of those that repeat now and then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: dict[tuple[str, Code], float] = {}
        self._more: dict[tuple[str, Code], int] = {}

    def request(self, record: RequestRecord) -> None:
        """Tells of a request, if it failed so."""
        if record.code not in _OF_THE_SERVER:
            return
        key, now = (record.model, record.code), time.monotonic()
        with self._lock:
            if now - self._told.get(key, -_REPEAT_SECONDS) < _REPEAT_SECONDS:
                self._more[key] = self._more.get(key, 0) + 1
                return
            self._told[key], more = now, self._more.pop(key, 0)
        failures.error(
            "%s %s of %s failed: %s: %s%s",
            record.entrypoint,
            record.api or "request",
            record.model or "no model",
            record.code.name,
            _cut(record.message),
            f" (and {more} like it since the last line)" if more else "",
        )


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes records to a stream; those that come together, by one call of the system."""

    def __init__(self, stream: TextIO, *, as_json: bool = False) -> None:
        super().__init__(stream)
        self._lines: list[str] = []
        self.setFormatter(JsonFormatter() if as_json else TextFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a record, unless it says that more follow."""
        try:
            self._lines.append(self.format(record) + "\n")
            if not getattr(record, "more", False) or len(self._lines) >= _TOGETHER:
                self.flush()
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Writes the lines that wait for others."""
        with self.lock or nullcontext():
            text, self._lines = "".join(self._lines), []
            self.stream.write(text)
            super().flush()


class TextFormatter(logging.Formatter):
    """Time, first letter of the level, message; the fields of a request."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname).1s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Returns the line, without exceptions."""
        line = super().formatMessage(record)
        fields = getattr(record, _FIELDS, None)
        return line if fields is None else f"{line} {_details(fields)}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message; the fields of a request; exceptions."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        time = datetime.fromtimestamp(record.created, UTC)
        told: dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            told["stack"] = record.stack_info
        try:
            return orjson.dumps(told).decode()
        except TypeError:  # a text that is no Unicode
            return json.dumps(told, default=str)


def _line(created: float, request: RequestRecord, *, more: bool) -> logging.LogRecord:
    """Returns what is logged of a request: a text, and the same as fields."""
    fields: dict[str, Any] = {
        "model": request.model,
        "version": request.version,
        "signature": request.signature,
        "entrypoint": request.entrypoint,
        "api": request.api,
        "code": request.code.name,
        "rows": request.rows,
        "batch_rows": request.batch_rows,
        "queue_ms": round(request.queue_seconds * 1000, 3),
        "run_ms": round(request.run_seconds * 1000, 3),
        "total_ms": round(request.seconds * 1000, 3),
        "request_bytes": request.request_bytes,
        "answer_bytes": request.answer_bytes,
    }
    if request.message:
        fields["error"] = _cut(request.message)
    text = f"{request.entrypoint} {request.api or '-'} {_word(request.model)} {request.code.name}"
    line = logging.LogRecord(log.name, logging.INFO, __file__, 0, text, None, None)
    line.created, line.msecs = created, created % 1 * 1000
    setattr(line, _FIELDS, fields)
    line.more = more
    return line


def _details(fields: Mapping[str, Any]) -> str:
    """Returns the fields of a request that its message does not say."""
    error = f" error={json.dumps(fields['error'])}" if "error" in fields else ""
    version = "-" if fields["version"] is None else fields["version"]
    return (
        f"version={version} rows={fields['rows']} batch={fields['batch_rows']}"
        f" queue={fields['queue_ms']:.3f}ms run={fields['run_ms']:.3f}ms"
        f" total={fields['total_ms']:.3f}ms"
        f" bytes={fields['request_bytes']}/{fields['answer_bytes']}{error}"
    )


def _word(name: str) -> str:
    """Returns a name that stays on its line, whoever chose it."""
    return name if name.isprintable() and " " not in name and name else json.dumps(name)


def _cut(message: str) -> str:
    return message if len(message) <= _MESSAGE_LIMIT else f"{message[:_MESSAGE_LIMIT]}…"
