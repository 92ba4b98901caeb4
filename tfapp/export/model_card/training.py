"""How the model was trained, what it reached on the way, and how its config was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tfapp.export.model_card.markdown import Markdown, Rows, Table, code, joined
from tfapp.runs import Run, flatten, summarize_run
from tfapp.training.restore import TrainedModel
from tfapp.trials import FOLDER, Search, has_search, read_search


def training_rows(trained: TrainedModel) -> Rows:
    """Returns loss, optimizer, length, seed, time, loop and machine."""
    run, config = trained.run, trained.config
    train, summary = config.train, summarize_run(run)
    loop, made = run.read_json("loop.json"), run.read_json("environment.json")
    stopping = train.early_stopping
    return [
        ("Loss", code(train.loss)),
        ("Class weights", str(train.class_weights) if train.class_weights else None),
        ("Optimizer", _named(train.optimizer.model_dump(exclude_none=True))),
        ("Schedule of the rate", _named(train.schedule.model_dump(exclude_defaults=True))),
        ("Batch", f"{config.data.batch_size:,} examples"),
        ("Epochs", f"{summary.epoch:,} of {train.epochs:,}, in {summary.step:,} steps"),
        ("Ended", summary.state if summary.state != "done" else None),
        ("Early stopping", _named(stopping.model_dump()) if stopping else None),
        ("Seed", str(config.seed)),
        ("Time", _seconds(summary.seconds)),
        ("Loop", _because(train.loop, loop.get("reason", ""))),
        ("Strategy", train.strategy),
        ("Machine", _machine(made)),
    ]


def checkpoint_values(trained: TrainedModel) -> Table | None:
    """Returns what training wrote down at the checkpoint, if an epoch ended there."""
    about = ("split", "step", "epoch", "learning_rate")  # the rate is that of the next step
    splits: dict[str, Mapping[str, Any]] = {
        row["split"]: {key: value for key, value in row.items() if key not in about}
        for row in trained.run.metrics()
        if row["step"] == trained.step
    }
    if not splits:
        return None
    names = dict.fromkeys(name for values in splits.values() for name in values)
    rows: list[list[object]] = [
        [name, *(values.get(name, "") for values in splits.values())] for name in names
    ]
    return ["value", *splits], rows


def search_of(run: Run) -> Search | None:
    """Returns the search of a run, or the one that it is a trial of."""
    folder = run.path.resolve()
    above = [Run(folder.parents[1])] if folder.parent.name == FOLDER else []
    return next((read_search(each) for each in (run, *above) if has_search(each)), None)


def search_rows(search: Search) -> Rows:
    """Returns how it searched, and what came of it."""
    best = search.best
    counts = Counter(trial.state for trial in search.trials)
    states = ", ".join(f"{count} {state}" for state, count in counts.most_common())
    score = None
    if best is not None and best.score is not None:
        spread = f" (standard deviation {best.spread:.2g})" if best.spread is not None else ""
        score = f"{best.score:.4g} of trial {best.number}{spread}"
    return [
        ("Algorithm", search.algorithm),
        ("Objective", f"the {search.direction}imum of {search.objective}"),
        ("Trials", f"{len(search.trials)}: {states}" if states else "none"),
        ("Trainings of a trial", search.executions if search.executions > 1 else None),
        ("Best score", score),
        ("Seed", str(search.seed)),
        ("State", search.state if search.state != "done" else None),
        ("Time", _seconds(search.seconds)),
    ]


def space_table(search: Search, trained: TrainedModel) -> Table:
    """Returns each hyperparameter: what was searched, the best trial's value and this model's."""
    own = flatten(trained.config.model_dump(mode="json"))
    best = search.best
    rows: list[list[object]] = [
        [
            code(key),
            searched.describe(),
            *([_value(best.values, key)] if best else []),
            _value(own, key),
        ]
        for key, searched in search.space.items()
    ]
    return ["key", "searched", *(["best trial"] if best else []), "this model"], rows


def _value(values: Mapping[str, Any], key: str) -> object:
    return code(values[key]) if key in values else "not set"


def _named(table: Mapping[str, Any]) -> Markdown | None:
    """Returns the name in a table and its other values side by side; `None` if it is empty."""
    values = dict(table)
    first = [values.pop("name")] if "name" in values else []
    return joined([*first, *(code(f"{key} = {value}") for key, value in values.items())]) or None


def _seconds(seconds: float) -> str | None:
    return f"{seconds:.3g} s" if seconds else None


def _because(what: str, reason: str) -> str:
    return f"{what} ({reason})" if reason else what


def _machine(made: Mapping[str, Any]) -> str | None:
    cores = f"{made['cpus']} cores" if "cpus" in made else ""
    known = (made.get("system"), cores, *made.get("devices", ()))
    return ", ".join(part for part in known if part) or None
