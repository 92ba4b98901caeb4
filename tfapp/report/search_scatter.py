"""The score against one hyperparameter: a dot for each trial."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfapp.report.search_scales import place_of, scale_of, short_names, ticks_of
from tfapp.report.search_style import (
    best_handle,
    draw_legend,
    draw_trials,
    dress,
    new_figure,
    set_score_axis,
    spaced,
)
from tfapp.report.svg import plain
from tfapp.space import Hyperparameter
from tfapp.trials import Search, Trial

_HEIGHT = 2.9  # inches
_STRIP = 0.5  # of the distance of two choices, over which their dots are spread
_GOLDEN = 0.618034  # its multiples, without their whole part, lie evenly however many they are


def scatter_figure(search: Search, key: str) -> Figure:
    """Draws the scores of a search, of which there is at least one, against one hyperparameter.

    Numbers stand by their logarithm where the space says so. The dots of a choice are spread over a
    strip; how far to the side means nothing. Marks at the foot are trials without a score.
    """
    figure, axes = new_figure(_HEIGHT)
    dress(axes, short_names(search.space)[key], "", search.objective)
    set_score_axis(axes, scale_of(search))
    _set_value_axis(axes, search.space[key])
    handles = draw_trials(axes, search, lambda trial: scatter_place(search, key, trial))
    draw_legend(figure, [*best_handle(search), *handles])
    return figure


def scatter_place(search: Search, key: str, trial: Trial) -> float | None:
    """Returns how far to the right a trial stands, as a share of the axis.

    Returns:
        The share; `None` where the hyperparameter takes no part in the trial.
    """
    if key not in trial.values:
        return None
    hyperparameter = search.space[key]
    place = place_of(hyperparameter, trial.values[key])
    if hyperparameter.kind not in ("choice", "boolean"):
        return place
    aside = trial.number * _GOLDEN % 1 - 0.5
    return place + aside * _STRIP / max(len(hyperparameter.values) - 1, 1)


def _set_value_axis(axes: Axes, hyperparameter: Hyperparameter) -> None:
    ticks = ticks_of(hyperparameter)
    labels = spaced([tick.label for tick in ticks])
    axes.set_xticks([tick.place for tick in ticks], [plain(label) for label in labels])
    strips = hyperparameter.kind in ("choice", "boolean")
    room = 0.7 * _STRIP / max(len(ticks) - 1, 1) if strips else 0.04
    axes.set_xlim(-room, 1 + room)
