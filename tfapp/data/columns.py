"""What the columns of a table are called as inputs of an exported model."""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence

from tfapp.data.splits import Column


def input_names(columns: Sequence[Column]) -> list[str]:
    """Returns a name for each column that TensorFlow takes as the name of an input.

    Everything but letters, digits and `_` becomes `_`; a Python keyword, a leading digit and a
    name that is taken get a `_` more: `sepal length (cm)` becomes `sepal_length_cm`.
    """
    given: list[str] = []
    for column in columns:
        name = re.sub(r"\W+", "_", column.name, flags=re.ASCII).strip("_") or "column"
        if name[0].isdigit():
            name = f"_{name}"
        while keyword.iskeyword(name) or name in given:
            name += "_"
        given.append(name)
    return given
