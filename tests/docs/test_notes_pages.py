"""What the pages of docs/notes say is so: every command, its output, every listing, the links."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import test_docs
from test_docs import DOCS, ROOT, blocks, name_of

from legacy_tf1.__main__ import main as run_legacy
from legacy_tf1.programs import PROGRAMS as LEGACY
from tfapp.compare.programs import PROGRAMS as COMPARED
from tfapp.errors import ExitCode

PAGES = sorted((DOCS / "notes").glob("*.md"))
SAID = re.compile(r"^\s*print\(.*\)  # (.*)$", re.MULTILINE)
# A listing that needs more than TensorFlow stands by itself: how it is known, what it needs.
OPTIONAL = {"import torch": "torch", "routed_layers": "tf_keras"}


def commands_of(page: Path) -> Iterator[tuple[list[str], list[str]]]:
    """Yields the words of every command, and the lines shown below it."""
    for text in blocks(page, "console"):
        for typed in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            line, _, shown = typed.partition("\n")
            yield shlex.split(line), shown.splitlines()


def needs(listing: str) -> str | None:
    return next((module for sign, module in OPTIONAL.items() if sign in listing), None)


COMMANDS = [(page, words, shown) for page in PAGES for words, shown in commands_of(page)]
LISTINGS = {page: [text for text in blocks(page, "python") if not needs(text)] for page in PAGES}
APART = [(page, text) for page in PAGES for text in blocks(page, "python") if needs(text)]


@pytest.mark.parametrize(
    ("words", "shown"),
    [pytest.param(w, s, id=f"{page.stem}: {shlex.join(w)}") for page, w, s in COMMANDS],
)
def test_command_runs_and_prints_what_is_shown(words, shown, cli, capfd):
    if words[0] == "tfapp":
        result = cli(*words[1:])
        code, printed, errors = result.code, result.out, result.err
    else:
        assert words[:3] == ["python", "-m", "legacy_tf1"]
        code = run_legacy(words[3:])
        printed, errors = capfd.readouterr()
    assert code == ExitCode.DONE, errors
    lines = iter([line.rstrip() for line in printed.splitlines()])
    for expected in shown:
        assert expected in lines, f"not printed, or not in this order: {expected!r}\n{printed}"


@pytest.mark.parametrize("page", [page for page in PAGES if LISTINGS[page]], ids=name_of)
def test_listings_of_a_page_run_one_after_another(page, tmp_path, monkeypatch, capfd):
    run_listings(page, LISTINGS[page], tmp_path, monkeypatch, capfd)


@pytest.mark.parametrize(
    ("page", "listing"), [pytest.param(p, t, id=f"{p.stem}: {needs(t)}") for p, t in APART]
)
def test_listing_that_needs_more_runs_by_itself(page, listing, tmp_path, monkeypatch, capfd):
    module = needs(listing)
    pytest.importorskip(module, reason=f"{module} is not installed")
    run_listings(page, [listing], tmp_path, monkeypatch, capfd)


def run_listings(page, listings, tmp_path, monkeypatch, capfd):
    """Runs listings in one scope; what they print must be what their comments say."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    scope = {"__name__": "notes_page"}
    monkeypatch.setitem(sys.modules, "notes_page", ModuleType("notes_page"))
    for number, text in enumerate(listings, 1):
        file = tmp_path / f"{page.stem}_{number}.py"  # AutoGraph wants to read the source
        file.write_text(text, encoding="utf-8")
        capfd.readouterr()
        exec(compile(text, file, "exec"), scope)
        assert capfd.readouterr().out.splitlines() == SAID.findall(text), text


def test_every_program_is_run_on_a_page():
    run = {words[4] for _, words, _ in COMMANDS if words[1:4] == ["-m", "legacy_tf1", "run"]}
    assert run == set(LEGACY)


def test_every_comparison_that_needs_no_data_is_run_on_a_page():
    compared = {words[2] for _, words, _ in COMMANDS if words[:2] == ["tfapp", "compare"]}
    assert compared == {name for name, program in COMPARED.items() if program.draw is not None}


def test_every_pitfall_has_its_heading():
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    for name, program in LEGACY.items():
        if program.teaches.startswith("pitfall"):
            assert re.search(rf"^## Pitfall, .*`{name}`$", text, re.MULTILINE), name


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page_is_found_from_everywhere(page):
    assert f": notes/{page.name}\n" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert f"(notes/{page.name})" in (DOCS / "index.md").read_text(encoding="utf-8")
    index = (DOCS / "notes" / "index.md").read_text(encoding="utf-8")
    assert page.name == "index.md" or f"({page.name})" in index


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_of_a_page_lead_somewhere(page):
    test_docs.test_links_lead_somewhere(page)
