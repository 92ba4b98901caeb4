from __future__ import annotations

import re
from pathlib import Path

import pytest

from legacy_tf1.__main__ import DIFFERENT, DONE, USAGE, main
from legacy_tf1.programs import PROGRAMS

PAGE = (Path(__file__).parents[2] / "docs" / "legacy.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_has_its_row(name):
    (row,) = re.findall(rf"^\| `{name}` \| (\d+) \|", PAGE, re.MULTILINE)
    assert int(row) == PROGRAMS[name].steps


def test_no_other_program_is_named():
    rows = re.findall(r"^\| `([a-z-]+)` \| \d+ \|", PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(PROGRAMS)


def test_python_of_the_page_runs(capsys):
    texts = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert texts
    for text in texts:
        exec(compile(text, "docs/legacy.md", "exec"), {})
    assert "4.99999" in capsys.readouterr().out


def test_the_output_that_is_shown_is_what_comes_out(capsys):
    block = re.search(r"^\$ python -m legacy_tf1 run (\S+)\n(.*?)^```", PAGE, re.M | re.S)
    name, shown = block.groups()
    assert main(["run", name]) == 0
    assert capsys.readouterr().out == shown


def test_exit_codes_are_explained():
    codes = re.findall(r"^\| (\d) \| ", PAGE, re.MULTILINE)
    assert codes == [str(code) for code in (DONE, USAGE, DIFFERENT)]
