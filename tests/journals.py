"""Searches on disk, for tests: a run with a journal, as `tfapp.trials` reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfapp.config import Config
from tfapp.runs import Run, claim_run

SPACE = {
    "train.optimizer.learning_rate": {"float": [1e-4, 0.1], "log": True},
    "train.epochs": {"int": [1, 4]},
    "model.options.hidden": {"choice": [[8], [16, 8]]},
    "model.options.activation": {"choice": ["relu", "tanh"]},
    "data.batch_size": {"choice": [12, 24]},
    "train.optimizer.amsgrad": {"boolean": True},
}


def ended(values: Mapping[str, Any], *scores: float, **more: Any) -> dict[str, Any]:
    """Returns a trial that has ended: `done` with scores, `failed` without."""
    state = "done" if scores else "failed"
    return {"values": dict(values), "state": state, "scores": scores} | more


def make_search(
    runs: Path,
    name: str,
    trials: Sequence[Mapping[str, Any]] = (),
    *,
    over: str | None = "done",
    space: Mapping[str, Any] = SPACE,
    objective: str = "val_accuracy",
    direction: str = "max",
    executions: int = 1,
) -> Run:
    """Makes a run with a search and no training of its own; trials get no run directories.

    Args:
        runs: Folder of run directories.
        name: Name of the run.
        trials: Values and, of those that have ended, state, scores, best_epoch, seconds, reason.
        over: State that the search ended in; `None` if it has not.
        space: What is varied.
        objective: What for.
        direction: `min` or `max`.
        executions: Trainings of a trial.
    """
    run = claim_run(runs, Config(), name=name)
    lines: list[dict[str, Any]] = [
        {
            "event": "search",
            "format": 1,
            "algorithm": "random",
            "objective": objective,
            "direction": direction,
            "seed": 0,
            "trials": max(len(trials), 1),
            "executions": executions,
            "space": space,
        }
    ]
    for number, trial in enumerate(trials):
        begin = {
            "event": "begin",
            "trial": number,
            "values": trial["values"],
            "epochs": 4,
            "first_epoch": 0,
            "parent": None,
            "bracket": None,
            "worker": "0",
            "attempt": 1,
        }
        lines.append(begin)
        if "state" in trial:
            told = {"best_epoch": 2, "seconds": 3.0, "reason": ""} | trial
            lines.append({"event": "end", "trial": number} | told)
    if over:
        lines.append({"event": "over", "state": over, "reason": ""})
    (run.path / "tune").mkdir()
    timed = [{"at": 1_800_000_000 + second} | line for second, line in enumerate(lines)]
    text = "".join(json.dumps(line) + "\n" for line in timed)
    (run.path / "tune" / "journal.jsonl").write_text(text)
    return run
