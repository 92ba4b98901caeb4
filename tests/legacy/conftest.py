from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from legacy_tf1.program import Check, Outcome
from legacy_tf1.programs import PROGRAMS


@pytest.fixture(scope="session")
def outcome_of() -> Callable[[str], Outcome]:
    """Runs a program with its own number of steps, once for all tests."""
    return cache(lambda name: PROGRAMS[name].run())


@pytest.fixture(scope="session")
def checks_of(outcome_of) -> Callable[[str], dict[str, Check]]:
    """Returns a program's checks by their names."""
    return lambda name: {check.name: check for check in outcome_of(name).checks}
