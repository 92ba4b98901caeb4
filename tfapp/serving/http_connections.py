"""All connections of a server by HTTP, and what is done about those that take too long."""

from __future__ import annotations

import logging
from collections.abc import Callable

from tfapp.serving.http1 import Handler, HttpLimits
from tfapp.serving.http_connection import Connection

log = logging.getLogger(__name__)


class Connections:
    """All connections of a server.

    Args:
        handler: Answers requests.
        limits: What clients may take.

    Attributes:
        handler: As given.
        limits: As given.
        open: Those that are open.
        lingering: Of these the ones whose last answer is sent, and maybe not yet read.
        away: Tells how many there are besides: with processes that read for the server, or on
            their way back.
        ending: Whether each is closed once what has been asked is answered.
    """

    def __init__(self, handler: Handler, limits: HttpLimits) -> None:
        self.handler = handler
        self.limits = limits
        self.open: set[Connection] = set()
        self.lingering: set[Connection] = set()
        self.away: Callable[[], int] = lambda: 0
        self.ending = False

    def are_too_many(self, coming: int = 0) -> bool:
        """Tells whether there are more than there may be.

        Args:
            coming: How many there will be besides.
        """
        here = len(self.open) - len(self.lingering) + coming
        return here + self.away() > self.limits.connections

    def drop_late(self) -> None:
        """Ends those whose client is too slow or has not asked for anything for long."""
        for connection in list(self.open):
            try:
                connection.drop_if_late()
            except Exception:  # the others are to be served, whatever is wrong with it
                log.exception("a connection could not be looked at")

    def close_idle(self, seconds: float) -> None:
        """Closes those that no request has been on for so long."""
        for connection in list(self.open):
            try:
                connection.close_if_idle(seconds)
            except Exception:  # and the requests on the others are to be answered
                log.exception("a connection could not be closed")
