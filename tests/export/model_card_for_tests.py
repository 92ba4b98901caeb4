"""Model cards as a reader sees them, and runs to make them of."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tfapp.config import load_config
from tfapp.runs import Run
from tfapp.training.train import train_model


@dataclass
class Section:
    """What stands under a heading, as a reader of the rendered page sees it."""

    text: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    tables: list[list[list[str]]] = field(default_factory=list)
    blocks: list[str] = field(default_factory=list)

    def table(self, first: str) -> list[list[str]]:
        """The table whose first heading this is, without its header."""
        (found,) = (table for table in self.tables if table[0][0] == first)
        return found[1:]


def plain(token: Token) -> str:
    return "".join(child.content for child in token.children or ())


def parse(text: str) -> dict[str, Section]:
    """Reads a card with a Markdown parser that knows nothing of how it was written."""
    sections = {"": Section()}
    section = sections[""]
    inside: list[str] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        assert not any(child.type == "html_inline" for child in token.children or ())
        assert token.type != "html_block"
        if token.nesting == 1:
            inside.append(token.tag)
            if token.type == "table_open":
                section.tables.append([])
            elif token.type == "tr_open":
                section.tables[-1].append([])
        elif token.nesting == -1:
            inside.pop()
        elif token.type == "fence":
            section.blocks.append(token.content.strip())
        elif token.type == "inline" and inside[-1] in ("h1", "h2", "h3"):
            section = sections.setdefault(plain(token), Section())
        elif token.type == "inline" and inside[-1] in ("th", "td"):
            section.tables[-1][-1].append(plain(token))
        elif token.type == "inline":
            name, colon, value = plain(token).partition(": ")
            bold = "strong_open" in {child.type for child in token.children or ()}
            if "li" in inside and colon and bold:
                section.facts[name] = value
            else:
                section.text.append(plain(token))
    return sections


def card_of(version: Path) -> dict[str, Section]:
    return parse((version / "model_card.md").read_text(encoding="utf-8"))


def train(tmp_path: Path, **settings) -> Run:
    dotted = {key.replace("__", "."): value for key, value in settings.items()}
    small = {"train.epochs": 2, "model.options": {"hidden": [8]}}
    return Run(train_model(load_config(overrides=small | dotted), runs=tmp_path / "runs").path)
