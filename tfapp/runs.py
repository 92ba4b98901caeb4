"""Run directories: what a training leaves behind, and how to find it again.

    runs/20261121-034500-digits-mlp/
        config.toml        the resolved configuration: re-runnable
        environment.json   versions, machine, command line, git commit
        data.json          shape, classes and scaling of the data: what prediction needs
        status.json        where the run stands; replaced as a whole
        metrics.jsonl      one line for each split and evaluation
        log.txt            what was said while it ran
        checkpoints/  tensorboard/  plots/  evaluation.json

A run is claimed by creating its directory, so two processes never share one; every file that is
replaced is written beside and renamed, so a reader never sees half of it.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import Any

from tfapp.config import Config, load_config, to_toml
from tfapp.errors import (
    MissingError,
    RunExists,
    StorageError,
    UsageError,
    did_you_mean,
    storage_errors,
)
from tfapp.locks import is_held
from tfapp.settings import runs_folder

LATEST = "latest"
# What the names of runs begin with that are being removed.
REMOVED = ".removed-"


@dataclass(frozen=True)
class Run:
    """The files of one run.

    Attributes:
        path: The run directory.
    """

    path: Path

    @property
    def name(self) -> str:
        """The directory's name, e.g. `20261121-034500-digits-mlp`."""
        return self.path.resolve().name

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def metrics_file(self) -> Path:
        """JSON lines, one for each split and evaluation."""
        return self.path / "metrics.jsonl"

    @property
    def lock(self) -> Path:
        """Held by the process that trains the run."""
        return self.path / ".lock"

    @property
    def plots(self) -> Path:
        """Folder of figures."""
        return self.path / "plots"

    def config(
        self, assignments: Iterable[str] = (), overrides: Mapping[str, Any] | None = None
    ) -> Config:
        """Reads `config.toml`, with changes as `load_config` takes them."""
        return load_config(self.path / "config.toml", assignments, overrides=overrides)

    def read_json(self, name: str) -> dict[str, Any]:
        """Reads one of the run's JSON files; an empty dict if it is not there.

        Raises:
            UsageError: The file is there but holds no JSON object.
        """
        file = self.path / name
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise UsageError(
                f"{file} cannot be read: {error}. It was damaged after the run wrote it;"
                " restore it from a copy."
            ) from error
        if not isinstance(content, dict):
            raise UsageError(f"{file} holds a {type(content).__name__}, expected a JSON object.")
        return content

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Replaces one of the run's JSON files as a whole."""
        write_whole(self.path / name, json.dumps(content, indent=2) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """Reads `metrics.jsonl`; a last line cut short by a kill is left out."""
        rows: list[dict[str, Any]] = []
        if self.metrics_file.exists():
            text = self.metrics_file.read_text(encoding="utf-8", errors="replace")
            for line in text.splitlines():
                try:
                    rows.append(json.loads(line))
                except ValueError:
                    break
        return rows


@dataclass(frozen=True)
class RunSummary:
    """One line of `tfapp runs list`.

    Attributes:
        name: Name of the run directory.
        state: running, done, stopped early, interrupted, diverged, failed, killed (it says
            running but its process is gone), or damaged (its files cannot be read); of a search
            searching or searched instead of running or done.
        model: Model name.
        data: Data source.
        step: Steps done.
        epoch: Whole epochs done.
        monitor: Name of the value that decides which checkpoint is best.
        best: Its best value, if an epoch was finished.
        seconds: Time spent training, or searching.
        trials: Trials of its search that are done; `None` if it has no search.
    """

    name: str
    state: str
    model: str
    data: str
    step: int
    epoch: int
    monitor: str
    best: float | None
    seconds: float
    trials: int | None = None


def claim_run(runs: Path, config: Config, *, name: str | None = None, latest: bool = True) -> Run:
    """Creates the directory of a new run.

    Args:
        runs: Folder of run directories; created when missing.
        config: The resolved configuration, written as `config.toml`.
        name: Name of the directory; the time (UTC) and the config's label when omitted.
        latest: Whether `runs/latest` is to point at it from now on.

    Raises:
        RunExists: `name` is taken.
        UsageError: `name` cannot be a run's.
        StorageError: The folder cannot be written.
    """
    check_free(runs, name)
    content = to_toml(config)
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    candidates = [name] if name else _numbered(f"{stamp}-{config.label}")
    with storage_errors(runs):
        runs.mkdir(parents=True, exist_ok=True)
        for candidate in candidates:
            run = Run(runs / candidate)
            try:
                run.path.mkdir()
            except FileExistsError:
                continue
            try:
                write_whole(run.path / "config.toml", content)
            except StorageError:
                run.path.rmdir()  # without a config it is no run, and would only block its name
                raise
            if latest:
                _point_latest(runs, candidate)
            return run
    check_free(runs, name)
    raise RunExists(f"{runs} holds a thousand runs of this second; wait one.")


def check_free(runs: Path, name: str | None) -> None:
    """Refuses a name that a run has already; `None`, a name made later, is always free.

    Raises:
        UsageError: It is no name of a folder, or is `latest`.
        RunExists: It is taken.
    """
    if name is not None and (name in (LATEST, "..", "") or Path(name).name != name):
        raise UsageError(
            f"a run cannot be named {name!r}: {LATEST!r} always points at the newest run, and a"
            " name has no slashes. Choose the folder of runs with --runs."
        )
    if name and (runs / name).exists():
        raise RunExists(
            f"run {runs / name} exists; nothing in it was touched. Continue it with"
            f" --resume {name}, or give another --run name."
        )


def find_run(name: str | Path, runs: str | Path | None = None) -> Run:
    """Returns the run at a path, or the one of that name in a folder of runs.

    Args:
        name: A path, a name, or `latest`.
        runs: Folder of run directories; the settings decide when omitted.

    Raises:
        MissingError: Neither is there.
        UsageError: The folder is there but is not a run.
    """
    runs = runs_folder(runs)
    folders = [folder for folder in (Path(name), runs / name) if folder.is_dir()]
    for folder in folders:
        if (folder / "config.toml").exists():
            return Run(folder.parent / folder.readlink() if folder.is_symlink() else folder)
    if folders:
        raise UsageError(
            f"{folders[0]} is not a run directory: it has no config.toml."
            " Runs are made by tfapp train; list them with tfapp runs list."
        )
    known = [run.name for run in all_runs(runs)]
    known += [LATEST] * bool(known)
    raise MissingError(
        f"no run {str(name)!r}, neither as a path nor in {runs}/.{did_you_mean(str(name), known)}"
        + (" List them with tfapp runs list." if known else " Make one with tfapp train.")
    )


def open_run(run: Run | str | Path) -> Run:
    """Returns a run that is given as such, by path, or by its name in the default folder.

    Raises:
        MissingError: There is none of that name.
    """
    return run if isinstance(run, Run) else find_run(run)


def summarize_run(run: Run) -> RunSummary:
    """Returns the state of a run's training as one line; works on runs that are still going.

    Raises:
        UsageError: One of its files is damaged.
    """
    status = run.read_json("status.json")
    config = config_table(run)
    state = str(status.get("state", "failed"))
    if state == "running" and not is_held(run.lock):
        state = "killed"
    best = status.get("best") or {}
    return RunSummary(
        name=run.name,
        state=state,
        model=config.get("model", {}).get("name", "?"),
        data=config.get("data", {}).get("source", "?"),
        step=int(status.get("step", 0)),
        epoch=int(status.get("epoch", 0)),
        monitor=str(status.get("monitor", "")),
        best=best.get("value"),
        seconds=float(status.get("seconds", 0.0)),
    )


def all_runs(runs: Path) -> list[Run]:
    """Returns the runs in a folder, oldest first; none if the folder is not there."""
    found: list[tuple[int, str, Run]] = []
    for path in runs.iterdir() if runs.is_dir() else ():
        config = path / "config.toml"
        if path.name == LATEST or path.name.startswith(REMOVED) or not config.is_file():
            continue
        with suppress(FileNotFoundError):  # removed at this moment
            found.append((config.stat().st_mtime_ns, path.name, Run(path)))
    return [run for *_, run in sorted(found, key=itemgetter(0, 1))]


def config_table(run: Run) -> dict[str, Any]:
    """Reads `config.toml` unchecked, so that runs of older versions can be shown."""
    file = run.path / "config.toml"
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{file} cannot be read: {error}. It was damaged after the run wrote it;"
            " restore it from a copy."
        ) from error


def restore_latest(runs: Path) -> None:
    """Lets `latest` point at the newest run again where the one it pointed at is gone."""
    link = runs / LATEST
    if link.is_symlink() and not link.exists():
        if left := all_runs(runs):
            _point_latest(runs, left[-1].name)
        else:
            link.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Replaces a file so that a reader sees the old or the new content, never a part.

    Raises:
        StorageError: The disk refused; the old content is still there.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with storage_errors(path):
        try:
            beside.write_bytes(content.encode() if isinstance(content, str) else content)
            beside.replace(path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise


def _numbered(name: str) -> list[str]:
    return [name, *(f"{name}-{number}" for number in range(2, 1000))]


def _point_latest(runs: Path, name: str) -> None:
    beside = runs / f".{LATEST}.{os.getpid()}"
    beside.unlink(missing_ok=True)
    try:
        beside.symlink_to(name, target_is_directory=True)
        beside.replace(runs / LATEST)
    except OSError:  # Windows without the right to make links: runs are still found by name
        beside.unlink(missing_ok=True)


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested tables as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
