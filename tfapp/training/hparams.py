"""A search for the HParams tab of TensorBoard: its table, parallel coordinates and scatter plots.

    runs/X/tune/tensorboard/                what is searched, and for what: the experiment
    runs/X/tune/0000/tensorboard/           values and score of a trial: a session
    runs/X/tune/0000/tensorboard/train/     curves of its training

TensorBoard looks for a metric of a session in the session's own folder and, where the metric has a
group, in the folder of that name below it. It shows the last value that it finds, so the score,
which is the best one, is written by itself.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorboard.plugins.hparams import api, api_pb2, summary

from tfapp.space import Hyperparameter
from tfapp.trials import FOLDER, Search, Trial

_STATUS = {
    "done": api_pb2.STATUS_SUCCESS,
    "failed": api_pb2.STATUS_FAILURE,
    "diverged": api_pb2.STATUS_FAILURE,
}


def write_experiment(search: Search) -> None:
    """Writes what a search varies, in which ranges, and the value that it is for.

    Args:
        search: Its trials are of no interest; it may have none yet.
    """
    split, tag = _curve(search.objective)
    metrics = [
        api.Metric(_score_tag(search), display_name=f"best {search.objective}"),
        api.Metric(tag, group=split, display_name=f"{search.objective} of the last epoch"),
    ]
    labels = _labels(search.space)
    hyperparameters = [
        api.HParam(key, _domain(found), display_name=labels[key], description=found.describe())
        for key, found in search.space.items()
    ]
    with _writing(search.path / FOLDER / "tensorboard"):
        api.hparams_config(hyperparameters, metrics)


def write_session(search: Search, trial: Trial, *, started: float) -> None:
    """Writes a trial: its values, and once it has ended, how, and its score in each execution.

    Executions of a trial are sessions of one group, of which TensorBoard shows the mean. One whose
    run directory is not there is left out. May be called at the begin of a trial and at its end.

    Args:
        search: The search.
        trial: As it stands.
        started: When it began, in seconds since 1970.
    """
    values = {key: _value(search.space[key], value) for key, value in trial.values.items()}
    # Not the number alone: TensorBoard may be looking at several searches.
    group = f"{trial.name} of {search.run.name}"
    for execution in range(search.executions):
        run = search.run_of(trial, execution)
        if not run.path.is_dir():
            continue
        with _writing(run.path / "tensorboard"):
            api.hparams(values, trial_id=group, start_time_secs=started)
            if execution < len(trial.scores):
                score = trial.scores[execution]
                tf.summary.scalar(_score_tag(search), score, step=trial.best_epoch)
            if trial.state in _STATUS:
                end = summary.session_end_pb(_STATUS[trial.state], started + trial.seconds)
                tf.summary.experimental.write_raw_pb(end.SerializeToString(), step=0)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    with closing(tf.summary.create_file_writer(str(folder))) as writer, writer.as_default():
        yield


def _score_tag(search: Search) -> str:
    return f"best/{search.objective}"


def _curve(objective: str) -> tuple[str, str]:
    """Returns the folder and the tag under which a training writes a value epoch by epoch."""
    if objective.startswith("val_"):
        return "validation", objective.removeprefix("val_")
    return "train", objective


def _labels(keys: Iterable[str]) -> dict[str, str]:
    """Returns the last word of each key, or all of it where several end in the same."""
    last = {key: key.rpartition(".")[2] for key in keys}
    often = Counter(last.values())
    return {key: word if often[word] == 1 else key for key, word in last.items()}


def _domain(hyperparameter: Hyperparameter) -> Any:
    low, high = hyperparameter.range
    match hyperparameter.kind:
        case "float":
            return api.RealInterval(float(low), float(high))
        case "int":
            return api.IntInterval(int(low), int(high))
    return api.Discrete([_value(hyperparameter, value) for value in hyperparameter.values])


def _value(hyperparameter: Hyperparameter, value: Any) -> bool | float | str:
    """Returns a value as the plugin takes it; all values of a choice have one type there."""
    kinds = {type(each) for each in hyperparameter.values}
    if kinds == {bool} or kinds == {str}:
        return value
    if kinds <= {int, float}:
        return float(value)
    return value if isinstance(value, str) else json.dumps(value)
