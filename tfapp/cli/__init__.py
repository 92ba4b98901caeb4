"""The command line: a thin shell over public functions.

Only the command that was asked for is imported, and TensorFlow only inside its body, so that help
and typos are answered at once.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

import tfapp
from tfapp.cli.errors import report_error
from tfapp.errors import ExitCode

COMMANDS: dict[str, str] = {
    "train": "Train a model into a new run directory.",
    "tune": "Search hyperparameters.",
    "evaluate": "Measure a run's model on one split.",
    "predict": "Predict with a run, a SavedModel or a served model.",
    "report": "Write a page about a run, or several side by side.",
    "export": "Write a run's model as the next numbered SavedModel.",
    "serve": "Serve models as TensorFlow Serving does, by REST and gRPC.",
    "bench": "Measure how fast training, searching and serving are, beside others.",
    "compare": "Run a program on several engines and compare every step.",
    "data": "List, show and prepare data sets.",
    "models": "List and show models.",
    "runs": "List, show, compare and remove runs.",
    "tensorboard": "Show runs in TensorBoard.",
    "doctor": "Show what this installation consists of and whether it works.",
}


class LazyGroup(click.Group):
    """Knows its commands by a table and imports each when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports one command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"tfapp.cli.{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        _name_variables(command, f"TFAPP_{cmd_name}".upper())
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the table without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _name_variables(command: click.Command, prefix: str) -> None:
    """Names the variable of each option after the option: TFAPP_TRAIN_SET for `--set`."""
    for option in command.params:
        if isinstance(option, click.Option) and option.allow_from_autoenv:
            spelling = next(name for name in option.opts if name.startswith("--"))
            option.envvar = f"{prefix}_{spelling.removeprefix('--')}".replace("-", "_").upper()
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            _name_variables(inner, f"{prefix}_{name}".upper())


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with:  tfapp train --data digits --model mlp",
)
@click.version_option(tfapp.__version__, prog_name="tfapp")
def cli() -> None:
    """Train, evaluate and export Keras models with explicit gradient tapes."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; never raises and never exits.

    Args:
        arguments: Words after `tfapp`; those of this process when omitted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result = cli.main(words, prog_name="tfapp", standalone_mode=False, obj=tuple(words))
    except click.exceptions.Exit as request:
        return request.exit_code
    except BaseException as error:  # every ending gets its sentence and its code
        return report_error(error, debug="--debug" in words)
    return result if isinstance(result, int) else ExitCode.DONE
