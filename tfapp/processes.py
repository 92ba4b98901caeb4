"""How one of tfapp's modules is run in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

_HOME = Path(__file__).resolve().parents[1]


def python_module(module: str, *words: str) -> list[str]:
    """Returns the command of a Python that runs a module.

    With `-m` alone the working folder comes first, and a file of the user's there that has the name
    of a module, say `calendar.py`, is run in its place; `-P` leaves the folder out. What is meant
    to be found there, such as a model, is found all the same, by `tfapp.names.import_object`.

    Args:
        module: Its full name.
        *words: Its arguments.
    """
    # Who runs tfapp out of the folder that it lies in, uninstalled, finds it in no other way.
    safe = [] if Path.cwd() == _HOME else ["-P"]
    return [sys.executable, *safe, "-m", module, *words]
