"""How much memory this process has needed at most."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def peak_bytes() -> int | None:
    """Returns the peak resident memory in bytes; `None` where the system does not tell.

    Not `ru_maxrss` on Linux: there a program inherits the peak of the one that started it.
    """
    try:
        found = re.search(
            r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE
        )
    except OSError:
        found = None
    if found:
        return int(found[1]) * 1024
    if sys.platform != "darwin":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
