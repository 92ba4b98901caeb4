"""Curves over steps, as SVG text for a page.

Engines that agree lie on each other. So that each is seen, a curve is drawn thinner than those
under it and has its marker at steps of its own; and what a logarithmic axis has no place for, 0 and
what is not finite, stands in a band at its edge, a lane for each curve.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator, ScalarFormatter

from tfapp.report.svg import plain, svg_text

# Source: Okabe and Ito, "Color Universal Design", 2008; gray instead of yellow, hard to see.
_COLORS = (
    *("#000000", "#e69f00", "#56b4e9", "#009e73"),
    *("#0072b2", "#d55e00", "#cc79a7", "#808080"),
)
_MARKERS = "os^DvPX"
_SIZE = (4.2, 3.2)  # inches; a phone shows them at five sixths
_SMALL = 8.0
_THINNEST, _THICKEST = 1.0, 2.6
_SMALLEST, _BIGGEST = 4.2, 6.2
_MARKED = 4  # markers of a curve
# Shares of the height of the axes.
_LANE, _NARROWEST_BAND, _WIDEST_BAND, _BAR = 0.028, 0.11, 0.3, 0.02
_MOST_DECADES = 7
_MOST = 1e250  # the room around greater numbers would overflow


@dataclass(frozen=True)
class Curve:
    """Values over steps.

    Attributes:
        name: Of who computed them.
        steps: Rising.
        values: As many.
        tolerance: How large they may be; a dashed line.
    """

    name: str
    steps: Sequence[int]
    values: Sequence[float]
    tolerance: float | None = None


@dataclass(frozen=True)
class Panel:
    """Curves that share their axes.

    Attributes:
        title: Stands over them.
        ylabel: What the values are.
        curves: Drawn in this order, the last one on top.
        log: Whether the axis of the values is logarithmic, which it cannot be below 0.
        zero: What a value of 0 means, written where a logarithmic axis shows it.
        xlabel: What the steps are.
    """

    title: str
    ylabel: str
    curves: Sequence[Curve]
    log: bool = False
    zero: str = "0"
    xlabel: str = "step"


@dataclass(frozen=True)
class _Style:
    color: str
    marker: str


def draw_lines(panel: Panel, *, names: Sequence[str] = ()) -> str:
    """Draws curves.

    Args:
        panel: What to draw; it may hold NaN and infinities.
        names: Of all curves of a page, so that a name has its color in each of the page's figures.

    Returns:
        SVG, for `tfapp.report.page.Picture`.
    """
    styles = _styles([*names, *(curve.name for curve in panel.curves)])
    values = [value for curve in panel.curves for value in curve.values]
    logarithmic = panel.log and not any(value < 0 for value in values)
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    axes.autoscale(False)
    _draw_curves(axes, panel.curves, styles, logarithmic)
    tolerances = _draw_tolerances(axes, panel.curves, styles, logarithmic)
    zeros = _lanes(panel.curves, lambda value: logarithmic and value == 0)
    broken = _lanes(panel.curves, lambda value: not abs(value) <= _MOST)
    below, above = _height(len(zeros)), _height(len(broken))
    shown = [value for value in values if _has_place(value, logarithmic)]
    _set_limits(axes, [*shown, *tolerances], below, above, logarithmic)
    _draw_band(axes, zeros, styles, (0, below), panel.zero, "#eef1f4")
    _draw_band(axes, broken, styles, (1 - above, above), "NaN, ∞", "#fbe9e7")
    _dress(axes, panel)
    _draw_legend(figure, panel.curves, styles, with_tolerance=bool(tolerances))
    return svg_text(figure)


def _height(lanes: int) -> float:
    return min(max(_LANE * lanes, _NARROWEST_BAND), _WIDEST_BAND) if lanes else 0.0


def _has_place(value: float, logarithmic: bool) -> bool:
    return abs(value) <= _MOST and not (logarithmic and value == 0)


def _styles(names: Sequence[str]) -> dict[str, _Style]:
    """Returns how each name looks; no two look the same before the 57th."""
    return {
        name: _Style(_COLORS[place % len(_COLORS)], _MARKERS[place % len(_MARKERS)])
        for place, name in enumerate(dict.fromkeys(names))
    }


def _draw_curves(
    axes: Axes, curves: Sequence[Curve], styles: Mapping[str, _Style], logarithmic: bool
) -> None:
    if logarithmic:
        axes.set_yscale("log")
    for place, curve in enumerate(curves):
        under = 1 - (place + 1) / len(curves)
        style = styles[curve.name]
        drawn = [_has_place(value, logarithmic) for value in curve.values]
        axes.plot(
            curve.steps,
            [v if there else math.nan for v, there in zip(curve.values, drawn, strict=True)],
            color=style.color,
            linewidth=_THINNEST + under * (_THICKEST - _THINNEST),
            solid_capstyle="butt",
            marker=style.marker,
            markersize=_SMALLEST + under * (_BIGGEST - _SMALLEST),
            markeredgecolor="white",
            markeredgewidth=0.4,
            markevery=_marked(drawn, place, len(curves)),
        )


def _marked(drawn: Sequence[bool], place: int, curves: int) -> list[int]:
    """Returns which points get a marker: a few, not those of other curves, and lonely ones."""
    every = max(len(drawn) // _MARKED, 1)
    chosen = range(place * every // curves, len(drawn), every)
    beside = [False, *drawn, False]
    lonely = [i for i in range(len(drawn)) if not (beside[i] or beside[i + 2])]
    return sorted({*chosen, *lonely})


def _draw_tolerances(
    axes: Axes, curves: Sequence[Curve], styles: Mapping[str, _Style], logarithmic: bool
) -> list[float]:
    """Draws dashed lines, in turns where several curves have the same, and returns their values."""
    sharing: dict[float, list[str]] = {}
    for curve in curves:
        allowed = curve.tolerance
        if allowed is not None and _has_place(allowed, logarithmic):
            sharing.setdefault(allowed, []).append(curve.name)
    for allowed, names in sharing.items():
        for turn, name in enumerate(names):
            dashes = (5 * turn, (3, 2 + 5 * (len(names) - 1)))
            axes.axhline(allowed, color=styles[name].color, linewidth=1.1, linestyle=dashes)
    return list(sharing)


def _lanes(
    curves: Sequence[Curve], belongs: Callable[[float], bool]
) -> dict[str, list[tuple[float, float]]]:
    """Returns by name where values belong to a band, as starts and widths; only names with any."""
    lanes = {}
    for curve in curves:
        gaps = [after - before for before, after in itertools.pairwise(curve.steps)]
        half = min(gaps, default=1) / 2
        runs: list[tuple[float, float]] = []
        points = zip(curve.steps, curve.values, strict=True)
        for inside, run in itertools.groupby(points, lambda point: belongs(point[1])):
            steps = [step for step, _ in run]
            if inside:
                runs.append((steps[0] - half, steps[-1] - steps[0] + 2 * half))
        if runs:
            lanes[curve.name] = runs
    return lanes


def _set_limits(
    axes: Axes, values: Sequence[float], below: float, above: float, logarithmic: bool
) -> None:
    """Leaves room for the bands under and over the values, and puts ticks beside values only."""
    low, high = (_logarithmic_ticks if logarithmic else _linear_ticks)(axes, values)
    whole = (high - low) / (1 - below - above)
    limits = low - below * whole, high + max(above, 0.02) * whole
    axes.set_ylim(*(10.0**limit for limit in limits) if logarithmic else limits)


def _logarithmic_ticks(axes: Axes, values: Sequence[float]) -> tuple[float, float]:
    """Puts ticks at powers of ten, and returns the exponents of the first and the last."""
    low = math.floor(math.log10(max(min(values, default=1), 1 / _MOST)))
    high = max(math.ceil(math.log10(max(values, default=1))), low + 1)
    every = -(-(high - low) // _MOST_DECADES)
    ticks = [10.0**power for power in range(low, high + 1, every)] if values else []
    form = "g" if low > -5 and high < 6 else ".0e"
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(
        FuncFormatter(lambda value, _: format(value, form).removesuffix("e+00"))
    )
    return low, high


def _linear_ticks(axes: Axes, values: Sequence[float]) -> tuple[float, float]:
    """Puts ticks at round numbers, and returns the range that they are in."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    # Never so narrow that ticks would need more digits than can be read.
    margin = max((high - low) / 20, abs(high) / 1000) or 1.0
    low, high = low - margin, high + margin
    ticks = [tick for tick in MaxNLocator(6).tick_values(low, high) if low <= tick <= high]
    axes.yaxis.set_major_locator(FixedLocator(ticks))
    axes.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))
    return low, high


