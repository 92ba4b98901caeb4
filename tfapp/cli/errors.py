"""How an error is told: one sentence on stderr, and the exit code of its kind."""

from __future__ import annotations

import traceback

import click

from tfapp.errors import ExitCode, TfappError, did_you_mean, reason_of
from tfapp.settings import read_settings


def report_error(error: BaseException, *, debug: bool) -> int:
    """Writes what the user should read and returns the exit code.

    Args:
        error: Whatever ended the command.
        debug: Whether the traceback is shown; `TFAPP_DEBUG` has the same effect.
    """
    debug = debug or read_settings().debug
    if debug:
        traceback.print_exception(error)
    if isinstance(error, SystemExit):  # click ends so when nobody reads the other end of a pipe
        return error.code if isinstance(error.code, int) else ExitCode.FAILED
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return ExitCode.USAGE
    if isinstance(error, click.ClickException):
        return _usage(error)
    if isinstance(error, TfappError):
        for line in str(error).splitlines():
            click.echo(f"error: {line}", err=True)
        return error.exit_code
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        click.echo("error: interrupted before anything could be saved", err=True)
        return ExitCode.INTERRUPTED
    if isinstance(error, MemoryError):
        click.echo("error: out of memory. Use a smaller data.batch_size or model.", err=True)
        return ExitCode.FAILED
    where = "" if debug else " Run again with --debug to see where."
    click.echo(f"error: {reason_of(error)}.{where}", err=True)
    return ExitCode.FAILED


def _range(kind: click.IntRange | click.FloatRange) -> str:
    """Returns the numbers that an option takes, as its help shows them."""
    low, high = "" if kind.min_open else "=", "" if kind.max_open else "="
    if kind.max is None:
        return f"x>{low}{kind.min}"
    return f"x<{high}{kind.max}" if kind.min is None else f"{kind.min}<{low}x<{high}{kind.max}"


def _usage(error: click.ClickException) -> int:
    message = error.format_message()
    context = getattr(error, "ctx", None)
    kind = getattr(getattr(error, "param", None), "type", None)
    if isinstance(error, click.NoSuchOption):
        known = [o for p in context.command.params for o in p.opts] if context else []
        message = f"no option {error.option_name}.{did_you_mean(error.option_name, known)}"
    elif context is not None and isinstance(context.command, click.Group):
        known = context.command.list_commands(context)
        if message.startswith("No such command") and (word := message.split("'")[1]):
            message = f"no command {word!r}.{did_you_mean(word, known)} Known: {', '.join(known)}."
    elif isinstance(kind, click.IntRange | click.FloatRange) and message.endswith(" range."):
        message = f"{message[:-1]}, which is {_range(kind)}."
    click.echo(f"error: {message}", err=True)
    if context is not None:
        click.echo(f"Try: {context.command_path} --help", err=True)
    return ExitCode.USAGE
