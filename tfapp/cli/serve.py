"""`tfapp serve`."""

from __future__ import annotations

import gc
import logging
import os
import select
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tfapp.cli import options
from tfapp.cli.server_log import LogOptions, server_log
from tfapp.cli.serving import OwnOption, refuse_own_options
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
    typed_flags,
)
from tfapp.serving.options import ServerOptions
from tfapp.serving.status import ServingError

if TYPE_CHECKING:
    from tfapp.serving.configs import ModelConfig
    from tfapp.serving.observing import Observer
    from tfapp.serving.server import ModelServer

log = logging.getLogger("tfapp.serving.server")
_native = logging.getLogger("tfapp.serving.native")  # what C++ writes to stderr

_NEEDED = ("httptools", "orjson")
_LOOK_SECONDS = 0.05
_FLUSH_SECONDS = 1.0
_END_SECONDS = 2.0


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
    # Flags may be typed with - for _, and so may our options beside them.
    context_settings={
        "ignore_unknown_options": True,
        "token_normalize_func": lambda name: name.replace("-", "_"),
    },
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
@click.option(
    "--log_format",
    cls=OwnOption,
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Form of the log on stderr; json for one object a line.",
)
@click.option(
    "--access_log/--no_access_log",
    cls=OwnOption,
    default=None,
    help="Log a line for each request.  [default: only as JSON]",
)
@click.option(
    "--rest_tls", cls=OwnOption, is_flag=True, help="Encrypt REST, too, by --ssl_config_file."
)
@click.option(
    "--rest_body_limit_mb",
    cls=OwnOption,
    type=click.IntRange(min=0),
    default=512,
    show_default=True,
    help="MiB of the largest body by REST; 0 for any.",
)
@click.option(
    "--rest_gzip_answers",
    cls=OwnOption,
    is_flag=True,
    help="Compress answers by REST for clients that accept gzip.",
)
@click.option(
    "--rest_busy_poll_us",
    cls=OwnOption,
    type=click.IntRange(0, 100_000),
    default=200,
    show_default=True,
    help="Microseconds that REST looks for the next request before it sleeps, if 9 of 10 come so"
    " soon; 0 to sleep at once.",
)
@click.option(
    "--rest_readers",
    cls=OwnOption,
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Processes that help to read requests by REST when many clients ask at once; at most one"
    " for each core but the first.",
)
@click.option(
    "--adaptive_batching/--no_adaptive_batching",
    cls=OwnOption,
    default=True,
    help="Compute requests together where that changes nothing but last digits.  [default: yes]",
)
@options.runs_folder
@options.common
def serve(
    words: tuple[str, ...],
    server: str,
    log_format: str,
    access_log: bool | None,
    rest_tls: bool,
    rest_body_limit_mb: int,
    rest_gzip_answers: bool,
    rest_busy_poll_us: int,
    rest_readers: int,
    adaptive_batching: bool,
    runs: Path | None,
    quiet: bool,
) -> int:
    """Serve models as TensorFlow Serving does, by REST and gRPC.

    MODEL is a folder of numbered SavedModels, one SavedModel, or a run that was exported; REST
    then listens on 8501, too. Without it the flags say what is served. Flags are those of
    tensorflow_model_server, which is used where it is installed; Ctrl-C ends the server when the
    requests under way are answered.
    """
    flags, others = parse_flags(words, also=_options())
    if len(others) > 1:
        raise UsageError(
            f"one MODEL at a time, found {', '.join(others)}. For several use --model_config_file."
        )
    log = LogOptions(as_json=log_format == "json", access=access_log, quiet=quiet)
    chosen = ServerOptions(
        rest_tls=rest_tls,
        body_limit=rest_body_limit_mb * 2**20 or None,
        gzip_answers=rest_gzip_answers,
        adaptive_batching=adaptive_batching,
        busy_poll_seconds=rest_busy_poll_us / 1e6,
        rest_readers=rest_readers,
    )
    return _serve(_resolve(flags, others, words, runs), server, log, chosen)


def _options() -> list[str]:
    """Returns the options of this command that are no flags of TensorFlow Serving."""
    params = click.get_current_context().command.params
    return [name for param in params for name in param.opts if name.startswith("--")]


def _resolve(
    flags: Flags, others: tuple[str, ...], words: tuple[str, ...], runs: Path | None
) -> Flags:
    from tfapp.cli.serving import with_model

    if not others:
        return flags
    return with_model(flags, typed_flags(words), others[0], runs)


