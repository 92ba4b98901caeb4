"""How the figures of a search look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator, ScalarFormatter

from tfapp.report.search_scales import ScoreScale, scale_of, scored
from tfapp.report.svg import plain
from tfapp.trials import Search, Trial

WIDTH = 4.2  # inches, as of the other figures of a page: a phone shows them at five sixths
SMALL = 8.2
# Source: Okabe and Ito, "Color Universal Design", 2008.
TRIAL, FEWER_EPOCHS, BEST, WITHOUT_SCORE = "#0072b2", "#9cc9e6", "#d55e00", "#9a9a9a"
ROUNDS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#000000")
# A figure with more colors than this would hold them as an image, which a page does not show.
_COLORS = 32
_MOST_LETTERS = 56  # side by side
_DOT: dict[str, Any] = {
    "markeredgecolor": "white",
    "markeredgewidth": 0.4,
    "alpha": 0.8,
    "clip_on": False,
}
_MARK: dict[str, Any] = {
    "color": WITHOUT_SCORE,
    "linestyle": "",
    "marker": "|",
    "markersize": 8,
}
# The ground of words that lie on lines.
GROUND: dict[str, Any] = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.8}
STAR: dict[str, Any] = {
    "color": BEST,
    "linestyle": "",
    "marker": "*",
    "markersize": 11,
    "markeredgecolor": "white",
    "markeredgewidth": 0.6,
    "clip_on": False,
}
_ROOM = 0.04  # share of an axis that is left free at its ends


def score_colors(search: Search) -> Colormap:
    """Returns the colors of scores from the lowest to the highest; the best is the darkest."""
    name = "viridis_r" if search.direction == "max" else "viridis"
    return matplotlib.colormaps[name].resampled(_COLORS)


def color_of(search: Search, place: float) -> tuple[float, ...]:
    """Returns the color of a score by its place, from 0 to 1."""
    return score_colors(search)(min(place, 1 - 1e-9))


def spaced(labels: Sequence[str]) -> list[str]:
    """Returns labels that have room side by side: what is too long ends in an ellipsis."""
    most = max(_MOST_LETTERS // max(len(labels), 1), 2)
    return [label if len(label) <= most else f"{label[: most - 1]}…" for label in labels]


def new_figure(height: float) -> tuple[Figure, Axes]:
    """Returns a figure of the usual width with one pair of axes; the height is in inches."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def dress(axes: Axes, title: str, xlabel: str, ylabel: str) -> None:
    """Gives axes their words and a grid."""
    axes.set_title(plain(title), fontsize=9.5, loc="left", fontweight="bold")
    axes.set_xlabel(plain(xlabel), fontsize=SMALL)
    axes.set_ylabel(plain(ylabel), fontsize=SMALL)
    axes.tick_params(labelsize=SMALL)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def set_score_axis(axes: Axes, scale: ScoreScale) -> None:
    """Makes the vertical axis that of the scores, with some room at both ends."""
    if scale.logarithmic:
        axes.set_yscale("log")
        room = (scale.high / scale.low) ** _ROOM
        axes.set_ylim(scale.low / room, scale.high * room)
        ticks = scale.ticks()
        axes.yaxis.set_major_locator(FixedLocator([tick.value for tick in ticks]))
        axes.yaxis.set_major_formatter(FixedFormatter([tick.label for tick in ticks]))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        room = (scale.high - scale.low) * _ROOM
        axes.set_ylim(scale.low - room, scale.high + room)
        axes.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))


def draw_scores(
    axes: Axes, dots: Sequence[tuple[float, float]], scale: ScoreScale, color: str = TRIAL
) -> None:
    """Draws places and scores as dots; a score beyond the axis is a triangle at its end."""
    for places, marker, size in (
        ([(x, score) for x, score in dots if scale.holds(score)], "o", 4.5),
        ([(x, scale.low) for x, score in dots if score < scale.low], "v", 6.5),
        ([(x, scale.high) for x, score in dots if score > scale.high], "^", 6.5),
    ):
        if places:  # nothing at all would take the room from the axes down to the corner
            xs, scores = zip(*places, strict=True)
            axes.plot(xs, scores, marker, color=color, markersize=size, **_DOT)


def draw_trials(axes: Axes, search: Search, place: Callable[[Trial], float | None]) -> list[Line2D]:
    """Draws dots of the trials, marks at the foot for those without a score, a star for the best.

    Args:
        axes: With the axis of the scores.
        search: With at least one score.
        place: How far to the right a trial stands; `None` where it does not.

    Returns:
        What a legend says of trials that are not like the others.
    """
    scale, most = scale_of(search), max(trial.epochs for trial in search.trials)
    places = {trial.number: x for trial in search.trials if (x := place(trial)) is not None}
    full: list[tuple[float, float]] = []
    short: list[tuple[float, float]] = []
    for trial, score in scored(search):
        if trial.number in places:
            dots = short if trial.bracket and trial.epochs < most else full
            dots.append((places.pop(trial.number), score))
    draw_scores(axes, short, scale, FEWER_EPOCHS)
    draw_scores(axes, full, scale)
    draw_best(axes, search, place)
    handles = []
    if short:
        label = f"fewer than {most} epochs"
        handles.append(Line2D([], [], color=FEWER_EPOCHS, linestyle="", marker="o", label=label))
    if places:  # of those that had no score
        heights = [0.02] * len(places)
        foot = axes.get_xaxis_transform()
        axes.plot(list(places.values()), heights, transform=foot, clip_on=False, **_MARK)
        handles.append(Line2D([], [], label="trial without a score", **_MARK))
    return handles


def draw_best(axes: Axes, search: Search, place: Callable[[Trial], float | None]) -> None:
    """Draws a star where the best trial is, over all else."""
    best = search.best
    x = None if best is None else place(best)
    if best is not None and best.score is not None and x is not None:
        axes.plot(x, best.score, zorder=5, **STAR)


def best_handle(search: Search, **look: Any) -> list[Line2D]:
    """Returns what a legend says of the best trial, if there is one; a star unless `look` says."""
    if search.best is None:
        return []
    return [Line2D([], [], label=f"best: trial {search.best.number}", **(look or STAR))]


def draw_legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    """Draws a legend under the axes."""
    figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=min(max(len(handles), 1), 4),
        fontsize=SMALL,
        frameon=False,
        handlelength=1.6,
        columnspacing=1.2,
    )
