"""Searches on disk whose scores follow from the values by a closed form, without any training."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfapp.config import Config, to_toml
from tfapp.runs import Run
from tfapp.space import Hyperparameter
from tfapp.trials import FORMAT, journal_of

LEARNING_RATE = "train.optimizer.learning_rate"
BATCH_SIZE = "data.batch_size"
HIDDEN = "model.options.hidden"
DROPOUT = "model.options.dropout"
NORMALIZE = "model.options.normalize"
SMALL, LARGE = [64], [128, 64]
SPACE: dict[str, dict[str, Any]] = {
    LEARNING_RATE: {"float": [1e-4, 1e-1], "log": True},
    BATCH_SIZE: {"int": [16, 128]},
    HIDDEN: {"choice": [SMALL, LARGE, [256]]},
    DROPOUT: {"float": [0.0, 0.5], "when": {HIDDEN: [LARGE]}},
    NORMALIZE: {"boolean": True},
}
BEGAN = 1_800_000_000.0
TRIAL_SECONDS = 7.5


@dataclass(frozen=True)
class Told:
    """What a journal tells of a trial; without scores it has not ended well."""

    values: Mapping[str, Any]
    scores: Sequence[float] = ()
    state: str = "done"  # `running`: there is no line of its end
    reason: str = ""
    epochs: int = 10
    first_epoch: int = 0
    best_epoch: int = 0
    parent: int | None = None
    bracket: tuple[int, int] | None = None
    curve: Sequence[float] = ()  # of the epochs after `first_epoch`


def score_of(values: Mapping[str, Any]) -> float:
    """An accuracy: much by the learning rate, some by the layers, nothing by the batch size."""
    off = math.log10(values[LEARNING_RATE]) + 2  # best at 1e-2
    score = 0.9 - 0.03 * off**2
    if values.get(HIDDEN) == LARGE:
        score += 0.06 - 0.5 * (values[DROPOUT] - 0.25) ** 2
    return score


def curve_to(
    score: float, best_epoch: int, epochs: int, first: int = 0, slope: float = -0.02
) -> list[float]:
    """Values of the epochs after `first`: the score at its epoch, worse before and after."""
    return [score + slope * abs(epoch - best_epoch) for epoch in range(first + 1, epochs + 1)]


def drawn(seed: int) -> dict[str, Any]:
    """Values of `SPACE` at random; dropout only where it takes part."""
    draw = random.Random(seed)
    values: dict[str, Any] = {
        LEARNING_RATE: 10 ** draw.uniform(-4, -1),
        BATCH_SIZE: draw.randint(16, 128),
        HIDDEN: draw.choice([SMALL, LARGE, [256]]),
        NORMALIZE: draw.random() < 0.5,
    }
    if values[HIDDEN] == LARGE:
        values[DROPOUT] = draw.uniform(0.0, 0.5)
    return {key: values[key] for key in SPACE if key in values}


def done(
    values: Mapping[str, Any],
    score: float,
    *,
    epochs: int = 10,
    first: int = 0,
    slope: float = -0.02,
    **others: Any,
) -> Told:
    """A trial that was done: its best epoch is the last but one, or the last if it has but one.

    The slope is positive if the smallest score is the best.
    """
    best = max(epochs - 1, first + 1)
    curve = curve_to(score, best, epochs, first, slope)
    return Told(
        values,
        others.pop("scores", (score,)),
        epochs=epochs,
        first_epoch=first,
        best_epoch=best,
        curve=curve,
        **others,
    )


def random_trials(count: int) -> list[Told]:
    """Trials of `SPACE`, scored by `score_of`."""
    return [done(drawn(seed), score_of(drawn(seed))) for seed in range(count)]


def random_search(path: Path, count: int = 30, **told: Any) -> Run:
    """A search of `count` trials, of which 4 and 11 failed and 7 diverged."""
    trials = random_trials(count)
    for number, state, reason in (
        (4, "failed", "TrainingError: out of memory while allocating [128, 64]"),
        (7, "diverged", "step 12: NaN in the gradient of dense/kernel"),
        (11, "failed", "TrainingError: out of memory while allocating [256]"),
    ):
        if number < count:
            trials[number] = Told(
                trials[number].values, state=state, reason=reason, curve=[0.1, 0.15]
            )
    return write_search(path, SPACE, trials, **told)


def hyperband_search(path: Path, **told: Any) -> Run:
    """Three brackets of at most 9 epochs, a third of which go on: 9, 3, 1; 5, 2; 3 trials.

    Source: Li et al., "Hyperband", JMLR 18, 2018, with the sizes that Keras Tuner gives them.
    """
    trials: list[Told] = []
    for bracket, sizes in ((2, (9, 3, 1)), (1, (5, 2)), (0, (3,))):
        before: list[int] = []
        for turn, size in enumerate(sizes):
            epochs, first = 9 // 3 ** (bracket - turn), 9 // 3 ** (bracket - turn + 1)
            best = sorted(before, key=lambda number: trials[number].scores[0], reverse=True)
            before = []
            for place in range(size):
                parent = best[place] if turn else None
                values = drawn(len(trials)) if parent is None else trials[parent].values
                score = score_of(values) - 0.3 / epochs
                before.append(len(trials))
                told_of = {"parent": parent, "bracket": (bracket, turn)}
                trial = done(values, score, epochs=epochs, first=first if turn else 0, **told_of)
                trials.append(trial)
    return write_search(path, SPACE, trials, algorithm="hyperband", **told)


def grid_search(path: Path, **told: Any) -> Run:
    """Two learning rates by three sizes of the layers."""
    space = {
        LEARNING_RATE: {"choice": [0.001, 0.01]},
        HIDDEN: {"choice": [[16], [32], [64]]},
    }
    values = [
        {LEARNING_RATE: rate, HIDDEN: hidden}
        for rate, hidden in itertools.product([0.001, 0.01], [[16], [32], [64]])
    ]
    trials = [done(of, score_of(of) + of[HIDDEN][0] / 1000) for of in values]
    return write_search(path, space, trials, algorithm="grid", **told)


def write_search(
    path: Path,
    space: Mapping[str, Mapping[str, Any]],
    trials: Sequence[Told],
    *,
    algorithm: str = "random",
    objective: str = "val_accuracy",
    direction: str = "max",
    state: str = "done",
    reason: str = "",
    wanted: int | None = None,
    executions: int = 1,
) -> Run:
    """Writes the run directory of a search: config, journal, and a run directory for each trial.

    Args:
        path: Of the run directory; made.
        space: As in a config.
        trials: In the order of their numbers, each after the last one's end.
        algorithm: Of the search.
        objective: `val_` and a metric, or a metric of the training split.
        direction: `min` or `max` of it.
        state: How it ended; with `running` it has not, and is `killed` unless its lock is held.
        reason: Why, where that is not plain.
        wanted: Most trials.
        executions: Trainings of a trial.
    """
    checked = {key: Hyperparameter.model_validate(value) for key, value in space.items()}
    run = Run(path)
    journal_of(run).parent.mkdir(parents=True)
    tune = {"algorithm": algorithm, "executions": executions, "space": checked}
    config = Config(data={"source": "digits"}, model={"name": "mlp"}, tune=tune)
    (path / "config.toml").write_text(to_toml(config), encoding="utf-8")
    lines: list[dict[str, Any]] = [
        {
            "event": "search",
            "format": FORMAT,
            "algorithm": algorithm,
            "objective": objective,
            "direction": direction,
            "seed": 0,
            "trials": wanted,
            "executions": executions,
            "space": {key: value.model_dump(mode="json") for key, value in checked.items()},
        },
        {"event": "session", "trials": wanted},
    ]
    at = [BEGAN, BEGAN]
    for number, trial in enumerate(trials):
        events = [_begin(number, trial), *([] if trial.state == "running" else [_end(trial)])]
        lines += [{**event, "trial": number} for event in events]
        at += [at[-1], at[-1] + TRIAL_SECONDS][: len(events)]
        _write_curve(run.path / "tune" / f"{number:04d}", objective, trial)
    if state != "running":
        lines.append({"event": "over", "state": state, "reason": reason})
        at.append(at[-1])
    text = "".join(json.dumps({**x, "at": t}) + "\n" for x, t in zip(lines, at, strict=True))
    journal_of(run).write_text(text, encoding="utf-8")
    return run


def _begin(number: int, trial: Told) -> dict[str, Any]:
    return {
        "event": "begin",
        "values": trial.values,
        "epochs": trial.epochs,
        "first_epoch": trial.first_epoch,
        "parent": trial.parent,
        "bracket": trial.bracket,
        "worker": f"worker-{number % 2}",
        "attempt": 1,
    }


def _end(trial: Told) -> dict[str, Any]:
    return {
        "event": "end",
        "state": trial.state,
        "scores": list(trial.scores),
        "best_epoch": trial.best_epoch,
        "seconds": TRIAL_SECONDS,
        "reason": trial.reason,
    }


def _write_curve(folder: Path, objective: str, trial: Told) -> None:
    """Writes `metrics.jsonl` as a training does; the other split has other values."""
    folder.mkdir()
    measured = objective.startswith("val_")
    name = objective.removeprefix("val_")
    rows: list[dict[str, Any]] = []
    for epoch, value in enumerate(trial.curve, trial.first_epoch + 1):
        at = {"step": 21 * epoch, "epoch": epoch}
        rows.append({"split": "train", **at, name: value / 2 if measured else value})
        rows.append({"split": "validation", **at, name: value if measured else value / 2})
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(text, encoding="utf-8")
