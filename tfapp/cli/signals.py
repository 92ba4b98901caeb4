"""Ctrl-C and SIGTERM ask for a clean end first; a second signal ends at once."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from tfapp.errors import ExitCode

_STDERR = 2


@contextmanager
def stop_on_signals(
    said: bytes = b"\nsaving; once more to quit without\n",
    at_once: Callable[[ExitCode], None] | None = None,
) -> Iterator[Callable[[], ExitCode | None]]:
    """Gives a function that returns the exit code once a signal has come, `None` before.

    The first signal gives both back to the handlers that were there, so that a second of either
    kind ends the process. Those return at the end of the block, too.

    Args:
        said: Is written to stderr when a signal comes.
        at_once: Is called by a second signal, with the exit code, instead of the handler that was
            there; also after the block, as long as the process waits for its threads.
    """
    received: list[ExitCode] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(_exit_code(number))
        for each, handler in before.items():
            signal.signal(each, handler if at_once is None else again)
        _write(said)

    def again(number: int, frame: FrameType | None) -> None:
        assert at_once is not None
        at_once(_exit_code(number))

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
        if not received or at_once is None:
            for number, handler in before.items():
                signal.signal(number, handler)


def _exit_code(number: int) -> ExitCode:
    return ExitCode.INTERRUPTED if number == signal.SIGINT else ExitCode.TERMINATED


def _write(said: bytes) -> None:
    """Writes to stderr what can be written there: nobody may read it, or not any more.

    Not through `sys.stderr`: the signal may have come in the middle of a write to it.
    """
    with suppress(OSError):
        # Windows knows this of sockets only.
        if os.name == "nt" or select.select([], [_STDERR], [], 0)[1]:
            os.write(_STDERR, said)
