"""The programs in benchmarks/ that strain a server, to be imported by tests."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

_BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def program(name: str) -> Any:
    """Returns a program as a module; it finds those it imports itself beside it."""
    if str(_BENCHMARKS) not in sys.path:
        sys.path.append(str(_BENCHMARKS))
    return importlib.import_module(name)
