"""Public names that are imported when they are first used, so that importing a package is cheap."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy_names(
    package: str, modules: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], list[str]]:
    """Makes the `__getattr__` and the `__all__` of a package (PEP 562).

    Args:
        package: Its `__name__`.
        modules: Public names by the module, relative to the package, that defines them.
    """
    homes = {name: module for module, public in modules.items() for name in public}

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)

    return find, sorted(homes)
