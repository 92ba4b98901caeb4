"""What the documentation says is so: generated parts, links, commands, configs, Python."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest

from tfapp import names
from tfapp.cli import cli
from tfapp.cli.configuring import KEYS
from tfapp.config import load_config
from tfapp.errors import ConfigError, ExitCode

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
BESIDE = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "saved_models" / "README.md",
    ROOT / "serving" / "README.md",
    *sorted((ROOT / "examples").rglob("README.md")),
]
ALL = [page for page in (*PAGES, *BESIDE) if page.exists()]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SHELL = {"|", "||", "&&", ";", "&", ">", "<"}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> list[str]:
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [text for language, text in found if language in languages]


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "generate_reference", DOCS / "generate_reference.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands_in(text: str) -> list[tuple[list[str], str]]:
    """Returns the words after each `tfapp` of shell text, and what is shown as its output.

    Where commands have a prompt, the other lines are output.
    """
    lines = text.replace("\\\n", " ").splitlines(keepends=True)
    if not any(line.startswith("$ ") for line in lines):
        return [(words, "") for line in lines for words in _commands_in_line(line)]
    found = []
    for typed in re.split(r"^\$ ", "".join(lines), flags=re.MULTILINE)[1:]:
        line, _, output = typed.partition("\n")
        found += [(words, output) for words in _commands_in_line(line)]
    return found


def _commands_in_line(line: str) -> list[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    simple: list[list[str]] = [[]]
    for word in lexer:
        if word in SHELL:
            simple.append([])
        elif simple[-1] or not re.match(r"\w+=", word):  # variables in front are left out
            simple[-1].append(word)
    return [words[1:] for words in simple if words[:1] == ["tfapp"]]


def test_every_part_that_is_generated_has_its_place():
    parts = load_generator()
    placed = {part for page in PAGES for part in parts.PART.findall(page.read_text("utf-8"))}
    assert placed == set(parts.PARTS)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_generated_parts_are_what_the_code_says(page):
    text = page.read_text(encoding="utf-8")
    assert load_generator().with_parts(text) == text, "run: python docs/generate_reference.py"


def test_every_command_and_option_is_in_the_reference():
    parts = load_generator()
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    for _, context in parts.commands():
        part = text.split(f"\n### {context.command_path}\n")[1].split("\n### ")[0]
        for option in context.command.params:
            if isinstance(option, click.Option):
                assert re.search(rf"{option.opts[0]}\b", part), option.opts[0]


def test_every_config_key_is_in_the_reference():
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    for name, section in load_generator().sections():
        part = text.split(f"### `[{name}]`" if name else "### Top level")[1].split("\n### ")[0]
        for key, field in section.model_fields.items():
            inner = f"[{name}.{key}]" if name else f"[{key}]"
            assert f"| `{field.alias or key}` |" in part or f"### `{inner}`" in text
            assert field.description is None or field.description in part


def test_every_known_name_is_in_the_reference():
    text = (DOCS / "configuration.md").read_text(encoding="utf-8")
    known = (*names.LOSSES, names.OUTPUT_LOSS, *names.METRICS, *names.OPTIMIZERS, *names.SCHEDULES)
    assert [name for name in known if f"`{name}`" not in text] == []


@pytest.mark.parametrize("page", ["cli.md", "errors.md"])
def test_every_exit_code_is_explained(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    assert re.findall(r"^\| (\d+) \|", text, re.MULTILINE) == [str(int(c)) for c in ExitCode]


@pytest.mark.parametrize("page", ALL, ids=name_of)
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"\w+:", link):
            continue
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), link
        if anchor:
            titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {slug(title) for title in titles}, link


def slug(title: str) -> str:
    """Returns the anchor that MkDocs and GitHub give a heading of plain words."""
    return re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_page_is_in_the_navigation_and_in_the_index(page):
    assert f": {page.name}\n" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    assert page.name == "index.md" or f"({page.name})" in index


COMMANDS = [
    pytest.param(words, output, id=f"{name_of(page)}: tfapp {shlex.join(words)}")
    for page in ALL
    for text in blocks(page, "console", "bash")
    for words, output in commands_in(text)
]


def test_commands_are_found():
    assert len(COMMANDS) > 30


@pytest.mark.parametrize(("words", "output"), COMMANDS)
def test_command_parses(words, output, monkeypatch):
    monkeypatch.chdir(ROOT)
    context, rest = cli.make_context("tfapp", [], resilient_parsing=True), list(words)
    while isinstance(context.command, click.Group):
        name = rest.pop(0)
        command = context.command.get_command(context, name)
        assert command is not None, name
        context = click.Context(command, info_name=name, parent=context)
    given = context.command.make_context(context.info_name, rest, parent=context.parent).params
    if file := given.get("config"):
        assert file.exists() or file.parts[0] != "examples"
        file = file if file.exists() else None
    if "assignments" not in given:
        return
    named = {key: given[option] for option, key in KEYS.items() if given.get(option)}
    try:
        load_config(file, given["assignments"], overrides=named)
    except ConfigError as error:  # a mistake is shown on purpose, with its answer
        for shown, said in zip(output.splitlines(), error.problems, strict=True):
            assert f"error: {said}".startswith(shown.removesuffix("…"))
            assert shown.endswith(("…", said))


CONFIGS = [
    pytest.param(text, id=f"{name_of(page)}: {text.splitlines()[0]}")
    for page in ALL
    for text in blocks(page, "toml")
]


@pytest.mark.parametrize("text", CONFIGS)
def test_config_is_valid(text, tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="utf-8")
    load_config(file)


@pytest.mark.parametrize(
    "file", sorted((ROOT / "examples").glob("*.toml")), ids=lambda file: file.name
)
def test_example_is_valid_and_names_its_command(file):
    load_config(file)
    first = file.read_text(encoding="utf-8").splitlines()[0]
    tune = "--tune " * (load_config(file).tune is not None)
    assert first.startswith(f"# tfapp train {tune}examples/{file.name}")


def test_python_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {"__name__": "docs_python"}
    monkeypatch.setitem(sys.modules, "docs_python", ModuleType("docs_python"))
    texts = blocks(DOCS / "python.md", "python")
    assert texts
    for number, text in enumerate(texts, 1):
        exec(compile(text, f"docs/python.md, block {number}", "exec"), scope)
