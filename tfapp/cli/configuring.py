"""Options that stand for keys of a config, and the config that comes of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from tfapp.cli import options

if TYPE_CHECKING:
    from tfapp.config import Config

# Named option to config key.
KEYS: Mapping[str, str] = {
    "data": "data.source",
    "model": "model.name",
    "epochs": "train.epochs",
    "batch_size": "data.batch_size",
    "learning_rate": "train.optimizer.learning_rate",
    "optimizer": "train.optimizer.name",
    "loss": "train.loss",
    "strategy": "train.strategy",
    "seed": "seed",
    "name": "name",
}
TUNE_KEYS: Mapping[str, str] = {
    "algorithm": "tune.algorithm",
    "trials": "tune.trials",
    "objective": "tune.objective",
    "budget": "tune.budget",
    "executions": "tune.executions",
}
_OPTIONS = (
    click.option("--data", metavar="SOURCE", help="Embedded name, TFDS name, or a path."),
    click.option("--model", metavar="NAME", help="Registered name, or mypackage.models:Mine."),
    click.option("--epochs", type=click.IntRange(min=1), help="Passes over the training split."),
    click.option("--batch-size", type=click.IntRange(min=1), help="Examples of one step."),
    click.option("--learning-rate", type=float, help="The rate, or the peak of the schedule."),
    click.option("--optimizer", metavar="NAME", help="Keras optimizer."),
    click.option("--loss", metavar="NAME", help="Keras loss."),
    click.option("--strategy", metavar="NAME", help="one, mirrored, multiworker, tpu, or auto."),
    click.option("--seed", type=click.IntRange(min=0), help="Of weights, dropout and order."),
    click.option("--name", help="Label of the run, part of its directory's name."),
    options.assignments,
    click.option("--run", "run_name", metavar="NAME", help="Exact name of the new run directory."),
)
Command = TypeVar("Command", bound=Any)


def config_options(command: Command) -> Command:
    """Adds what `train` and `tune` have in common: a config file, and options for its keys."""
    for option in reversed(_OPTIONS):
        command = option(command)
    argument = click.argument("config", required=False, type=click.Path(path_type=Path))
    return argument(command)


def load_named(
    context: click.Context,
    path: Path | None,
    assignments: tuple[str, ...],
    named: Mapping[str, Any],
    keys: Mapping[str, str] = KEYS,
) -> Config:
    """Returns the config of a file with everything that was typed or set beside it.

    Args:
        context: Knows which options were typed, and which come from the environment.
        path: The file; `None` for the defaults alone.
        assignments: What `--set` was given.
        named: Values of the named options.
        keys: The config key of each of them.
    """
    from tfapp.config import load_config

    given: dict[bool, dict[str, Any]] = {True: {}, False: {}}
    for option, key in keys.items():
        if named[option] is not None:
            source = context.get_parameter_source(option)
            given[source is ParameterSource.ENVIRONMENT][key] = named[option]
    return load_config(path, assignments, environment=given[True], overrides=given[False])


def typed(context: click.Context, option: str) -> bool:
    """Tells whether an option stands on the command line."""
    return context.get_parameter_source(option) is ParameterSource.COMMANDLINE


def typed_keys(
    context: click.Context, named: Mapping[str, Any], keys: Mapping[str, str] = KEYS
) -> dict[str, Any]:
    """Returns the config keys, with their values, of the options on the command line."""
    return {key: named[option] for option, key in keys.items() if typed(context, option)}