def _serve(flags: Flags, server: str, log: LogOptions, chosen: ServerOptions) -> int:
    from tfapp.cli.console import say
    from tfapp.cli.serving import real_server

    if real := real_server(server):
        refuse_own_options(click.get_current_context(), real)
        say(f"serving with {real}", quiet=log.quiet)
        sys.stdout.flush()
        os.execv(real, [real, *flags.words()])
    if flags.version:
        _show_version()
        return ExitCode.DONE
    check_flags(flags)
    channel_arguments(flags.grpc_channel_arguments)
    if chosen.rest_tls and not (flags.ssl_config_file and flags.rest_api_port):
        raise UsageError(
            "--rest_tls needs --ssl_config_file, which names the certificate, and --rest_api_port."
        )
    for module in _NEEDED:
        if missing := missing_extra(module, "serve"):
            raise MissingError(f"{module} is {missing}")
    configs = _read_files(flags)
    from tfapp.serving.ports import check_ports

    check_ports(flags)
    return _serve_here(flags, configs, log, chosen)


def _read_files(flags: Flags) -> tuple[ModelConfig, ...]:
    """Returns the models; refuses files with mistakes before TensorFlow is loaded for seconds."""
    from tfapp.serving.configs import configs_of
    from tfapp.serving.monitoring import metrics_path
    from tfapp.serving.tls import encryption

    try:
        metrics_path(flags.monitoring_config_file)
        encryption(flags.ssl_config_file)
        return configs_of(flags)
    except ServingError as error:
        raise StartError(error.code, str(error)) from error


def _serve_here(
    flags: Flags,
    configs: tuple[ModelConfig, ...],
    log_options: LogOptions,
    chosen: ServerOptions,
) -> int:
    from tfapp.cli.quiet import load_tensorflow
    from tfapp.cli.signals import stop_on_signals

    said = b"" if log_options.as_json else b"\nstopping; once more to quit at once\n"
    logs: list[Observer] = []
    with stop_on_signals(said, lambda code: _end_at_once(code, logs)) as stop:
        load_tensorflow(_native.warning if log_options.as_json else None)
        from tfapp.serving.server import ModelServer

        # What is imported by now stays. Else each model that is unloaded would have all of it
        # searched for cycles, half a second in which no request is answered.
        gc.collect()
        gc.freeze()
        with server_log(log_options) as requests:
            logs.append(requests)
            try:
                server = ModelServer(flags, configs, observers=[requests], options=chosen)
                _run(server, flags, stop, log_options, "https" if chosen.rest_tls else "http")
            except TfappError as error:
                if not log_options.as_json:
                    raise
                log.error("%s", error)
                return error.exit_code
    _pass_over_lost_stderr()
    return ExitCode.DONE


def _end_at_once(code: ExitCode, logs: Sequence[Observer]) -> None:
    """Ends the process, which would wait for its threads, and these for requests under way."""
    from tfapp.serving.logs import AccessLog

    def flush() -> None:
        for requests in logs:
            if isinstance(requests, AccessLog):
                requests.close()
        logging.shutdown()

    # By another thread: this one may have been interrupted in the middle of a line of the log, and
    # whoever reads the log may read no more.
    flushing = threading.Thread(target=flush, daemon=True)
    flushing.start()
    flushing.join(_FLUSH_SECONDS)
    os._exit(code)


def _pass_over_lost_stderr() -> None:
    """Lets what is still to be written to stderr go nowhere if nobody reads it any more.

    Else the interpreter, which writes the rest at its end, makes the exit code 120.
    """
    if not hasattr(select, "poll"):  # Windows
        return
    stderr = sys.stderr.fileno()
    poll = select.poll()
    poll.register(stderr, 0)
    if any(event & select.POLLERR for _, event in poll.poll(0)):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stderr)
        os.close(nowhere)


def _end_soon() -> None:
    """Sees to it that the process ends, whatever its threads still wait for.

    A request that takes longer than is waited for cannot be ended, and the interpreter would wait
    for it; so it would for a line of the log that nobody reads.
    """

    def end() -> None:
        time.sleep(_END_SECONDS)
        os._exit(ExitCode.DONE)

    threading.Thread(target=end, daemon=True).start()


def _run(
    server: ModelServer,
    flags: Flags,
    stop: Callable[[], ExitCode | None],
    options: LogOptions,
    scheme: str,
) -> None:
    try:
        if server.start(lambda: stop() is not None):
            _tell(server, flags, scheme)
        while stop() is None:
            if server.failed():
                raise TfappError("REST stopped by itself; see the lines above.")
            time.sleep(_LOOK_SECONDS)
        if options.as_json:
            # This thread must go on even if nobody reads the log, and the pipe to him is full.
            threading.Thread(target=log.info, args=["stopping"], daemon=True).start()
    finally:
        server.close()
        if stop() is not None:
            _end_soon()


def _tell(server: ModelServer, flags: Flags, scheme: str) -> None:
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
                url = f"{scheme}://localhost:{flags.rest_api_port}/v1/models/{quote(name, safe='')}"
                where.insert(0, f"REST {url}:predict")
            click.echo(f"{about}: {', '.join(where)}")


def _show_version() -> None:
    from importlib.metadata import version

    import tfapp

    click.echo(f"TensorFlow ModelServer: tfapp {tfapp.__version__}")
    click.echo(f"TensorFlow Library: {version('tensorflow')}")
