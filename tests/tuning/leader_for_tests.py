"""Searches without any training: their leader gives trials, which get made-up scores."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tfapp.config import Config
from tfapp.runs import Run
from tfapp.trials import journal_of, read_journal, read_search
from tfapp.tuning.journal import Journal
from tfapp.tuning.leader import Assignment, Leader, Outcome

RATE = "train.optimizer.learning_rate"
SPACE = {
    RATE: {"float": [1e-4, 1e-1], "log": True},
    "model.options.hidden": {"choice": [[8], [16, 8]]},
}
SMALL = {"model.options.depth": {"int": [1, 3]}, "model.options.flag": {"boolean": True}}
Make = Callable[..., tuple[Run, Config]]


def maker(folder: Path) -> Make:
    """Returns what makes a run with a search that has not begun, and the config it searches."""

    def make_search(
        algorithm: str = "random",
        *,
        space: Mapping[str, Any] = SPACE,
        name: str = "mine",
        direction: str = "max",
        seed: int = 0,
        **tune: Any,
    ) -> tuple[Run, Config]:
        made = {"algorithm": algorithm, "space": space, **tune}
        config = Config.model_validate({"seed": seed, "train": {"epochs": 9}, "tune": made})
        assert config.tune is not None
        run = Run(folder / name)
        journal_of(run).parent.mkdir(parents=True)
        Journal(run).search(
            algorithm=algorithm,
            objective="val_accuracy",
            direction=direction,
            seed=seed,
            trials=config.tune.most_trials,
            executions=config.tune.executions,
            space={key: h.model_dump(mode="json") for key, h in config.tune.space.items()},
        )
        return run, config

    return make_search


def score_of(assignment: Assignment) -> float:
    """A score that follows from what is trained, without any order."""
    text = json.dumps([dict(assignment.values), assignment.until], sort_keys=True)
    return random.Random(text).random()


def done(score: float) -> Outcome:
    return Outcome("done", (score,), best_epoch=3)


def take(leader: Leader, worker: str = "tuner0") -> Assignment:
    assignment = leader.next(worker)
    assert isinstance(assignment, Assignment)
    return assignment


def work(leader: Leader, worker: str = "tuner0", *, most: int = 1000) -> None:
    """Runs trials to the end of the search, or so many."""
    for _ in range(most):
        while (assignment := leader.next(worker)) == "wait":
            pass
        if assignment == "stop":
            return
        assert isinstance(assignment, Assignment)
        assert leader.finish(assignment.number, assignment.attempt, done(score_of(assignment)))


def results(run: Run) -> list[tuple[Any, ...]]:
    """What the journal says of all trials, without times, workers and attempts."""
    return [
        (t.number, dict(t.values), t.state, t.scores, t.epochs, t.first_epoch, t.parent, t.bracket)
        for t in read_search(run).trials
    ]


def events(run: Run, *names: str) -> list[dict[str, Any]]:
    return [line for line in read_journal(run) if line["event"] in names]
