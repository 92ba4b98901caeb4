"""How many cores there are to compute with."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Returns how many cores this process may use; those of the machine where it cannot be told.

    With `taskset`, or in a container with a set of cores, these are fewer than the machine has.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
