"""Locks that end with the process that holds them, however it ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there
    fcntl = None  # type: ignore[assignment]


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Holds the lock of a file, made if it is missing, for the time of the block.

    Raises:
        BlockingIOError: Another process, or another block of this one, holds it.
    """
    with path.open("a") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def is_held(path: Path) -> bool:
    """Tells whether somebody holds the lock of a file."""
    if not path.exists():
        return False
    try:
        with hold(path):
            return False
    except BlockingIOError:
        return True


def process_alive(pid: int) -> bool:
    """Tells whether a process of this machine is still there."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
