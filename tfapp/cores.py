"""How many cores there are to compute with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")


def usable_cores() -> int:
    """Returns how many cores this process may use; those of the machine where it cannot be told.

    With `taskset`, or in a container with a set of cores, these are fewer than the machine has.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def whole_cores(groups: Path = _GROUPS, own_groups: Path = _OWN_GROUPS) -> int:
    """Returns how many cores this process may keep busy all the time; at least one.

    These are fewer than it may use where its time is limited, as by `limits: cpu:` in Kubernetes.

    Args:
        groups: Where the system shows its control groups.
        own_groups: Where it says to which of them this process belongs.

    Source: `cpu.max` in the kernel's documentation of control groups, version 2, and
        `cpu.cfs_quota_us` in that of version 1.
    """
    limits = [int(limit) for limit in _limits(groups, own_groups)]
    return max(1, min([usable_cores(), *limits]))


def _limits(groups: Path, own_groups: Path) -> Iterator[float]:
    """Gives the limits of a process's groups, and of those that hold them, in cores."""
    lines: list[str] = []
    with suppress(OSError):  # there are none but on Linux
        lines = own_groups.read_text().splitlines()
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = groups / "cpu" if controllers else groups
        folder = top / path.strip("/")
        for each in (folder, *folder.parents):
            if each.is_relative_to(top):
                # A container may not see its own group by the name that the machine has for it.
                with suppress(OSError, ValueError):
                    yield _limit(each, two=not controllers)


def _limit(folder: Path, *, two: bool) -> float:
    """Reads the limit of a group; raises ValueError if it has none."""
    if two:
        quota, period = (folder / "cpu.max").read_text().split()  # "max 100000" without a limit
        return int(quota) / int(period)
    quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
    if int(quota) < 0:
        raise ValueError("no limit")
    return int(quota) / int(period)
