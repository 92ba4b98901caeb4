"""The figures of a search: pictures for a page, files in the run's folder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from tfapp.report.importance import Importance, Share, measure_importance
from tfapp.report.page import Picture
from tfapp.report.parallel import MOST_LINES, parallel_figure
from tfapp.report.search_progress import (
    MOST_CURVES,
    best_so_far_figure,
    curves_drawn,
    curves_figure,
    rounds_figure,
)
from tfapp.report.search_scales import scale_of, scored, short_names, show_value
from tfapp.report.search_scatter import scatter_figure
from tfapp.report.search_style import SMALL, TRIAL, dress, new_figure
from tfapp.report.svg import plain, svg_text, write_svg
from tfapp.trials import Search

_BAR = 0.3  # inches


@dataclass(frozen=True)
class Drawing:
    """A figure with its words.

    Attributes:
        name: Of its file, which is `tune-NAME.svg`.
        figure: As drawn.
        alt: What it shows, for those who do not see it.
        caption: Stands under it on a page.
    """

    name: str
    figure: Figure
    alt: str
    caption: str = ""

    def picture(self) -> Picture:
        """Returns it as a block of a page."""
        return Picture(svg_text(self.figure), self.alt, self.caption)


def draw_search(search: Search) -> list[Path]:
    """Writes the figures of a search as files `tune-*.svg` into the `plots` folder of its run.

    Returns:
        The files; none if no trial was begun. Importance is not among them where there is nothing
        to trust, nor is what needs a score where no trial has one.

    Raises:
        StorageError: The disk refused.
    """
    drawings = [
        *values_drawings(search, measure_importance(search)),
        *scatter_drawings(search),
        *progress_drawings(search),
        *rounds_drawings(search),
    ]
    plots = search.run.plots
    return [write_svg(drawing.figure, plots / f"tune-{drawing.name}.svg") for drawing in drawings]


def values_drawings(search: Search, importance: Importance) -> list[Drawing]:
    """Draws parallel coordinates, and importance as far as there is any."""
    drawings = []
    if search.trials:
        alt = f"A line for each of {len(search.trials)} trials through its values to its score"
        figure = parallel_figure(search)
        drawings.append(Drawing("parallel", figure, alt, _parallel_caption(search)))
    if importance.shares:
        told = ", ".join(f"{share.key} {share.value:.2f}" for share in importance.shares)
        figure = _importance_figure(search, importance.shares)
        alt = f"Shares of the variance of {search.objective}: {told}"
        drawings.append(Drawing("importance", figure, alt, _importance_caption(search, importance)))
    return drawings


def scatter_drawings(search: Search) -> list[Drawing]:
    """Draws the scores against each hyperparameter; nothing without scores."""
    if not scored(search):
        return []
    return [
        Drawing(
            "against-" + re.sub(r"[^\w.-]", "_", name),
            scatter_figure(search, key),
            f"{search.objective} of the trials against {key}",
            _scatter_caption(search, key),
        )
        for key, name in short_names(search.space).items()
    ]


def progress_drawings(search: Search) -> list[Drawing]:
    """Draws the best so far, and learning curves, as far as there are any."""
    drawings = []
    if scored(search):
        alt = f"The best {search.objective} so far over {len(search.trials)} trials"
        caption = " ".join(_beyond(search))
        drawings.append(Drawing("best", best_so_far_figure(search), alt, caption))
    curves = curves_figure(search)
    if curves is not None:
        alt = f"{search.objective} of the trials over their epochs"
        drawings.append(Drawing("curves", curves, alt, _curves_caption(search)))
    return drawings


def rounds_drawings(search: Search) -> list[Drawing]:
    """Draws the rounds of Hyperband; nothing of another search, or without scores."""
    if not scored(search) or search.algorithm != "hyperband":
        return []
    alt = f"{search.objective} of the trials over their epochs, by bracket"
    caption = "A line leads from a trial to the one that goes on with it."
    return [Drawing("rounds", rounds_figure(search), alt, caption)]


def _importance_figure(search: Search, shares: Sequence[Share]) -> Figure:
    names = short_names(search.space)
    figure, axes = new_figure(_BAR * len(shares) + 0.9)
    dress(axes, "Importance", f"share of the variance of {search.objective}", "")
    values = [max(share.value, 0.0) for share in shares]  # below 0 is noise
    spreads = [share.spread for share in shares]
    whiskers = {"elinewidth": 0.9, "capsize": 2, "ecolor": "#444444"}
    axes.barh(range(len(shares)), values, xerr=spreads, color=TRIAL, alpha=0.75, error_kw=whiskers)
    for row, (value, spread) in enumerate(zip(values, spreads, strict=True)):
        words: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": SMALL}
        axes.annotate(f"{value:.2f}", (value + spread, row), (4, 0), **words)
    labels = [plain(names.get(share.key, share.key)) for share in shares]
    axes.set_yticks(range(len(shares)), labels, fontsize=SMALL)
    axes.set_ylim(len(shares) - 0.4, -0.6)
    farthest = max(value + spread for value, spread in zip(values, spreads, strict=True))
    axes.set_xlim(0, 1.15 * farthest or 1)
    axes.grid(False, axis="y")
    return figure


def _importance_caption(search: Search, importance: Importance) -> str:
    sentences = [
        f"The share of the variance of {search.objective} that hangs on a hyperparameter, alone or"
        " together with others, over the values that were tried: half of what the out-of-bag R² of"
        " a random forest loses when its values are shuffled among the trials (Breiman 2001,"
        " Jansen 1999). Whiskers: standard deviation over shuffles.",
        f"The forest rests on {importance.trials} trials with a score. Its out-of-bag R² is"
        f" {importance.fit:.2f}, which is the share of the variance that it tells of trials it has"
        " not seen; the rest is noise, or takes more trials to learn.",
    ]
    if any(trial.parent is not None for trial in search.trials):
        sentences.append(
            "Scores count from the mean of the trials of as many epochs; trials that go on with"
            " another are left out, because their score chose them."
        )
    return " ".join(sentences)


def _parallel_caption(search: Search) -> str:
    sentences = []
    if len(search.trials) > MOST_LINES:
        sentences.append(f"{MOST_LINES} of {len(search.trials)} trials, evenly over the ranking.")
    if any(hyperparameter.when for hyperparameter in search.space.values()):
        sentences.append("A line has a gap where a hyperparameter takes no part.")
    return " ".join(sentences)


def _scatter_caption(search: Search, key: str) -> str:
    names = short_names(search.space)
    conditions = [
        f"{names[parent]} is {' or '.join(map(show_value, values))}"
        for parent, values in search.space[key].when.items()
    ]
    sentences = [f"Searched where {' and '.join(conditions)}."] if conditions else []
    return " ".join([*sentences, *_beyond(search)])


def _beyond(search: Search) -> list[str]:
    beyond = scale_of(search).beyond
    return ["Triangles stand for scores beyond the end of the axis."] if beyond else []


def _curves_caption(search: Search) -> str:
    sentences = ["The darker a curve, the better the trial's score."] if scored(search) else []
    if len(search.trials) > MOST_CURVES == len(curves_drawn(search)):
        sentences.append(f"{MOST_CURVES} of them, evenly over the ranking.")
    if search.executions > 1:
        sentences.append("Each is of a trial's first execution.")
    return " ".join(sentences)
