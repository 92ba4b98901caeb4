"""How much the score of a search hangs on each hyperparameter.

A random forest learns the scores from the values; then the values of one hyperparameter are
shuffled among the trials. Every trial is judged by those trees only that were grown without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import RandomForestRegressor

from tfapp.report.search_scales import place_of, score_scale, scored
from tfapp.trials import Search, Trial

LEAST_TRIALS = 10
# With scores drawn at random and 4 hyperparameters, the forest has an out-of-bag R² above this in
# one search of 12 with 10 trials, of 20 with 20, and of 100 with 30.
LEAST_FIT = 0.1
_NOTHING = 1e-9  # of the length of the axis: rounding
_TREES = 100
_SHUFFLES = 10

_Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Share:
    """What hangs on one hyperparameter.

    Attributes:
        key: Config key.
        value: Share of the variance of the scores, mostly between 0 and 1.
        spread: Standard deviation over shuffles.
    """

    key: str
    value: float
    spread: float


@dataclass(frozen=True)
class Importance:
    """What hangs on the hyperparameters of a search.

    Attributes:
        trials: How many it rests on.
        fit: Out-of-bag R² of the forest: the share of the variance of the scores that it tells of
            trials which it has not seen; `None` if it was not grown.
        shares: The largest first; empty where there is nothing to trust.
        problem: Why it is empty.
    """

    trials: int
    fit: float | None = None
    shares: tuple[Share, ...] = ()
    problem: str = ""


def measure_importance(search: Search) -> Importance:
    """Returns the share of the scores' variance that hangs on each hyperparameter.

    The share is the total effect: what a hyperparameter does alone and together with others, so
    shares may add up to more than 1. It is half of what the forest's out-of-bag R² loses when the
    values of the hyperparameter are shuffled. A trial that goes on with another has been selected
    by its score, and is left out; those of Hyperband are compared with trials of as many epochs.
    Equal searches give equal numbers.

    Source: Breiman, "Random forests", Machine Learning 45, 2001 (shuffling, out of bag); Jansen,
    "Analysis of variance designs for model output", Computer Physics Communications 117, 1999
    (half the mean square of the change is the total effect); Hutter, Hoos and Leyton-Brown, "An
    efficient approach for assessing hyperparameter importance", ICML 2014 (a forest on trials).
    """
    started = [(trial, score) for trial, score in scored(search) if trial.parent is None]
    trials = [trial for trial, _ in started]
    if len(trials) < LEAST_TRIALS:
        which = " that do not go on with another" if search.algorithm == "hyperband" else ""
        problem = (
            f"It takes {LEAST_TRIALS} trials with a score{which}, and there are {len(trials)}."
        )
        return Importance(len(trials), problem=problem)
    targets = _targets(search, started)
    if np.ptp(targets) < _NOTHING:
        return Importance(len(trials), problem="All trials have the same score.")
    columns = np.column_stack([_column(search, key, trials) for key in search.space])
    fit, losses = _shuffle(columns, targets)
    if fit < LEAST_FIT:
        problem = (
            f"A random forest on {len(trials)} trials tells next to nothing of the score of a trial"
            f" that it has not seen (out-of-bag R² {fit:.2f}), so what it hangs on is not known."
        )
        return Importance(len(trials), fit, problem=problem)
    shares = [
        Share(key, float(loss.mean()) / 2, float(loss.std()) / 2)
        for key, loss in zip(search.space, losses, strict=True)
    ]
    return Importance(len(trials), fit, tuple(sorted(shares, key=lambda s: s.value, reverse=True)))


def _targets(search: Search, started: Sequence[tuple[Trial, float]]) -> _Array:
    """Returns where the scores stand on their axis, from the mean of trials of as many epochs.

    The brackets of Hyperband train for different numbers of epochs, which would drown all else.
    """
    scale = score_scale([score for _, score in started], search.direction)
    places = np.array([scale.place(score) for _, score in started])
    epochs = np.array([trial.epochs if trial.bracket else 0 for trial, _ in started])
    for group in np.unique(epochs):
        places[epochs == group] -= places[epochs == group].mean()
    return places


def _column(search: Search, key: str, trials: Sequence[Trial]) -> _Array:
    """Returns where the values stand on their axis.

    Where a hyperparameter takes no part, the place of another trial stands in. A number of its own
    would tell the forest of the hyperparameter that switches this one off, and be paid for it.
    """
    hyperparameter = search.space[key]
    there = [key in trial.values for trial in trials]
    places = [place_of(hyperparameter, t.values[key]) for t in trials if key in t.values]
    random = np.random.default_rng(list(search.space).index(key))
    column = random.choice(places or [0.5], size=len(trials))
    column[there] = places
    return column


def _shuffle(columns: _Array, targets: _Array) -> tuple[float, _Array]:
    """Returns the out-of-bag R² and what it loses by each shuffle, `[keys, shuffles]`."""
    count, keys = columns.shape
    forest = RandomForestRegressor(_TREES, random_state=0).fit(columns, targets)
    unseen = np.ones((_TREES, count))
    for tree, samples in enumerate(forest.estimators_samples_):
        unseen[tree, samples] = 0
    judged = unseen.sum(axis=0) > 0
    random = np.random.default_rng(0)
    tried = np.tile(columns, (1 + keys * _SHUFFLES, 1, 1))  # the first stays as it is
    for place in range(keys * _SHUFFLES):
        key = place // _SHUFFLES
        tried[1 + place, :, key] = random.permutation(columns[:, key])
    total = np.zeros((len(tried), count))
    for tree, weight in zip(forest.estimators_, unseen, strict=True):
        total += tree.predict(tried.reshape(-1, keys)).reshape(len(tried), count) * weight
    guesses = total[:, judged] / unseen.sum(axis=0)[judged]
    errors = ((guesses - targets[judged]) ** 2).mean(axis=1) / targets[judged].var()
    return float(1 - errors[0]), (errors[1:] - errors[0]).reshape(keys, _SHUFFLES)
