"""Frees the space of runs that are wanted no more.

A run is renamed to `.removed-NAME.PID`, which no list shows, and deleted then. So a process that is
killed in the middle leaves no half of a run; the next cleaning of the folder deletes the rest. A
checkpoint goes in the same way.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tfapp.errors import StorageError, TfappError, UnknownName, UsageError
from tfapp.locks import hold, is_held, process_alive
from tfapp.overview import summarize_any
from tfapp.runs import LATEST, REMOVED, Run, all_runs, find_run, restore_latest
from tfapp.settings import runs_folder
from tfapp.space import seconds_of
from tfapp.trials import FOLDER, has_search, journal_of, search_lock

STATES = (
    "done",
    "stopped early",
    "interrupted",
    "diverged",
    "failed",
    "killed",
    "damaged",
    "searched",
)
# Whose older checkpoints nothing will be resumed from; of a paused trial only the newest is taken.
_FINISHED = ("done", "stopped early", "paused")
_STEP = "step-"


@dataclass(frozen=True)
class Removal:
    """What goes of one run.

    Attributes:
        run: Name of the run.
        path: Its directory.
        state: Its state; `removed` of what an earlier cleaning left when it was killed.
        idle_seconds: Time since anything was written into it.
        what: `run`: all of it; `checkpoints`: those that are neither the best nor the last.
        paths: What is deleted.
        size_bytes: Size of all files in it.
    """

    run: str
    path: Path
    state: str
    idle_seconds: float
    what: Literal["run", "checkpoints"]
    paths: tuple[Path, ...]
    size_bytes: int


@dataclass(frozen=True)
class Spared:
    """A run that was chosen and stays.

    Attributes:
        run: Name of the run.
        reason: Why.
    """

    run: str
    reason: str


@dataclass(frozen=True)
class Cleaning:
    """What a cleaning removes, or would.

    Attributes:
        removals: The newest run first.
        spared: Runs that were chosen and stay.
        removed: Whether it was done, not only worked out.
    """

    removals: tuple[Removal, ...]
    spared: tuple[Spared, ...]
    removed: bool

    @property
    def size_bytes(self) -> int:
        """Space that it frees."""
        return sum(removal.size_bytes for removal in self.removals)


def clean_runs(
    names: Sequence[str | Path] = (),
    *,
    runs: str | Path | None = None,
    states: Sequence[str] = (),
    older_than: str | None = None,
    keep: int | None = None,
    checkpoints: bool = False,
    remove: bool = False,
) -> Cleaning:
    """Removes runs, or their superfluous checkpoints; only says which unless `remove` is set.

    A run goes if all of what is given applies to it. One that is being trained or searched stays,
    and so does the one that `latest` points at unless it is named.

    Args:
        names: Names or paths of runs; all runs of the folder when empty.
        runs: Folder of run directories; the settings decide when omitted.
        states: Only runs in one of these states, see `STATES`.
        older_than: Only runs into which nothing was written for so long, e.g. `30d`.
        keep: The newest so many runs of the folder stay.
        checkpoints: Remove no run, but of finished ones all checkpoints except the best and the
            last. Of a search those of its trials.
        remove: Do it.

    Raises:
        UsageError: Nothing was chosen, or what cannot be removed.
        MissingError: There is no run of one of the names.
        StorageError: The disk refused.
    """
    # An empty text is a mistake, not nothing: without it more would be removed.
    if not (names or states or checkpoints) and older_than is None and keep is None:
        raise UsageError(
            "nothing was chosen to remove. Name runs, or give --state failed,killed, --older-than"
            " 30d, --keep 10 or --checkpoints."
        )
    _check_states(states)
    folder, idle = runs_folder(runs), 0.0 if older_than is None else _seconds(older_than)
    chosen = _named(names, folder, checkpoints) if names else all_runs(folder)[::-1]
    newest = {run.path.resolve() for run in all_runs(folder)[::-1][: keep or 0]}
    removals = [] if names or checkpoints else list(_leftovers(folder))
    spared: list[Spared] = []
    for run in chosen:
        state, idle_seconds = summarize_any(run).state, _idle_seconds(run)
        if (states and state not in states) or idle_seconds < idle:
            continue
        paths = tuple(_superfluous(run)) if checkpoints else (run.path,)
        if not paths or run.path.resolve() in newest:
            continue
        if reason := _reason_to_stay(run, None if names else folder):
            spared.append(Spared(run.name, reason))
            continue
        what: Literal["run", "checkpoints"] = "checkpoints" if checkpoints else "run"
        size = sum(map(_size_of, paths))
        removals.append(Removal(run.name, run.path, state, idle_seconds, what, paths, size))
    cleaning = Cleaning(tuple(removals), tuple(spared), removed=False)
    return _carry_out(cleaning) if remove else cleaning


def _named(names: Sequence[str | Path], folder: Path, checkpoints: bool) -> list[Run]:
    found: dict[Path, Run] = {}
    for name in names:
        run = find_run(name, folder)
        if (search := _search_above(run)) and not checkpoints:
            raise UsageError(
                f"{run.path} is a trial, of which the journal of its search tells. Remove the whole"
                f" search, {search.path}, or of the trial only --checkpoints."
            )
        if _in_use(run):
            raise UsageError(
                f"run {run.name} is being trained or searched; nothing was removed. Wait for it,"
                " or stop it first."
            )
        found.setdefault(run.path.resolve(), run)
    return list(found.values())


def _check_states(states: Sequence[str]) -> None:
    for state in states:
        if state not in STATES:
            raise UnknownName("state of a run that can be removed", state, STATES)


def _seconds(text: str) -> float:
    try:
        return seconds_of(text)
    except ValueError as error:
        raise UsageError(f"--older-than: {error}.") from error


def _leftovers(folder: Path) -> Iterator[Removal]:
    """Yields what cleanings left that were killed."""
    for path in sorted(folder.glob(f"{REMOVED}*")):
        name, _, pid = path.name.removeprefix(REMOVED).rpartition(".")
        if not (pid.isdecimal() and process_alive(int(pid))):
            idle = time.time() - path.stat().st_mtime
            yield Removal(name, path, "removed", idle, "run", (path,), _size_of(path))


def _reason_to_stay(run: Run, folder: Path | None) -> str:
    """Returns why a run stays, empty if it need not.

    Args:
        run: The run.
        folder: Of runs, if it was not named.
    """
    if _in_use(run):
        return "it is being trained or searched"
    if folder is not None and run.path.is_symlink():
        return "it is a link"
    if folder is not None and run.path.resolve() == (folder / LATEST).resolve():
        return "it is the latest; name it to remove it"
    return ""


def _in_use(run: Run) -> bool:
    search = _search_above(run) or run
    locks = (run.lock, search_lock(search), *(trial.lock for trial in _trials(run)))
    return any(map(is_held, locks))


def _search_above(run: Run) -> Run | None:
    """Returns the run that a trial belongs to; `None` of any other run."""
    folder = run.path.resolve().parent
    search = Run(folder.parent)
    return search if folder.name == FOLDER and has_search(search) else None


def _trials(run: Run) -> list[Run]:
    return all_runs(run.path / FOLDER)


def _superfluous(run: Run) -> Iterator[Path]:
    """Yields the checkpoints of a run and of its trials that are neither best nor last."""
    for each in (run, *_trials(run)):
        with suppress(TfappError, OSError, LookupError, TypeError, ValueError):
            status = each.read_json("status.json")
            if status.get("state") in _FINISHED:
                yield from _neither_best_nor_last(each, status.get("best"))


def _neither_best_nor_last(run: Run, best: Any) -> list[Path]:
    found = [path for path in run.checkpoints.iterdir() if _STEP in path.name]
    whole = {int(p.name.removeprefix(_STEP)): p for p in found if p.name.startswith(_STEP)}
    last = whole[max(whole)]
    told = json.loads((last / "state.json").read_text(encoding="utf-8"))["best"]
    steps = {max(whole), *(value["step"] for value in (best, told) if value)}
    return sorted(set(found) - {whole.get(step) for step in steps})


def _idle_seconds(run: Run) -> float:
    files = [path for path in run.path.iterdir() if path.is_file() and path.name[0] != "."]
    files += [journal_of(run)] * has_search(run)
    # Of files from the clock of another machine not less than nothing.
    return max(0.0, time.time() - max(path.stat().st_mtime for path in files))


def _size_of(path: Path) -> int:
    return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())


def _carry_out(cleaning: Cleaning) -> Cleaning:
    removals, spared = [], list(cleaning.spared)
    for removal in cleaning.removals:
        try:
            _remove(removal)
        except BlockingIOError:
            spared.append(Spared(removal.run, "it is being trained or searched since now"))
        except OSError as error:
            raise StorageError(
                f"cannot remove {removal.path}: {error.strerror or error}. Make it writable, or"
                " remove by hand what is left of it."
            ) from error
        else:
            removals.append(removal)
            restore_latest(removal.path.parent)
    return replace(cleaning, removals=tuple(removals), spared=tuple(spared), removed=True)


def _remove(removal: Removal) -> None:
    run = Run(removal.path)
    doomed = list(removal.paths)
    if removal.state != "removed":
        with ExitStack() as stack:
            stack.enter_context(hold(run.lock))
            if has_search(run):
                stack.enter_context(hold(search_lock(run)))
            mark = REMOVED if removal.what == "run" else ".old-"
            doomed = [
                path.rename(path.with_name(f"{mark}{path.name}.{os.getpid()}")) for path in doomed
            ]
    for path in doomed:
        shutil.rmtree(path)
