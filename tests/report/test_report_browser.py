"""A page as a browser lays it out."""

from __future__ import annotations

import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tfapp.report.bars import Bar, bars_svg
from tfapp.report.lines import Curve, Panel, draw_lines
from tfapp.report.page import (
    Code,
    Columns,
    Page,
    Picture,
    Section,
    Table,
    Text,
    Verdict,
    render_page,
)

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), None)
PHONE = 390
# A window cannot be as narrow as a phone, a frame can; and the page itself gets no script.
FRAME = """<!doctype html><title></title>
<iframe width="{width}" height="20000" style="border: 0" srcdoc="{page}"></iframe>
<script>onload = () => {{
  const frame = document.querySelector('iframe'), page = frame.contentDocument;
  const boxes = [...page.querySelectorAll('.table, .card, pre')];
  document.title = [
    frame.contentWindow.innerWidth, page.documentElement.scrollWidth,
    Math.min(...[...page.querySelectorAll('svg')].map(svg => svg.getBoundingClientRect().width)),
    boxes.filter(box => box.scrollWidth > box.clientWidth).length,
  ].map(Math.floor).join(' ');
}}</script>"""

pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"needs one of {', '.join(NAMES)}")


def wide_page() -> Page:
    """Everything that could be wider than a phone: words, tables, code, figures."""
    word = "x" * 200
    curves = [Curve(f"engine {n}", (1, 2, 3), (0.0, 1e-7, 2e-7), 1e-6) for n in range(8)]
    picture = Picture(draw_lines(Panel("differences", "max|d|", curves, log=True)), "a", word)
    bars = Picture(bars_svg({"a": [Bar("b" * 40, 3.0, 2.0, 4.0)]}, unit="ms"), "bars")
    table = Table([f"column {n}" for n in range(12)], [["a wide cell"] * 12, [word] * 12], word)
    blocks = (Text(word), table, Columns((picture, picture)), bars)
    code = Columns((Code(word, "long", "TF1"), Code(word, word, "TF2")))
    sections = (Section(word, blocks, Verdict("agrees", "ok")), Section("Code", (code,)))
    return Page(word, sections, (Text(word),), word)


def measure(page: str, folder: Path, width: int) -> list[int]:
    """Returns widths of window, page and narrowest figure, and how many boxes scroll."""
    assert BROWSER is not None
    file = folder / "frame.html"
    file.write_text(FRAME.format(width=width, page=html.escape(page)))
    options = (
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *(f"--user-data-dir={folder / 'browser'}", "--dump-dom"),
    )
    command = [BROWSER, *options, file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<title>([\d ]+)</title>", done.stdout)
    assert found, done.stderr
    return [int(number) for number in found[1].split()]


def test_a_page_is_never_wider_than_a_phone(tmp_path):
    window, page, figure, scrolling = measure(render_page(wide_page()), tmp_path, PHONE)
    assert window == PHONE
    assert page <= PHONE
    assert figure > 0.8 * PHONE, "figures have most of the width"
    assert scrolling == 4, "a table, a wide figure and two programs, each in a box of its own"
