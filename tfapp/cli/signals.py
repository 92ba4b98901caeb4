"""Ctrl-C and SIGTERM ask for a clean end first; a second signal ends at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from tfapp.errors import ExitCode


@contextmanager
def stop_on_signals(
    said: bytes = b"\nsaving; once more to quit without\n",
) -> Iterator[Callable[[], ExitCode | None]]:
    """Gives a function that returns the exit code once a signal has come, `None` before.

    The handlers that were there return at the end of the block.

    Args:
        said: Is written to stderr when a signal comes.
    """
    received: list[ExitCode] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED)
        signal.signal(number, before[signal.Signals(number)])
        # Not through sys.stderr: the signal may have come in the middle of a write to it.
        os.write(2, said)

    def request() -> ExitCode | None:
        return received[0] if received else None

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread may set handlers
        return
    for number in before:
        signal.signal(number, receive)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
