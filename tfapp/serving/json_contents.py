"""What lists of JSON hold that NumPy must not be given, found without a look at each value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def quotes_of_keys(document: Mapping[str, Any]) -> int:
    """Returns how many quotation marks a body has that holds no strings but names."""
    names = len(document) + sum(isinstance(value, str) for value in document.values())
    if isinstance(wanted := document.get("output_filter"), list):
        names += sum(isinstance(name, str) for name in wanted)
    values = document.get("instances", document.get("inputs"))
    if isinstance(values, dict):
        names += len(values)
    elif isinstance(values, list) and values and isinstance(values[0], dict):
        names += len(values) * len(values[0])  # where rows differ NumPy is not asked
    return 2 * names


def holds_strings(value: Any) -> bool:
    """Tells whether a value is a string, or a list with one at any depth.

    NumPy must not be given them: one long string, and it makes every number as long.
    """
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, list):
            kinds = set(map(type, item))
            if str in kinds:
                return True
            if list in kinds:
                todo.extend(inner for inner in item if type(inner) is list)
        elif isinstance(item, str):
            return True
    return False


def holds_bools(value: Any) -> bool:
    """Tells whether there are bools among numbers, of which NumPy silently makes numbers."""
    return any(type(leaf) is bool for leaf in np.array(value, dtype=object).ravel())
