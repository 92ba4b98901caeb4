"""Lines of code, against sources that were counted by hand."""

from __future__ import annotations

import pytest

from tfapp.compare.frameworks.lines import count_lines

MIXED = '''\
"""A docstring
over two lines."""

import os
from math import (
    cos,
    sin,
)

# A comment.
LIMIT = 3  # and one beside code


def wave(x):
    """Returns a wave."""

    # Nothing here.
    import cmath

    return (
        sin(x)

        # nothing here either
        + cos(x)
    )


@staticmethod
@property
def decorated(): return LIMIT


class Box:
    """Holds."""

    size = 1

    def text(self):
        """One
        two
        three."""
        return """a
# not a comment

b"""

    async def wait(self):
        def inner():
            return 1
        return inner
'''


def test_a_source_with_everything():
    counted = count_lines(MIXED)
    # LIMIT, wave 5, decorated 3, class, size, text 5, wait 4
    assert counted.code == 1 + 5 + 3 + 1 + 1 + 5 + 4
    assert counted.imports == 1 + 4 + 1
    assert counted.functions == {"wave": 5, "decorated": 3, "Box.text": 5, "Box.wait": 4}


@pytest.mark.parametrize(
    ("source", "code", "imports"),
    [
        ("", 0, 0),
        ("\n\n# only this\n", 0, 0),
        ('"""Only this."""\n', 0, 0),
        ("x = 1", 1, 0),
        ("x = 1; y = 2\n", 1, 0),
        ("x = [\n\n    1,\n]\n", 3, 0),
        ("x = 1 + \\\n    2\n", 2, 0),
        ('x = "not a docstring"\n', 1, 0),
        ("from __future__ import annotations\nimport a, b\n", 0, 2),
        ("def f(): 'a docstring beside code'\n", 1, 0),
        ("def f():\n    yield from g\n", 2, 0),
        ("if a:\n    pass\nelse:\n    pass\n", 4, 0),
    ],
)
def test_small_sources(source, code, imports):
    counted = count_lines(source)
    assert (counted.code, counted.imports) == (code, imports)


def test_comments_and_docstrings_do_not_change_the_count():
    plain = "def f(a):\n    b = a\n    return b\n"
    told = 'def f(a):\n    """Says.\n\n    More.\n    """\n\n    # Why.\n    b = a\n    return b\n'
    assert count_lines(plain) == count_lines(told)
    assert count_lines(plain).functions == {"f": 3}


def test_what_is_not_python_is_refused():
    with pytest.raises(SyntaxError):
        count_lines("def f(:\n")
