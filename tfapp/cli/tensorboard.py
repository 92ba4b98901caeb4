"""`tfapp tensorboard`."""

from __future__ import annotations

import errno
import logging
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from tfapp.cli import options
from tfapp.errors import MissingError, UsageError

if TYPE_CHECKING:
    from tfapp.runs import Run

_FIRST_PORT = 6006
_PORTS = range(_FIRST_PORT, _FIRST_PORT + 100)
_REFRESH_SECONDS = 5.0


@click.command(
    epilog="""\b
Examples:
  tfapp tensorboard
  tfapp tensorboard 20261121-034500-digits-mlp --port 7007
  tfapp tensorboard --all"""
)
@click.argument("run", required=False)
@click.option("--all", "everything", is_flag=True, help="Show all runs of the folder.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="0 for any that is free.  [default: the first free one from 6006]",
)
@click.option("--host", default="localhost", show_default=True, help="Address to listen on.")
@options.runs_folder
@options.common
def tensorboard(
    run: str | None,
    everything: bool,
    port: int | None,
    host: str,
    runs: Path | None,
    quiet: bool,
) -> None:
    """Show runs in TensorBoard.

    RUN is a run, the latest if none is named, or a folder of runs. Ctrl-C ends it.
    """
    from tfapp.cli.console import say
    from tfapp.cli.signals import stop_on_signals
    from tfapp.runs import all_runs

    if everything and run is not None:
        raise click.UsageError(f"either --all or {run}; a folder of runs is given with --runs.")
    folder = _folder_of_runs(run, everything, runs)
    shown = all_runs(folder) if folder else [_named(run, runs)]
    _check_events(shown, folder)
    port = _free_port(host, port)
    with stop_on_signals(b"\nstopping\n") as stop, _shown_folder(shown, folder) as logdir:
        url = _launch(logdir, host, port)
        say(f"TensorBoard of {folder or shown[0].path}; Ctrl-C ends it", quiet=quiet)
        click.echo(url)
        refreshed = time.monotonic()
        while stop() is None:
            time.sleep(0.1)
            if folder and time.monotonic() - refreshed > _REFRESH_SECONDS:
                _link(all_runs(folder), logdir)
                refreshed = time.monotonic()


def _folder_of_runs(run: str | None, everything: bool, runs: Path | None) -> Path | None:
    """Returns the folder whose runs are all wanted; `None` if one run is."""
    from tfapp.runs import all_runs
    from tfapp.settings import runs_folder

    if everything:
        return runs_folder(runs)
    path = Path(run or "")
    is_folder = run and path.is_dir() and not (path / "config.toml").exists() and all_runs(path)
    return path if is_folder else None


def _named(run: str | None, runs: Path | None) -> Run:
    from tfapp.runs import LATEST, find_run

    return find_run(run or LATEST, runs)


def _check_events(shown: Sequence[Run], folder: Path | None) -> None:
    if any(any(run.path.rglob("events.out.tfevents.*")) for run in shown):
        return
    where = f"in the runs of {folder}/" if folder else f"in run {shown[0].path}"
    raise MissingError(
        f"TensorBoard has nothing to show: there are no event files {where}. They are written as"
        " soon as training begins: tfapp train"
    )


@contextmanager
def _shown_folder(shown: Sequence[Run], folder: Path | None) -> Iterator[Path]:
    """Gives the folder that TensorBoard is to read.

    For several runs one of links: in the folder itself it would find `latest` as a run of its own,
    and runs that are being removed.
    """
    if folder is None:
        yield _events_of(shown[0])
        return
    with tempfile.TemporaryDirectory(prefix="tfapp-tensorboard-") as links:
        _link(shown, Path(links))
        yield Path(links)


def _link(shown: Sequence[Run], links: Path) -> None:
    """Makes a link for each run that has none, and removes those that lead nowhere."""
    for link in links.iterdir():
        if not link.exists():
            link.unlink()
    for run in shown:
        link, target = links / run.name, _events_of(run).resolve()
        if target.exists() and not link.exists():
            link.symlink_to(target, target_is_directory=True)


def _events_of(run: Run) -> Path:
    """Returns the folder with a run's event files; of a search that of all its trials too."""
    from tfapp.trials import has_search

    return run.path if has_search(run) else run.path / "tensorboard"


def _free_port(host: str, port: int | None) -> int:
    """Returns the port to listen on.

    Raises:
        UsageError: It is taken, or the host is no address of this machine.
    """
    candidates = _PORTS if port is None else [port]
    for candidate in candidates:
        if _is_free(host, candidate):
            return candidate
    other = next((p for p in range((port or _FIRST_PORT) + 1, 65536) if _is_free(host, p)), 0)
    raise UsageError(f"port {candidates[0]} is in use. Type: tfapp tensorboard --port {other}")


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        if error.errno == errno.EACCES:
            raise UsageError(
                f"port {port} needs the rights of an administrator. Choose one from 1024 up, e.g."
                f" --port {_FIRST_PORT}"
            ) from error
        raise UsageError(
            f"host {host!r} is no address of this machine ({error.strerror or error}). Use"
            " --host localhost, or --host 0.0.0.0 for all its addresses."
        ) from error
    return True


def _launch(logdir: Path, host: str, port: int) -> str:
    """Starts TensorBoard in threads of this process and returns its address."""
    if "tensorflow" not in sys.modules:
        # With a module of this name TensorBoard does without TensorFlow, which it does not need to
        # read files, and which takes seconds and half a gigabyte.
        sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))
    from tensorboard import default, program

    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    board: Any = program.TensorBoard(plugins=default.get_plugins())
    board.configure(logdir=str(logdir), host=host, port=port)
    with redirect_stderr(StringIO()):  # it announces that it reads files the fast way
        try:
            return str(board.launch())
        except program.TensorBoardServerException as error:  # the port was taken since
            raise UsageError(f"{error.msg}. Choose another with --port, or 0 for any.") from error
