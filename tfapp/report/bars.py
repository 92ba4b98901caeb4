"""Bars with whiskers, as an SVG file or as text for a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfapp.report.svg import plain, svg_text, write_svg

_COLORS = {True: "#e45756", False: "#9ecae9"}
# Beyond this quotient of the longest and the shortest bar, the short ones cannot be seen.
_MOST_LINEAR = 60.0


@dataclass(frozen=True)
class Bar:
    """A measured value with its name.

    Attributes:
        name: Written beside it.
        value: Its length.
        low: Where the whisker begins.
        high: Where it ends.
        highlighted: Whether it has the color that stands out.
    """

    name: str
    value: float
    low: float
    high: float
    highlighted: bool = False


def draw_bars(panels: Mapping[str, Sequence[Bar]], path: Path, *, unit: str) -> Path:
    """Writes the figure of `bars_svg` as a file of its own.

    Args:
        panels: Bars by the title of their panel.
        path: The SVG file to write.
        unit: What the lengths are.

    Raises:
        StorageError: The disk refused.
    """
    return write_svg(_bars(panels, unit), path)


def bars_svg(panels: Mapping[str, Sequence[Bar]], *, unit: str) -> str:
    """Draws one panel of horizontal bars for each entry, the shortest bar on top.

    A panel whose bars differ too much in length has a logarithmic axis, and says so.

    Args:
        panels: Bars by the title of their panel.
        unit: What the lengths are.

    Returns:
        SVG, for `tfapp.report.page.Picture`.
    """
    return svg_text(_bars(panels, unit))


def _bars(panels: Mapping[str, Sequence[Bar]], unit: str) -> Figure:
    shown = {title: sorted(bars, key=lambda bar: bar.value) for title, bars in panels.items()}
    shown = {title: bars for title, bars in shown.items() if bars}
    heights = [len(bars) + 2.5 for bars in shown.values()]
    figure = Figure(figsize=(8.4, 0.24 * sum(heights) + 0.2), layout="constrained")
    if shown:
        grid = figure.subplots(len(shown), 1, squeeze=False, height_ratios=heights)
        for axes, (title, bars) in zip(grid[:, 0], shown.items(), strict=True):
            _draw_panel(axes, title, bars, unit)
    return figure


def _draw_panel(axes: Axes, title: str, bars: Sequence[Bar], unit: str) -> None:
    values = [bar.value for bar in bars]
    whiskers = [[b.value - b.low for b in bars], [b.high - b.value for b in bars]]
    axes.barh(
        range(len(bars)),
        values,
        xerr=whiskers,
        color=[_COLORS[bar.highlighted] for bar in bars],
        error_kw={"elinewidth": 0.9, "capsize": 2, "ecolor": "#444444"},
    )
    logarithmic = values[-1] > _MOST_LINEAR * values[0]
    if logarithmic:
        axes.set_xscale("log")
    else:
        axes.xaxis.set_major_formatter("{x:,.0f}")
    farthest = max(bar.high for bar in bars)
    for row, bar in enumerate(bars):
        text = format(bar.value, ",.0f" if bar.value >= 100 else ".3g")
        axes.annotate(
            text, (bar.high, row), (5, 0), textcoords="offset points", va="center", fontsize=8
        )
    # Room for the numbers on the right.
    axes.set_xlim(right=farthest * (4 if logarithmic else 1.12))
    axes.set_yticks(range(len(bars)), [plain(bar.name) for bar in bars], fontsize=8)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_title(plain(title), fontsize=10, loc="left")
    axes.set_xlabel(f"{unit}, logarithmic" if logarithmic else unit, fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
