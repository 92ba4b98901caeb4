"""Which model it is, how large, and who made it with what."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tfapp.config import ModelConfig
from tfapp.environment import read_environment
from tfapp.export.model_card.facts import Export
from tfapp.export.model_card.markdown import Markdown, Rows, code, joined
from tfapp.models.registry import find_maker
from tfapp.models.report import VariableRow, variable_rows
from tfapp.runs import Run
from tfapp.training.restore import TrainedModel

_PACKAGES = {"tfapp": "tfapp", "tensorflow": "TensorFlow", "keras": "Keras", "numpy": "NumPy"}
_MOST_LAYERS = 30
_MOST_VARIABLES = 4  # of a layer, named one by one


def model_rows(export: Export) -> Rows:
    """Returns name, architecture in a line, size, origin and versions."""
    trained = export.trained
    made = trained.run.read_json("environment.json")
    trained_with = _versions(made.get("python"), made.get("packages", {}))
    here = read_environment()
    exported_with = _versions(here.python, here.packages)
    return [
        ("Model", _name_of(trained.config.model)),
        ("Described as", _first_line(trained.config.model.name)),
        ("Parameters", _parameters(trained)),
        ("Gives", _output(trained)),
        ("Layers compute in", code(trained.config.train.precision)),
        ("Run", code(trained.run.name)),
        ("Checkpoint", _checkpoint(trained)),
        ("Training began", _first_stamp(trained.run)),
        ("Command", code(made["command"]) if made.get("command") else None),
        ("Commit of the working folder", made.get("git") or None),
        ("Trained with", trained_with),
        ("Exported with", exported_with if exported_with != trained_with else None),
    ]


def layer_rows(model: Any) -> list[tuple[object, object, int]]:
    """Returns name, variables and number of values of each layer, or of groups of many layers."""
    placed = [(_layer(row, model.name), row) for row in variable_rows(model)]
    groups: dict[str, list[VariableRow]] = {}
    for depth in range(max((len(layer) for layer, _ in placed), default=0), 0, -1):
        groups = {}
        for layer, row in placed:
            groups.setdefault("/".join(layer[:depth]), []).append(row)
        if len(groups) <= _MOST_LAYERS:
            break
    return [(code(name), _listed(rows), _values(rows)) for name, rows in groups.items()]


def _layer(row: VariableRow, model: str) -> list[str]:
    """Returns the path of a variable's layer, without the name of the model."""
    path = row.path.removeprefix(f"{model}/").split("/")
    return path[:-1] or path


def _listed(rows: Sequence[VariableRow]) -> object:
    if len(rows) > _MOST_VARIABLES:
        return f"{len(rows)} variables"
    return joined(code(f"{row.path.rpartition('/')[2]} {list(row.shape)}") for row in rows)


def _values(rows: Sequence[VariableRow]) -> int:
    return sum(math.prod(row.shape) for row in rows)


def _name_of(config: ModelConfig) -> Markdown:
    options = [code(f"{key} = {value}") for key, value in config.options.items()]
    return joined([Markdown(f"{code(config.name)}{' with' if options else ''}"), *options], " ")


def _first_line(name: str) -> str | None:
    return inspect.cleandoc(find_maker(name).__doc__ or "").partition("\n")[0] or None


def _parameters(trained: TrainedModel) -> str:
    rows = variable_rows(trained.predictor.model)
    whole, moved = _values(rows), _values([row for row in rows if row.trainable])
    return f"{whole:,}, all trained" if whole == moved else f"{whole:,}, of which {moved:,} trained"


def _output(trained: TrainedModel) -> str:
    info, head = trained.predictor.info, trained.predictor.head
    if not info.classes:
        return "a number"
    return f"a probability for each of {len(info.classes)} classes, from {head.kind}"


def _checkpoint(trained: TrainedModel) -> str:
    run, train = trained.run, trained.config.train
    status = run.read_json("status.json")
    epochs = [row["epoch"] for row in run.metrics() if row["step"] == trained.step]
    where = f"step {trained.step:,}"
    if epochs:
        where += f", the end of epoch {epochs[0]} of {train.epochs}"
    best = status.get("best") or {}
    if best.get("step") == trained.step:
        return f"{where}; the best by {train.monitor}, {best['value']:.4g}"
    if train.refit and status.get("step") == trained.step:
        return f"{where}; the last one, nothing being held out to choose by"
    return where


def _first_stamp(run: Run) -> str | None:
    """Returns the day on which the log of the run begins."""
    log = run.path / "log.txt"
    try:
        with log.open(encoding="utf-8", errors="replace") as lines:
            return datetime.fromisoformat(next(lines).split(" ")[0]).date().isoformat()
    except (OSError, StopIteration, ValueError):
        return None


def _versions(python: str | None, packages: Mapping[str, str]) -> str | None:
    found = [f"Python {python}"] if python else []
    found += [f"{title} {packages[name]}" for name, title in _PACKAGES.items() if name in packages]
    return ", ".join(found) or None
