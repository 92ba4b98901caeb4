"""Whether contenders train the same: the same trials to the same accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from tfapp.bench.tuning.results import SearchRound, TrainedTrial, mean_accuracy
from tfapp.bench.tuning.roster import PLAIN
from tfapp.bench.tuning.task import Values

# Of mean validation accuracies. Over 20 trials of ten epochs other seeds make a few thousandths.
TOLERANCE = 0.03
_STANDARD_ERRORS = 3.0


def find_objections(
    told: Mapping[str, Sequence[SearchRound]],
    wanted: Sequence[Values],
    *,
    epochs: int,
    validation: int,
) -> dict[str, str]:
    """Compares what contenders have trained with what was wanted, and with one another.

    Args:
        told: Rounds by contender.
        wanted: Values of each trial.
        epochs: Of each trial.
        validation: Examples of the validation split.

    Returns:
        Why a contender's times do not count, by its name; others are not in it. Accuracies are
        compared with those of plain KerasTuner, or of the first contender if it is not there.
    """
    found = {name: _objection(rounds, wanted, epochs) for name, rounds in told.items()}
    means = {name: mean_accuracy(told[name]) for name in told if not found[name]}
    measure = PLAIN if PLAIN in means else next(iter(means), None)
    for name, mean in means.items():
        assert measure is not None
        limit = tolerance((mean + means[measure]) / 2, trials=len(wanted), validation=validation)
        if abs(mean - means[measure]) > limit:
            found[name] = (
                f"its mean val_accuracy is {mean:.3f}, that of {measure} {means[measure]:.3f};"
                f" up to {limit:.3f} apart would be chance"
            )
    return {name: objection for name, objection in found.items() if objection}


def tolerance(accuracy: float, *, trials: int, validation: int) -> float:
    """Returns how far two mean accuracies may be apart: `TOLERANCE`, more where chance is larger.

    Chance is three standard errors of the difference of two means over `trials` shares of
    `validation` examples each, sqrt(2 p (1 - p) / (trials validation)) with p the accuracy. That
    matters for a few short trials only.

    Args:
        accuracy: About which both are.
        trials: Of each search.
        validation: Examples of the validation split.
    """
    variance = 2 * accuracy * (1 - accuracy) / (trials * validation)
    return max(TOLERANCE, _STANDARD_ERRORS * math.sqrt(variance))


def _objection(rounds: Sequence[SearchRound], wanted: Sequence[Values], epochs: int) -> str:
    """Returns what is wrong with the trials themselves; empty if nothing is."""
    for done in rounds:
        if len(done.trials) != len(wanted):
            return f"it ran {len(done.trials)} trials, not {len(wanted)}"
        for number, (trial, values) in enumerate(zip(done.trials, wanted, strict=True)):
            if objection := _objection_to(trial, values, epochs):
                return f"trial {number} {objection}"
    return ""


def _objection_to(trial: TrainedTrial, values: Values, epochs: int) -> str:
    for name, value in asdict(values).items():
        if getattr(trial.values, name) != value:
            return f"had {name} {getattr(trial.values, name)}, not {value}"
    if trial.epochs != epochs:
        return f"was trained for {trial.epochs} epochs, not {epochs}"
    if not 0 <= trial.accuracy <= 1:
        return f"came to a val_accuracy of {trial.accuracy}"
    return ""
