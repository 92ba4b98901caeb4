"""How a search went: the best so far, the rounds of Hyperband, learning curves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from tfapp.report.search_scales import scale_of, score_scale, scored, thinned
from tfapp.report.search_style import (
    BEST,
    ROUNDS,
    STAR,
    WITHOUT_SCORE,
    best_handle,
    color_of,
    draw_best,
    draw_legend,
    draw_scores,
    draw_trials,
    dress,
    new_figure,
    set_score_axis,
)
from tfapp.trials import Search, Trial

MOST_CURVES = 100
_HEIGHT = 3.2  # inches

Point = tuple[float, float]


def best_so_far(search: Search) -> list[Point]:
    """Returns the number of each trial with a score, and the best score up to it."""
    better = max if search.direction == "max" else min
    points: list[Point] = []
    for trial, score in scored(search):
        points.append((trial.number, better(score, points[-1][1]) if points else score))
    return points


def best_so_far_figure(search: Search) -> Figure:
    """Draws the best score so far over the trials of a search that has any score."""
    figure, axes = _progress_axes(search, "Best so far", "trial")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    points = best_so_far(search)
    last = max(trial.number for trial in search.trials)
    numbers, values = zip(*points, (last, points[-1][1]), strict=True)
    line = axes.step(numbers, values, where="post", color=BEST, linewidth=1.6, label="best so far")
    handles = draw_trials(axes, search, lambda trial: trial.number)
    draw_legend(figure, [*best_handle(search), *line, *handles])
    return figure


def rounds_figure(search: Search) -> Figure:
    """Draws scores over epochs, with a line from each trial to the one that goes on with it."""
    figure, axes = _progress_axes(search, "Rounds of Hyperband", "epochs trained")
    place = {trial.number: (trial.epochs, score) for trial, score in scored(search)}
    axes.set_xticks(sorted({epochs for epochs, _ in place.values()}))
    brackets: dict[int, list[Trial]] = {}
    for trial, _ in scored(search):
        brackets.setdefault(bracket_of(search, trial), []).append(trial)
    handles = []
    for order, (bracket, trials) in enumerate(sorted(brackets.items(), reverse=True)):
        color = ROUNDS[order % len(ROUNDS)]
        for trial in trials:
            if trial.parent in place:
                way = place[trial.parent], place[trial.number]
                axes.plot(*zip(*way, strict=True), color=color, linewidth=1.0)
        draw_scores(axes, [place[trial.number] for trial in trials], scale_of(search), color)
        label = f"bracket {bracket}"
        handles.append(Line2D([], [], color=color, marker="o", markersize=4, label=label))
    draw_best(axes, search, lambda trial: trial.epochs)
    draw_legend(figure, [*best_handle(search), *handles])
    return figure


def _progress_axes(search: Search, title: str, xlabel: str) -> tuple[Figure, Axes]:
    figure, axes = new_figure(_HEIGHT)
    dress(axes, title, xlabel, search.objective)
    set_score_axis(axes, scale_of(search))
    return figure, axes


def bracket_of(search: Search, trial: Trial) -> int:
    """Returns the bracket in which a trial's values were drawn."""
    parents = [parent for parent in search.trials if parent.number == trial.parent]
    return bracket_of(search, parents[0]) if parents else (trial.bracket or (0, 0))[0]


def learning_curve(search: Search, trial: Trial) -> list[Point]:
    """Returns epochs and the objective after each; of a trial's first execution.

    A trial that goes on with another has the epochs that it took over from that one, too.
    """
    split = "validation" if search.objective.startswith("val_") else "train"
    name = search.objective.removeprefix("val_")
    curve = [
        (float(row["epoch"]), float(row[name]))
        for row in search.run_of(trial).metrics()
        if row["split"] == split and name in row and row["epoch"] > trial.first_epoch
    ]
    parents = [parent for parent in search.trials if parent.number == trial.parent]
    taken = [point for parent in parents for point in learning_curve(search, parent)]
    return [point for point in taken if point[0] <= trial.first_epoch] + curve


def curves_figure(search: Search) -> Figure | None:
    """Draws the learning curves of the trials, the best on top; their colors tell the score.

    Returns:
        The figure; `None` if no trial of the search has finished an epoch.
    """
    trials = curves_drawn(search)
    curves = [learning_curve(search, trial) for trial in trials]
    values = _finite(curves)
    if not values:
        return None
    # A trial that failed early, far from where the others end, must not press them together.
    scored_values = _finite([c for t, c in zip(trials, curves, strict=True) if t.score is not None])
    figure, axes = new_figure(_HEIGHT)
    dress(axes, "Learning curves", "epoch", search.objective)
    set_score_axis(axes, score_scale(scored_values or values, search.direction))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    colors = _curve_colors(search)
    for trial, curve in zip(trials, curves, strict=True):
        _draw_curve(axes, curve, colors.get(trial.number, WITHOUT_SCORE), 0.9)
    best = search.best
    if best is not None:
        curve = learning_curve(search, best)
        _draw_curve(axes, curve, BEST, 2.2)
        for epoch, value in curve:
            if epoch == best.best_epoch:
                axes.plot(epoch, value, zorder=5, **STAR)
    without = any(trial.score is None for trial in trials)
    gray = Line2D([], [], color=WITHOUT_SCORE, linewidth=0.9, label="trial without a score")
    draw_legend(figure, [*best_handle(search), *([gray] if without else [])])
    return figure


def curves_drawn(search: Search) -> list[Trial]:
    """Returns whose curves are drawn, the best last; a trial that goes on stands for its parent."""
    taken_over = {trial.parent for trial in search.trials}
    ends = [trial for trial in search.ranked() if trial.number not in taken_over]
    return thinned(ends, MOST_CURVES)[::-1]


def _finite(curves: Iterable[Sequence[Point]]) -> list[float]:
    return [value for curve in curves for _, value in curve if math.isfinite(value)]


def _curve_colors(search: Search) -> dict[int, tuple[float, ...]]:
    found = scored(search)
    if not found:
        return {}
    scale = scale_of(search)
    return {trial.number: color_of(search, scale.place(score)) for trial, score in found}


def _draw_curve(axes: Axes, curve: Sequence[Point], color: object, width: float) -> None:
    points = [(epoch, value if math.isfinite(value) else math.nan) for epoch, value in curve]
    alone = "o" if len(points) == 1 else ""
    axes.plot(
        [epoch for epoch, _ in points],
        [value for _, value in points],
        marker=alone,
        markersize=3,
        color=color,
        linewidth=width,
        alpha=0.85,
    )