def _draw_band(
    axes: Axes,
    lanes: Mapping[str, Sequence[tuple[float, float]]],
    styles: Mapping[str, _Style],
    band: tuple[float, float],
    label: str,
    color: str,
) -> None:
    """Draws a band; `band` is where it begins and how high it is, in shares of the axes."""
    if not lanes:
        return
    bottom, height = band
    ground = Rectangle((0, bottom), 1, height, color=color, transform=axes.transAxes, zorder=0)
    axes.add_patch(ground)
    lane = height / len(lanes)
    for row, (name, runs) in enumerate(lanes.items()):
        bar = min(0.7 * lane, _BAR)
        axes.broken_barh(
            runs,
            (bottom + height - (row + 0.5) * lane - bar / 2, bar),
            facecolors=styles[name].color,
            transform=axes.get_xaxis_transform(),
        )
    middle = bottom + height / 2
    axes.annotate(
        plain(label),
        (0, middle),
        (-5, 0),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=_SMALL,
        fontweight="bold",
    )


def _dress(axes: Axes, panel: Panel) -> None:
    steps = [step for curve in panel.curves for step in curve.steps]
    first, last = min(steps, default=0), max(steps, default=1)
    margin = max((last - first) / 40, 0.5)
    axes.set_xlim(first - margin, last + margin)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_title(plain(panel.title), fontsize=9.5, loc="left", fontweight="bold")
    axes.set_xlabel(panel.xlabel, fontsize=_SMALL)
    axes.set_ylabel(plain(panel.ylabel), fontsize=_SMALL)
    axes.tick_params(labelsize=_SMALL)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_legend(
    figure: Figure, curves: Sequence[Curve], styles: Mapping[str, _Style], *, with_tolerance: bool
) -> None:
    handles = [
        Line2D([], [], color=style.color, marker=style.marker, markersize=4, label=plain(name))
        for name, style in ((curve.name, styles[curve.name]) for curve in curves)
    ]
    if with_tolerance:
        dashed = Line2D([], [], color="#555555", linestyle=(0, (3, 2)), label="tolerance")
        handles.append(dashed)
    for columns in range(min(max(len(handles), 1), 4), 0, -1):
        legend = figure.legend(
            handles=handles,
            loc="outside lower left",
            ncols=columns,
            fontsize=_SMALL,
            frameon=False,
            handlelength=1.8,
            columnspacing=1.2,
        )
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()
