from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tfapp.environment import PACKAGES, read_environment


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.org"]
    done = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that belongs to no repository."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def repository(outside: Path) -> Path:
    git(outside, "init", "--quiet")
    (outside / "train.py").write_text("first\n")
    git(outside, "add", "train.py")
    git(outside, "commit", "--quiet", "-m", "first")
    return outside


def test_versions_are_those_installed():
    found = read_environment().packages
    assert set(found) == set(PACKAGES)
    assert found["keras"] == importlib.metadata.version("keras")
    assert found["tensorflow"] == importlib.metadata.version("tensorflow")


def test_package_that_is_not_there_is_missing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tfapp.environment.PACKAGES", ("no-such-package",))
    assert read_environment().packages == {"no-such-package": "missing"}


def test_machine_is_described():
    found = read_environment(["CPU:0", "GPU:0"])
    assert found.python == platform.python_version()
    assert platform.machine() in found.system
    assert 1 <= found.cpus <= (os.cpu_count() or 1)
    assert found.memory_mb > 100
    assert found.devices == ("CPU:0", "GPU:0")


def test_command_can_be_typed_again(monkeypatch: pytest.MonkeyPatch):
    typed = ["tfapp", "train", "--set", "data.label=the class"]
    monkeypatch.setattr(sys, "argv", typed)
    assert shlex.split(read_environment().command) == typed


def test_commit_is_empty_outside_a_repository(outside: Path):
    assert read_environment().git == ""


def test_commit_is_that_of_the_working_folder(repository: Path):
    found = read_environment().git
    assert len(found) == 12
    assert git(repository, "rev-parse", "HEAD").startswith(found)


def test_changed_files_are_told_and_new_ones_are_not(repository: Path):
    (repository / "notes.txt").write_text("new\n")
    assert not read_environment().git.endswith("+changes")
    (repository / "train.py").write_text("second\n")
    assert read_environment().git.endswith("+changes")


def test_without_git_the_commit_is_empty(repository: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(repository))
    assert read_environment().git == ""
