"""What a program ran on: versions, machine, devices, source control."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfapp.cores import usable_cores

PACKAGES = (
    "tfapp",
    "tensorflow",
    "keras",
    "keras-tuner",
    "numpy",
    "tensorflow-datasets",
    "tensorboard",
    "scikit-learn",
    "matplotlib",
    "pydantic",
    "click",
    "rich",
)


@dataclass(frozen=True)
class Environment:
    """The surroundings of a run.

    Attributes:
        python: Version of the interpreter.
        system: Operating system and machine type.
        cpus: Cores this process may use.
        memory_mb: Physical memory, 0 where the system does not tell.
        packages: Version of each package that results may depend on; `missing` if not there.
        devices: TensorFlow's devices, e.g. `GPU:0`; empty when TensorFlow was not asked.
        git: Commit of the working folder, `+changes` when files differ from it; empty outside one.
        command: The command line, as it can be typed again.
    """

    python: str
    system: str
    cpus: int
    memory_mb: int
    packages: dict[str, str]
    devices: tuple[str, ...]
    git: str
    command: str


def read_environment(devices: Sequence[str] = ()) -> Environment:
    """Returns the surroundings of this process; `devices` come from who has TensorFlow at hand."""
    return Environment(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpus=usable_cores(),
        memory_mb=_memory_mb(),
        packages={name: _version(name) for name in PACKAGES},
        devices=tuple(devices),
        git=_git_commit(Path.cwd()),
        command=shlex.join(sys.argv),
    )


@functools.cache
def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _memory_mb() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    except (AttributeError, ValueError, OSError):
        return 0


def _git_commit(folder: Path) -> str:
    try:
        commit = _git(folder, "rev-parse", "--short=12", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return ""
    return commit + ("+changes" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments],
        capture_output=True,
        text=True,
        timeout=5,
        check=True,
    )
    return done.stdout.strip()
