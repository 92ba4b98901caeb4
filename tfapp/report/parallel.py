"""Parallel coordinates: a line for each trial, an axis for each hyperparameter.

The axes lie, one under the other, so that any number of them fits on a phone and their names, which
are long, stand over them. The last one is that of the score, and the key to the colors.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tfapp.report.search_scales import (
    ScoreScale,
    Tick,
    place_of,
    scale_of,
    scored,
    short_names,
    thinned,
    ticks_of,
)
from tfapp.report.search_style import (
    BEST,
    GROUND,
    SMALL,
    WIDTH,
    WITHOUT_SCORE,
    best_handle,
    color_of,
    draw_legend,
    score_colors,
    spaced,
)
from tfapp.report.svg import plain
from tfapp.trials import Search, Trial

MOST_LINES = 200
_HEIGHT = 0.72  # inches of an axis with its words
_STRIP = 0.11  # height of the key to the colors, in distances of axes


@dataclass(frozen=True)
class Line:
    """The line of a trial.

    Attributes:
        trial: Whose it is.
        places: From 0 to 1 on each axis, the last of them that of the score; `None` where a
            hyperparameter takes no part, and for a trial without a score.
    """

    trial: Trial
    places: tuple[float | None, ...]


def parallel_lines(search: Search) -> list[Line]:
    """Returns the lines of a search in the order in which they are drawn: the best is the last."""
    scores = {trial.number: score for trial, score in scored(search)}
    ends = {number: scale_of(search).place(score) for number, score in scores.items()}
    return [
        Line(trial, (*_places(search, trial), ends.get(trial.number)))
        for trial in thinned(search.ranked(), MOST_LINES)[::-1]
    ]


def parallel_figure(search: Search) -> Figure:
    """Draws the lines of a search with at least one trial."""
    lines = parallel_lines(search)
    names = list(short_names(search.space).values())
    rows = len(names) + bool(scored(search))
    figure = Figure(figsize=(WIDTH, _HEIGHT * rows + 0.25), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(-0.04, 1.04)
    axes.set_ylim(1 - rows - 0.5, 0.42)
    for row, (name, hyperparameter) in enumerate(zip(names, search.space.values(), strict=True)):
        _draw_axis(axes, -row, name, ticks_of(hyperparameter))
    if scored(search):
        _draw_key(axes, -len(names), search, scale_of(search))
    _draw_lines(axes, lines, search)
    axes.set_title("Parallel coordinates", fontsize=9.5, loc="left", fontweight="bold")
    handles = best_handle(search, color=BEST, linewidth=2.4)
    if any(line.places[-1] is None for line in lines):
        label = "trial without a score"
        handles.append(Line2D([], [], color=WITHOUT_SCORE, linestyle="--", label=label))
    draw_legend(figure, handles)
    return figure


def _places(search: Search, trial: Trial) -> list[float | None]:
    return [
        place_of(hyperparameter, trial.values[key]) if key in trial.values else None
        for key, hyperparameter in search.space.items()
    ]


def _draw_axis(axes: Axes, height: float, name: str, ticks: Sequence[Tick]) -> None:
    """Draws a level axis; the words have a ground of their own, or lines would run through them."""
    axes.plot([0, 1], [height, height], color="#333333", linewidth=1.0, zorder=3)
    words: dict[str, Any] = {"zorder": 5, "bbox": GROUND}
    axes.text(0, height + 0.14, plain(name), fontsize=SMALL, fontweight="bold", **words)
    labels = spaced([tick.label for tick in ticks])
    for tick, label in zip(ticks, labels, strict=True):
        axes.plot([tick.place] * 2, [height - 0.05, height], color="#333333", linewidth=1.0)
        side = "left" if tick.place < 0.03 else "right" if tick.place > 0.97 else "center"
        text = axes.text(tick.place, height - 0.09, plain(label), ha=side, va="top", **words)
        text.set_fontsize(SMALL - 0.5)


def _draw_key(axes: Axes, height: float, search: Search, scale: ScoreScale) -> None:
    """Draws the axis of the score, with a strip of the colors in it."""
    count = score_colors(search).N
    axes.broken_barh(
        [(step / count, 1 / count) for step in range(count)],
        (height, _STRIP),
        facecolors=[color_of(search, (step + 0.5) / count) for step in range(count)],
        edgecolors="face",
        linewidth=0.3,
        zorder=2.9,
    )
    ends = {"max": (0.0, "≤ "), "min": (1.0, "≥ ")}
    cut, sign = ends[search.direction]
    ticks = [
        replace(tick, label=sign + tick.label) if scale.beyond and tick.place == cut else tick
        for tick in scale.ticks()
    ]
    _draw_axis(axes, height, search.objective, ticks)


def _draw_lines(axes: Axes, lines: Sequence[Line], search: Search) -> None:
    best = search.best
    thin = 1.1 if len(lines) <= 60 else 0.7
    for order, line in enumerate(lines):
        end = line.places[-1]
        color, width = (WITHOUT_SCORE, 0.8) if end is None else (color_of(search, end), thin)
        if best is not None and line.trial.number == best.number:
            color, width = BEST, 2.4
        depth = 1 + order / len(lines) + (color == BEST)
        runs = _runs(line.places)
        axes.add_collection(
            LineCollection(
                [run for run in runs if len(run) > 1],
                colors=color,
                linewidths=width,
                linestyles="--" if end is None else "-",
                alpha=1.0 if color == BEST else 0.75,
                zorder=depth,
            )
        )
        for run in runs:
            if len(run) == 1:  # between two gaps there is no line to see
                axes.plot(*run[0], "o", color=color, markersize=3, zorder=depth)


def _runs(places: Sequence[float | None]) -> list[list[tuple[float, float]]]:
    """Returns the points of a line in pieces: it has a gap where it has no place."""
    points = [(place, -row) for row, place in enumerate(places)]
    return [
        [(place, row) for place, row in run if place is not None]
        for there, run in itertools.groupby(points, lambda point: point[0] is not None)
        if there
    ]
