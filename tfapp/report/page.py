"""A page of HTML in one file: it needs no network, no script and no other file.

    page = Page("quadratic", summary=(Verdict("agrees", "ok"),), sections=(
        Section("Losses", (Picture(draw_lines(panel), "two falling curves that coincide"),)),
    ))
    write_page(page, Path("quadratic.html"))

A page is given as plain data; what it means is known to whoever makes it. Every text is escaped.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tfapp.errors import UsageError, storage_errors
from tfapp.report.inline import inline_svg
from tfapp.runs import write_whole

_SUFFIXES = (".html", ".htm")
# In the head of the template.
_MARK = b'<meta name="generator" content="tfapp">'
_START = 1024


@dataclass(frozen=True)
class Verdict:
    """How something came out, as a badge.

    Attributes:
        text: A word or two; it says all, the color only repeats it.
        kind: `ok`, `differs`, or `missing` if there was nothing to judge. A row of a table in which
            something differs stands out, one in which something is missing stands back.
    """

    text: str
    kind: Literal["ok", "differs", "missing"]


@dataclass(frozen=True)
class Text:
    """A paragraph.

    Attributes:
        text: Its words.
    """

    text: str


@dataclass(frozen=True)
class Table:
    """A table; where it is wider than the page, it is scrolled in a box of its own.

    Attributes:
        columns: Their headings; the first column names the rows.
        rows: A cell for each column.
        caption: What the table shows.
        numeric: Headings of the columns that are set flush right.
        notes: Sentences under it.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str | Verdict]]
    caption: str
    numeric: Collection[str] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Picture:
    """A figure.

    Attributes:
        svg: As a function of this package returns it; it is not escaped.
        alt: What it shows, for those who do not see it.
        caption: Stands under it.
    """

    svg: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Code:
    """A piece of a program or of a file.

    Attributes:
        source: Its lines.
        title: Stands over it.
        language: Such as `Python`.
    """

    source: str
    title: str
    language: str = ""


@dataclass(frozen=True)
class Columns:
    """Blocks side by side; under each other where there is no room.

    Attributes:
        blocks: From left to right.
    """

    blocks: Sequence[Text | Table | Picture | Code]


Block = Text | Table | Picture | Code | Verdict | Columns


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading.

    Attributes:
        title: The heading; a link to the section ends in `#` and its words.
        blocks: What it holds.
        verdict: Stands beside the heading, and in the table of contents.
    """

    title: str
    blocks: Sequence[Block]
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes:
        title: Of the window, and the first heading.
        sections: Its parts; a table of contents leads to them if there are several.
        summary: What stands before them.
        footer: The last line, such as who wrote the page, on what, and when.
    """

    title: str
    sections: Sequence[Section]
    summary: Sequence[Block] = ()
    footer: str = ""


def render_page(page: Page) -> str:
    """Returns a page as HTML; the same page gives the same text."""
    pictures = itertools.count(1)

    def inline(picture: Picture) -> Markup:
        return Markup(inline_svg(picture.svg, picture.alt, f"picture-{next(pictures)}-"))

    environment = Environment(
        loader=ChoiceLoader([PackageLoader("tfapp.report"), PackageLoader("tfapp")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["kind"] = lambda block, name: type(block).__name__ == name
    environment.tests["verdict"] = lambda cell: isinstance(cell, Verdict)
    template = environment.get_template("page.html")
    anchors = _anchors([section.title for section in page.sections])
    return template.render(page=page, anchors=anchors, inline=inline)


def write_page(page: Page, path: Path) -> Path:
    """Writes a page, whole or not at all; a missing folder is made.

    Raises:
        UsageError: `path` is no name of an HTML file.
        StorageError: The disk refused.
    """
    check_page_path(path)
    content = render_page(page)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    # A file name can hold what is no character; a page cannot.
    write_whole(path, content.encode(errors="replace"))
    return path


def check_page_path(path: Path) -> None:
    """Refuses what `write_page` would refuse, before the work that fills the page.

    Raises:
        UsageError: `path` is a folder, its name does not end in `.html`, or it is a file that is
            there and was not written by `write_page`.
        StorageError: Its folder may not be looked into.
    """
    with storage_errors(path):
        is_folder = path.is_dir()
    if is_folder:
        raise UsageError(f"{path} is a folder; name a file in it, such as {path / 'report.html'}.")
    if path.suffix.lower() not in _SUFFIXES:
        raise UsageError(
            f"{path}: a page is an HTML file; give a name such as {path.with_suffix('.html')}."
        )
    with storage_errors(path):
        foreign = path.exists() and not _is_ours(path)
    if foreign:
        raise UsageError(
            f"{path} is there and is no page of tfapp; nothing in it was changed. Give the page"
            " another name."
        )


def _is_ours(path: Path) -> bool:
    """Tells whether a file was written by `write_page`, or is empty and so loses nothing."""
    with path.open("rb") as file:
        start = file.read(_START)
    return not start or _MARK in start


def _anchors(titles: Sequence[str]) -> list[str]:
    """Returns the words of each title as an id; a number is added where one comes again."""
    anchors: list[str] = []
    for title in titles:
        words = re.findall(r"\w+", title.lower())
        base = "-".join(words) or "section"
        numbered = (f"{base}-{number}" for number in itertools.count(2))
        anchors.append(next(a for a in itertools.chain([base], numbered) if a not in anchors))
    return anchors
