"""What a page says: its headings, its tables, its figures, its words."""

from __future__ import annotations

import html
import re
from pathlib import Path


class ReadPage:
    """A page of HTML as text."""

    def __init__(self, path: Path) -> None:
        self.html = path.read_text(encoding="utf-8")
        body = re.sub(r"(?s)<style>.*?</style>|<!--.*?-->", "", self.html)
        self.words = _plain(body)
        self.headings = [_plain(title) for title in re.findall(r"(?s)<h2>(.*?)</h2>", body)]
        svgs = re.findall(r'(?s)<svg[^>]*aria-label="([^"]*)"(.*?)</svg>', body)
        self.figures = {
            html.unescape(label): [_plain(t) for t in re.findall(r"(?s)<text.*?</text>", inner)]
            for label, inner in svgs
        }
        self._tables = {
            _plain(caption): [
                [_plain(cell) for cell in re.findall(r"(?s)<t[hd][ >].*?</t[hd]>", row)]
                for row in re.findall(r"(?s)<tr.*?</tr>", rows)
            ]
            for caption, rows in re.findall(
                r"(?s)<table.*?<caption>(.*?)</caption>(.*?)</table>", body
            )
        }

    def rows(self, caption: str) -> list[dict[str, str]]:
        """Returns the rows of the table whose caption begins so, by its headings."""
        (found,) = [rows for title, rows in self._tables.items() if title.startswith(caption)]
        return [dict(zip(found[0], row, strict=True)) for row in found[1:]]

    def pairs(self, caption: str) -> dict[str, str]:
        """Returns a table of names and values."""
        return dict(tuple(row.values()) for row in self.rows(caption))


def _plain(text: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())
