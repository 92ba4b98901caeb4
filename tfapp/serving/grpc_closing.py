"""Ends gRPC so that no client has just sent a request when it is told that the server goes away.

What reaches a connection of gRPC while the server closes it is neither run nor refused: it is
answered CANCELLED, which clients do not try again. So the answers that are ready are held back for
a moment. Clients who wait for one send nothing meanwhile, are told first that the connection ends,
and send what comes next elsewhere.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from typing import Any

# So long it takes for all clients who are not idle to have a request under way.
_GATHER_SECONDS = 0.2
_LONGEST_SECONDS = 1.0


class Gate:
    """Holds answers back while the server begins to close."""

    def __init__(self) -> None:
        self._is_shut = False
        self._opened = threading.Event()

    def guarded(self, method: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        """Returns a method whose answers, and errors, pass the gate."""

        @functools.wraps(method)
        def answer(request: Any, context: Any) -> Any:
            try:
                return method(request, context)
            finally:
                if self._is_shut:
                    self._opened.wait(_LONGEST_SECONDS)

        return answer

    def close(self, server: Any, grace: float) -> Any:
        """Stops a server of gRPC.

        Args:
            server: The server.
            grace: Seconds for the requests under way.

        Returns:
            What `stop` returns: an event that is set when it has ended.
        """
        self._is_shut = True
        time.sleep(_GATHER_SECONDS)
        try:
            return server.stop(grace)
        finally:
            self._opened.set()
