"""What a command costs before it does anything."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tfapp.cli import COMMANDS

HEAVY = ("tensorflow", "keras", "numpy", "pydantic", "tensorflow_datasets", "matplotlib", "sklearn")


def loaded_by(*words: str) -> set[str]:
    script = f"import sys; from tfapp.cli import main; main({words!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("trian",)])
def test_help_loads_nothing_heavy(words):
    assert not loaded_by(*words) & {*HEAVY, "rich"}


def test_the_help_of_every_command_loads_nothing_heavy():
    script = (
        "import sys; from tfapp.cli import COMMANDS, main\n"
        "for name in COMMANDS: main([name, '--help'])\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert not set(done.stdout.splitlines()[-1].split()) & set(HEAVY)


@pytest.mark.parametrize(
    "words",
    [
        ("train", "--model", "mlp", "--set", "train.epoch=3", "--set", "data.batch=0"),
        ("train", "--data", "digitz"),
        ("train", "--data", "./nowhere"),
        ("train", "--model", "resent"),
        ("runs", "list"),
        ("runs", "show", "nothing"),
        ("models", "list"),
        ("data", "list"),
    ],
)
def test_mistakes_and_lists_are_answered_without_tensorflow(words):
    assert not loaded_by(*words) & {"tensorflow", "keras"}


def test_importing_tfapp_loads_nothing_heavy():
    script = "import sys, tfapp; dir(tfapp); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert not set(done.stdout.split()) & set(HEAVY)


def test_the_table_of_commands_is_what_there_is():
    import importlib

    for name, summary in COMMANDS.items():
        command = getattr(importlib.import_module(f"tfapp.cli.{name}"), name)
        assert command.get_short_help_str(limit=200) == summary
