"""What was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tfapp.environment import read_environment

_FRAMEWORKS = ("torch", "jax")


@dataclass(frozen=True)
class Machine:
    """What a benchmark ran on.

    Attributes:
        cpu: Name of the processor.
        cores: That this process may use.
        system: Operating system.
        load: Processes that wanted a core in the minute before, ours not among them.
        versions: Of the packages that take part.
    """

    cpu: str
    cores: int
    system: str
    load: float | None
    versions: Mapping[str, str]


def read_machine() -> Machine:
    """Returns processor, system, load and versions; the load is that of before, so ask first."""
    environment = read_environment()
    names = ("tfapp", "tensorflow", "keras", "numpy")
    versions = {"python": environment.python}
    versions |= {name: environment.packages[name] for name in names}
    for name in _FRAMEWORKS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "missing"
    return Machine(_cpu(), environment.cpus, environment.system, _load(), versions)


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None
