"""Pages in a real browser: what a person who looks at one would complain of.

    seen = look(html, tmp_path, PHONE)
    assert complaints(seen) == []

A page has no script. A copy of it gets one line that notes what the page was refused, and is laid
out in a frame, which can be as narrow as a phone; a script around the frame measures it.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), None)
DESKTOP, PHONE = 1200, 390
READABLE = 8.5  # pixels
needs_browser = pytest.mark.skipif(
    BROWSER is None,
    reason=f"no browser: install one of {', '.join(NAMES)}, e.g. apt-get install chromium",
)

_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--dump-dom"),
)
_NOTES_REFUSALS = """<script>
  window.refused = [];
  addEventListener('securitypolicyviolation', event => refused.push(event.blockedURI));
</script>"""
_FRAME = """<!doctype html><meta charset="utf-8"><title></title>
<iframe width="{width}" height="20000" style="border: 0" srcdoc="{page}"></iframe>
<pre id="seen"></pre>
<script>onload = () => {{
  const frame = document.querySelector('iframe');
  const view = frame.contentWindow, page = frame.contentDocument;
  const all = (where, what) => [...where.querySelectorAll(what)];
  const box = element => {{
    const {{left, top, right, bottom}} = element.getBoundingClientRect();
    return [left, top, right, bottom];
  }};
  const text = element => {{
    const matrix = element.getScreenCTM(), scale = Math.hypot(matrix.a, matrix.b);
    return {{
      words: element.textContent, box: box(element), turned: Math.abs(matrix.b) > 1e-6,
      pixels: parseFloat(view.getComputedStyle(element).fontSize) * scale,
    }};
  }};
  document.getElementById('seen').textContent = JSON.stringify({{
    window: view.innerWidth,
    width: page.documentElement.scrollWidth,
    headings: all(page, 'h1, h2').map(heading => heading.innerText.trim()),
    figures: all(page, 'svg').map(svg => ({{
      label: svg.getAttribute('aria-label'), box: box(svg),
      texts: all(svg, 'text').map(text), images: all(svg, 'image').map(box),
    }})),
    scrolling: all(page, '.table, .card, pre')
      .filter(part => part.scrollWidth > part.clientWidth)
      .map(part => part.className || part.tagName.toLowerCase()),
    requests: [...new Set(
      [...view.refused, ...view.performance.getEntriesByType('resource').map(r => r.name)]
    )],
  }});
}}</script>"""


@dataclass(frozen=True)
class Text:
    """Words in a figure; `box` is left, top, right, bottom in pixels, `pixels` their size."""

    words: str
    box: list[float]
    turned: bool
    pixels: float


@dataclass(frozen=True)
class Figure:
    """A figure of a page; `images` are the boxes of the bitmaps in it."""

    label: str
    box: list[float]
    texts: list[Text]
    images: list[list[float]]

    @property
    def width(self) -> float:
        return self.box[2] - self.box[0]


@dataclass(frozen=True)
class Seen:
    """A page as it is laid out: widths in pixels, and what it asked others for."""

    window: int
    width: int
    headings: list[str]
    figures: list[Figure]
    scrolling: list[str]
    requests: list[str]


def look(page: str, folder: Path, width: int) -> Seen:
    """Lays out a page of HTML in a window of some width.

    Args:
        page: The HTML.
        folder: For the browser's files.
        width: Of the window, pixels.
    """
    assert BROWSER is not None
    assert page.count("<head>") == 1
    copy = page.replace("<head>", f"<head>{_NOTES_REFUSALS}")
    file = folder / f"frame-{width}.html"
    file.write_text(_FRAME.format(width=width, page=html.escape(copy)), encoding="utf-8")
    command = [BROWSER, *_OPTIONS, f"--user-data-dir={folder / 'browser'}", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r'<pre id="seen">(\{.*?\})</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr
    told = json.loads(html.unescape(found[1]))
    figures = [
        Figure(f["label"], f["box"], [Text(**text) for text in f["texts"]], f["images"])
        for f in told.pop("figures")
    ]
    return Seen(figures=figures, **told)


def complaints(seen: Seen) -> list[str]:
    """Returns in sentences what is wrong with a page, whatever it shows."""
    found = [f"it asks for {address}" for address in seen.requests]
    if seen.width > seen.window:
        found.append(f"it is {seen.width} pixels wide in a window of {seen.window}")
    return found + [f"{figure.label}: {what}" for figure in seen.figures for what in _wrong(figure)]


def _wrong(figure: Figure) -> list[str]:
    if min(_sides(figure.box)) < 20:
        return ["its size is {:.0f} x {:.0f} pixels".format(*_sides(figure.box))]
    found = ["an image in it has no size" for box in figure.images if min(_sides(box)) < 1]
    found += ["an image in it is cut off" for box in figure.images if not _inside(box, figure.box)]
    for text in figure.texts:
        if not _inside(text.box, figure.box):
            found.append(f"{text.words!r} is cut off")
        if text.pixels < READABLE:
            found.append(f"{text.words!r} has {text.pixels:.1f} pixels")
    straight = [text for text in figure.texts if not text.turned]
    for place, text in enumerate(straight):
        over = [other for other in straight[:place] if _overlap(text.box, other.box)]
        found += [f"{text.words!r} lies over {other.words!r}" for other in over]
    return found


def _sides(box: Sequence[float]) -> tuple[float, float]:
    return box[2] - box[0], box[3] - box[1]


def _inside(box: Sequence[float], outer: Sequence[float]) -> bool:
    """Tells whether a box is in another, but for what rounding and the blank of letters add."""
    return all(a >= b - 2 for a, b in zip(box[:2], outer[:2], strict=True)) and all(
        a <= b + 2 for a, b in zip(box[2:], outer[2:], strict=True)
    )


def _overlap(one: Sequence[float], other: Sequence[float]) -> bool:
    """Tells whether two boxes share more than the blank that lines of text have around them."""
    shared = [min(one[i + 2], other[i + 2]) - max(one[i], other[i]) for i in (0, 1)]
    return shared[0] > 1 and shared[1] > 0.4 * min(_sides(one)[1], _sides(other)[1])
