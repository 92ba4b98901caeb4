"""Figures in parts: side by side in a file, each a picture of its own on a page.

    plot = Plot("curves", (Drawing("the loss falls", (4.2, 3.4), draw_loss), ...))
    write_plot(plot, run.plots)     # plots/curves.svg
    pictures(plot)                  # blocks of a `tfapp.report.page.Section`

A file is looked at on a wide screen, a page on a phone too, where one part fits but not a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure, SubFigure

from tfapp.report.page import Block, Columns, Picture, Text
from tfapp.report.svg import plain, svg_text, write_svg


@dataclass(frozen=True)
class Drawing:
    """A part of a plot.

    Attributes:
        alt: What it shows, for those who do not see it.
        size: Width and height in inches; a phone shows 4.2 of them without scrolling.
        draw: Draws it into an empty figure.
    """

    alt: str
    size: tuple[float, float]
    draw: Callable[[Figure | SubFigure], None]


@dataclass(frozen=True)
class Plot:
    """A figure of a run.

    Attributes:
        name: Of its file, without the suffix.
        drawings: Its parts, from left to right; at least one.
        title: Stands over the file; a page has headings.
        caption: Stands under the pictures of a page.
    """

    name: str
    drawings: Sequence[Drawing]
    title: str = ""
    caption: str = ""


def write_plot(plot: Plot, folder: Path) -> Path:
    """Writes a plot as one SVG file into a folder, which is made if it is missing.

    Raises:
        StorageError: The disk refused.
    """
    widths = [drawing.size[0] for drawing in plot.drawings]
    height = max(drawing.size[1] for drawing in plot.drawings)
    figure = Figure(figsize=(sum(widths), height), layout="constrained")
    if len(plot.drawings) == 1:
        plot.drawings[0].draw(figure)
    else:
        parts = figure.subfigures(1, len(plot.drawings), squeeze=False, width_ratios=widths)
        for part, drawing in zip(parts[0], plot.drawings, strict=True):
            drawing.draw(part)
    if plot.title:
        figure.suptitle(plain(plot.title), fontsize=10)
    return write_svg(figure, folder / f"{plot.name}.svg")


def pictures(plot: Plot) -> list[Block]:
    """Returns a plot for a page: its parts side by side where there is room, the caption under."""
    drawn = [picture(drawing) for drawing in plot.drawings]
    caption = [Text(plot.caption)] if plot.caption else []
    return [drawn[0] if len(drawn) == 1 else Columns(drawn), *caption]


def picture(drawing: Drawing) -> Picture:
    """Returns a part of a plot for a page."""
    figure = Figure(figsize=drawing.size, layout="constrained")
    drawing.draw(figure)
    return Picture(svg_text(figure), drawing.alt)
