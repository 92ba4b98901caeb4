"""What the columns of a table are called as inputs of an exported model."""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence

from tfapp.data.splits import Column

# What TensorFlow's own functions call an argument when they pass a signature's inputs on by name.
_TAKEN = ("self",)


def input_names(columns: Sequence[Column]) -> list[str]:
    """Returns a name for each column that TensorFlow takes as the name of an input.

    Everything but letters, digits and `_` becomes `_`; a leading digit gets `column_` in front,
    and a Python keyword, `self`, and a name that is taken, in whichever case, get a `_` more:
    `sepal length (cm)` becomes `sepal_length_cm`.
    """
    given: list[str] = []
    taken: set[str] = set()
    for column in columns:
        name = re.sub(r"\W+", "_", column.name, flags=re.ASCII).strip("_") or "column"
        if name[0].isdigit():  # TensorFlow renames what begins with anything but a letter
            name = f"column_{name}"
        # Operations of a graph whose names are equal but for their case are renamed as well.
        while keyword.iskeyword(name) or name in _TAKEN or name.lower() in taken:
            name += "_"
        given.append(name)
        taken.add(name.lower())
    return given
