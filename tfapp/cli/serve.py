"""`tfapp serve`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tfapp.cli import options
from tfapp.errors import ExitCode, MissingError, TfappError, UsageError
from tfapp.names import missing_extra
from tfapp.serving.flags import (
    Flags,
    StartError,
    Support,
    channel_arguments,
    check_flags,
    flag_groups,
    flags_by_support,
    parse_flags,
)
from tfapp.serving.status import ServingError

if TYPE_CHECKING:
    from tfapp.serving.configs import ModelConfig
    from tfapp.serving.server import ModelServer

_NEEDED = ("httptools", "orjson")
_LOOK_SECONDS = 0.05


class _FlagsCommand(click.Command):
    """Shows the flags of TensorFlow Serving below the options of tfapp."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes options and flags, by group."""
        super().format_options(ctx, formatter)
        for group, rows in flag_groups().items():
            with formatter.section(group):
                formatter.write_dl(rows)
        for support, told in (
            (Support.ACCEPTED, "Accepted, without effect on the embedded server"),
            (Support.REFUSED, "Not supported by the embedded server yet"),
        ):
            with formatter.section(told):
                formatter.write_text(", ".join(flags_by_support(support)))


@click.command(
    cls=_FlagsCommand,
    context_settings={"ignore_unknown_options": True},
    epilog="""\b
Examples:
  tfapp serve saved_models/digits-mlp
  tfapp serve runs/latest --port 9000 --rest_api_port 9001
  tfapp serve --rest_api_port=8501 --model_name=m --model_base_path=/models/m
  tfapp serve --model_config_file=models.config""",
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[MODEL] [FLAGS]...")
@click.option(
    "--server",
    default="auto",
    show_default=True,
    help="Path of tensorflow_model_server; auto for the one on PATH, if there is one; embedded.",
)
@options.runs_folder
@options.common
def serve(words: tuple[str, ...], server: str, runs: Path | None, quiet: bool) -> int:
    """Serve models as TensorFlow Serving does, by REST and gRPC.

    MODEL is a folder of numbered SavedModels, one SavedModel, or a run that was exported; REST
    then listens on 8501, too. Without it the flags say what is served. Flags are those of
    tensorflow_model_server, which is used where it is installed; Ctrl-C ends the server when the
    requests under way are answered.
    """
    flags, others = parse_flags(words)
    if len(others) > 1:
        raise UsageError(
            f"one MODEL at a time, found {', '.join(others)}. For several use --model_config_file."
        )
    return _serve(_resolve(flags, others, words, runs), server, quiet)


def _resolve(
    flags: Flags, others: tuple[str, ...], words: tuple[str, ...], runs: Path | None
) -> Flags:
    from tfapp.cli.serving import with_model

    if not others:
        return flags
    rest = any(word.replace("-", "_").startswith("__rest_api_port") for word in words)
    return with_model(flags, others[0], runs, rest=rest)


def _serve(flags: Flags, server: str, quiet: bool) -> int:
    from tfapp.cli.console import say
    from tfapp.cli.serving import real_server

    if real := real_server(server):
        say(f"serving with {real}", quiet=quiet)
        sys.stdout.flush()
        os.execv(real, [real, *flags.words()])
    if flags.version:
        _show_version()
        return ExitCode.DONE
    check_flags(flags)
    channel_arguments(flags.grpc_channel_arguments)
    for module in _NEEDED:
        if missing := missing_extra(module, "serve"):
            raise MissingError(f"{module} is {missing}")
    from tfapp.serving.configs import configs_of
    from tfapp.serving.ports import check_ports

    try:
        configs = configs_of(flags)
    except ServingError as error:
        raise StartError(error.code, str(error)) from error
    check_ports(flags)
    return _serve_here(flags, configs, quiet)


def _serve_here(flags: Flags, configs: tuple[ModelConfig, ...], quiet: bool) -> int:
    import time

    from tfapp.cli.quiet import load_tensorflow
    from tfapp.cli.signals import stop_on_signals

    with stop_on_signals(b"\nstopping; once more to quit at once\n") as stop:
        load_tensorflow()
        from tfapp.serving.server import ModelServer

        with _log_to_stderr(quiet):
            server = ModelServer(flags, configs)
            try:
                if server.start(lambda: stop() is not None):
                    _tell(server, flags)
                while stop() is None:
                    if server.failed():
                        raise TfappError("REST stopped by itself; see the lines above.")
                    time.sleep(_LOOK_SECONDS)
            finally:
                server.close()
    return ExitCode.DONE


def _tell(server: ModelServer, flags: Flags) -> None:
    """Prints a line for each model: what it is, and where to ask."""
    from urllib.parse import quote

    from tfapp.serving.models import ModelSpec
    from tfapp.serving.server import grpc_addresses

    for name in server.models.names():
        with suppress(ServingError), server.models.use(ModelSpec(name)) as servable:
            # Those with underscores in front are TensorFlow's own.
            public = sorted(key for key in servable.signatures if not key.startswith("__"))
            about = f"{name} version {servable.version} ({', '.join(public)})"
            where = [f"gRPC {address}" for address in grpc_addresses(flags)]
            if flags.rest_api_port:
                url = f"http://localhost:{flags.rest_api_port}/v1/models/{quote(name, safe='')}"
                where.insert(0, f"REST {url}:predict")
            click.echo(f"{about}: {', '.join(where)}")


def _show_version() -> None:
    from importlib.metadata import version

    import tfapp

    click.echo(f"TensorFlow ModelServer: tfapp {tfapp.__version__}")
    click.echo(f"TensorFlow Library: {version('tensorflow')}")


@contextmanager
def _log_to_stderr(quiet: bool) -> Iterator[None]:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(message)s"))
    logger = logging.getLogger("tfapp.serving")
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.propagate = False  # TensorFlow's logging would repeat every line
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]
