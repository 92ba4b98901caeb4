"""Where the values and the scores of a search stand on their axes, and how they are written."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from matplotlib.ticker import MaxNLocator

from tfapp.space import Hyperparameter
from tfapp.trials import Search, Trial

# A tick further from all others than this share of the axis has room for its label.
_GAP = 0.17
# A loss whose largest score is so many times its smallest is shown by its logarithm.
_MOST_LINEAR = 30.0
# An axis ends so many times the median's distance from the best score away from it.
_REACH = 4.0


@dataclass(frozen=True)
class Tick:
    """A mark on an axis.

    Attributes:
        value: What it stands for.
        place: Where it is, from 0 to 1.
        label: What is written beside it.
    """

    value: Any
    place: float
    label: str


@dataclass(frozen=True)
class ScoreScale:
    """The axis of the scores, which all figures of a search share.

    One trial that went astray must not press all others together: the axis ends where the worst
    score is, but not further from the best than four times the median is.

    Attributes:
        low: Where it begins.
        high: Where it ends, above `low`.
        logarithmic: Whether it is; of losses that differ much.
        beyond: How many scores have no place on it.
    """

    low: float
    high: float
    logarithmic: bool = False
    beyond: int = 0

    def place(self, score: float) -> float:
        """Returns where a score stands, from 0 to 1; one beyond the axis stands at its end."""
        low, high, score = self.low, self.high, min(max(score, self.low), self.high)
        if self.logarithmic:
            return math.log(score / low) / math.log(high / low)
        return (score - low) / (high - low)

    def holds(self, score: float) -> bool:
        """Tells whether a score has a place on the axis."""
        return self.low <= score <= self.high

    def ticks(self) -> list[Tick]:
        """Returns both ends and round numbers between."""
        ticks = _number_ticks(self.low, self.high, log=self.logarithmic)
        for digits in range(3, 7):  # as few as tell them apart
            labels = [_label(float(f"{tick.value:.{digits}g}")) for tick in ticks]
            if len(set(labels)) == len(labels):
                break
        return [replace(tick, label=label) for tick, label in zip(ticks, labels, strict=True)]


def score_scale(scores: Sequence[float], direction: Literal["min", "max"]) -> ScoreScale:
    """Returns the axis of finite scores, of which there is at least one.

    Args:
        scores: What has to have a place.
        direction: Whether the smallest or the largest is the best; that end is never cut.
    """
    low, high = min(scores), max(scores)
    if low == high:
        margin = max(abs(low) / 20, 1e-3)
        return ScoreScale(low - margin, high + margin)
    logarithmic = direction == "min" and low > 0 and high > _MOST_LINEAR * low
    to, back = (math.log, math.exp) if logarithmic else (float, float)
    best, median = high if direction == "max" else low, statistics.median(scores)
    if median != best:  # else most are as good as the best: it is the others that are to be seen
        end = back(to(best) + _REACH * (to(median) - to(best)))
        low, high = (max(low, end), high) if direction == "max" else (low, min(high, end))
    beyond = sum(not low <= score <= high for score in scores)
    return ScoreScale(low, high, logarithmic, beyond)


def scale_of(search: Search) -> ScoreScale:
    """Returns the axis of the scores of a search that has any."""
    return score_scale([score for _, score in scored(search)], search.direction)


def scored(search: Search) -> list[tuple[Trial, float]]:
    """Returns the trials whose score is a finite number, with it, in the order of the search."""
    return [
        (trial, trial.score)
        for trial in search.trials
        if trial.score is not None and math.isfinite(trial.score)
    ]


def place_of(hyperparameter: Hyperparameter, value: Any) -> float:
    """Returns where a value stands on the axis of its hyperparameter, from 0 to 1.

    Numbers stand by their size, or by its logarithm where the space says log; the values of a
    choice stand at equal distances in the order of the space, and `false` before `true`.
    """
    if hyperparameter.kind in ("choice", "boolean"):
        values = hyperparameter.values
        return values.index(value) / (len(values) - 1) if len(values) > 1 else 0.5
    low, high = hyperparameter.range
    if hyperparameter.log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def ticks_of(hyperparameter: Hyperparameter) -> list[Tick]:
    """Returns every value of a choice, of numbers both ends and round ones between."""
    if hyperparameter.kind in ("choice", "boolean"):
        values = hyperparameter.values
        return [Tick(v, place_of(hyperparameter, v), show_value(v)) for v in values]
    low, high = hyperparameter.range
    return _number_ticks(low, high, log=hyperparameter.log, whole=hyperparameter.kind == "int")


def short_names(keys: Iterable[str]) -> dict[str, str]:
    """Returns of each key as many of its last words as tell it from the others."""
    split = [key.split(".") for key in keys]
    short = {}
    for words in split:
        others = [other for other in split if other != words]
        length = next(
            n
            for n in range(1, len(words) + 1)
            if n == len(words) or all(other[-n:] != words[-n:] for other in others)
        )
        short[".".join(words)] = ".".join(words[-length:])
    return short


def show_value(value: Any) -> str:
    """Returns a value as a table shows it: numbers to four digits, words as in a config."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(show_value, value))}]"
    return str(value)


def show_score(score: float | None, spread: float | None = None) -> str:
    """Returns a score to five digits, with its standard deviation where it has one."""
    if score is None:
        return "-"
    return f"{score:.5g}" + ("" if spread is None else f" ± {spread:.2g}")


def thinned(trials: Sequence[Trial], most: int) -> list[Trial]:
    """Returns at most so many trials, evenly spread; the first is always among them."""
    every = max(len(trials) / most, 1.0)
    return [trials[math.floor(place * every)] for place in range(min(len(trials), most))]


def _number_ticks(low: float, high: float, *, log: bool, whole: bool = False) -> list[Tick]:
    """Returns both ends, and the round numbers between that have room for their labels."""

    def place(value: float) -> float:
        return math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)

    kept = [low, high]
    for value in _round_numbers(low, high, log, whole):
        if low < value < high and all(abs(place(value) - place(k)) >= _GAP for k in kept):
            kept.append(value)
    return [Tick(value, place(value), _label(value)) for value in sorted(kept)]


def _label(value: float) -> str:
    return f"{value:g}".replace("e-0", "e-").replace("e+0", "e")


def _round_numbers(low: float, high: float, log: bool, whole: bool) -> list[float]:
    """Returns round numbers, those first that are to be kept first."""
    if not log:
        return [float(value) for value in MaxNLocator(5, integer=whole).tick_values(low, high)]
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [digit * 10.0**decade for digit in (1, 3, 2, 5) for decade in decades]
