"""Options that several commands share, declared once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def common(command: Command) -> Command:
    """Adds what every command takes: `--quiet` and `--debug`."""
    command = click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        allow_from_autoenv=False,
        help="Show tracebacks.",
    )(command)
    return click.option("--quiet", "-q", is_flag=True, help="Say only what was asked for.")(command)


def json_output(command: Command) -> Command:
    """Adds `--json`: one object on stdout, everything else on stderr."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(command)


def runs_folder(command: Command) -> Command:
    """Adds `--runs`, the folder of run directories."""
    return click.option(
        "--runs",
        type=click.Path(path_type=Path, file_okay=False),
        default=None,
        help="Folder of run directories.  [default: runs, or TFAPP_RUNS]",
    )(command)


def checkpoint_step(command: Command) -> Command:
    """Adds `--step`, which checkpoint of a run is meant."""
    return click.option(
        "--step", type=click.IntRange(min=0), help="Step of a checkpoint.  [default: the best one]"
    )(command)


def assignments(command: Command) -> Command:
    """Adds `--set key=value`."""
    return click.option(
        "--set",
        "assignments",
        metavar="KEY=VALUE",
        multiple=True,
        help="Set a config key, e.g. --set train.optimizer.learning_rate=0.01. Repeatable.",
    )(command)
