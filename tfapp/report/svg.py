"""From a matplotlib figure to SVG: a file, or text for a page."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from tfapp.errors import storage_errors
from tfapp.runs import write_whole

_NOTHING = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def svg_text(figure: Figure) -> str:
    """Returns a figure as SVG: the same figure gives the same text.

    Its words are text and not outlines of letters, so that they can be searched and read aloud, and
    take the font of the page that they stand on.
    """
    buffer = io.StringIO()
    # Without a salt, ids are drawn anew each time; without metadata, there is no date either.
    # Images put together into one would lose their own pixels.
    with matplotlib.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "tfapp", "image.composite_image": False}
    ):
        figure.savefig(buffer, format="svg", metadata=_NOTHING)
    return buffer.getvalue()


def write_svg(figure: Figure, path: Path) -> Path:
    """Writes a figure as an SVG file that looks the same whatever fonts a viewer has.

    Raises:
        StorageError: The disk refused.
    """
    buffer = io.BytesIO()
    with matplotlib.rc_context({"image.composite_image": False}):
        figure.savefig(buffer, format="svg")
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, buffer.getvalue())
    return path


def plain(text: str) -> str:
    """Keeps matplotlib from reading what stands between dollars as a formula."""
    return text.replace("$", r"\$")
