"""The log of `tfapp serve` on stderr, as text or as JSON."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tfapp.serving.observing import Observer


@dataclass(frozen=True)
class LogOptions:
    """What is logged, and how.

    Attributes:
        as_json: One JSON object a line.
        access: A line for each request; None where JSON is.
        quiet: Nothing but warnings, and what was asked for.
    """

    as_json: bool
    access: bool | None
    quiet: bool

    @property
    def requests(self) -> bool:
        """Whether there is a line for each request."""
        return self.as_json and not self.quiet if self.access is None else self.access


@contextmanager
def server_log(options: LogOptions) -> Iterator[Observer]:
    """Logs to stderr; gives the observer that logs requests."""
    from tfapp.serving.logs import AccessLog, FailureLog, LineHandler

    handler = LineHandler(sys.stderr, as_json=options.as_json)
    with _handled_by(handler, options):
        if not options.requests:
            yield FailureLog()
            return
        access = AccessLog()
        try:
            yield access
        finally:
            access.close()


@contextmanager
def _handled_by(handler: logging.Handler, options: LogOptions) -> Iterator[None]:
    ours, requests = logging.getLogger("tfapp.serving"), logging.getLogger("tfapp.serving.access")
    # As JSON, lines of other libraries must be JSON, too. As text, they have forms of their own,
    # and TensorFlow's logging would repeat every line of ours.
    others = [logging.getLogger(), logging.getLogger("tensorflow")] if options.as_json else []
    changed = [ours, requests, *others]
    before = [(log, log.handlers, log.level, log.propagate) for log in changed]
    for log in others:
        log.handlers, log.propagate = [], True
    (others[0] if others else ours).addHandler(handler)
    ours.propagate = options.as_json
    ours.setLevel(logging.WARNING if options.quiet else logging.INFO)
    requests.setLevel(logging.INFO)
    logging.captureWarnings(options.as_json)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        (others[0] if others else ours).removeHandler(handler)
        for log, handlers, level, propagate in before:
            log.handlers, log.propagate = handlers, propagate
            log.setLevel(level)
