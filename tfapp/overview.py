"""What is known of runs and of the searches in them: lists, reports, comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tfapp.errors import TfappError
from tfapp.runs import Run, RunSummary, all_runs, config_table, flatten, summarize_run
from tfapp.settings import runs_folder
from tfapp.trials import Search, has_search, read_search

# What stands between the states of a training and those of a search.
_STATES = {"running": "searching", "done": "searched", "out of time": "searched"}


@dataclass(frozen=True)
class RunReport:
    """Everything `tfapp runs show` tells of a run.

    Attributes:
        summary: The line of the list.
        path: The run directory.
        config: The resolved configuration.
        evaluation: What `tfapp evaluate` last found, else empty.
        checkpoints: Names of the checkpoints on disk, oldest first.
        files: Names of all other files and folders.
        search: Its search, if it has one.
    """

    summary: RunSummary
    path: Path
    config: dict[str, Any]
    evaluation: dict[str, Any]
    checkpoints: tuple[str, ...]
    files: tuple[str, ...]
    search: Search | None = None


@dataclass(frozen=True)
class RunComparison:
    """Several runs side by side.

    Attributes:
        runs: Their summaries, in the order asked for.
        differences: Config keys that are not the same in all, each with its value by run.
    """

    runs: tuple[RunSummary, ...]
    differences: dict[str, tuple[Any, ...]]


def list_runs(runs: str | Path | None = None) -> list[RunSummary]:
    """Returns the runs in a folder, newest first; a damaged one does not hide the others.

    Args:
        runs: Folder of run directories; the settings decide when omitted.
    """
    return [summarize_any(run) for run in reversed(all_runs(runs_folder(runs)))]


def show_run(run: Run) -> RunReport:
    """Returns all that is known of a run without TensorFlow.

    Raises:
        UsageError: One of its files is damaged.
    """
    search = read_search(run) if has_search(run) else None
    checkpoints = sorted(p.name for p in run.checkpoints.glob("step-*"))
    return RunReport(
        summary=_summary(run, search),
        path=run.path,
        config=config_table(run),
        evaluation=run.read_json("evaluation.json"),
        checkpoints=tuple(checkpoints),
        files=tuple(sorted(p.name for p in run.path.iterdir() if p.name != "checkpoints")),
        search=search,
    )


def compare_runs(runs: Sequence[Run]) -> RunComparison:
    """Puts runs side by side and names the config keys in which they differ."""
    reports = [show_run(run) for run in runs]
    flat = [flatten(report.config) for report in reports]
    keys = sorted(set().union(*flat))
    values = {key: tuple(settings.get(key) for settings in flat) for key in keys}
    differences = {key: row for key, row in values.items() if any(v != row[0] for v in row)}
    return RunComparison(tuple(report.summary for report in reports), differences)


def summarize_any(run: Run) -> RunSummary:
    """Returns the line of a run in a list; of a damaged one that it is damaged."""
    try:
        return _summary(run, read_search(run) if has_search(run) else None)
    except (TfappError, OSError, LookupError, TypeError, ValueError):
        return RunSummary(run.name, "damaged", "?", "?", 0, 0, "", None, 0.0)


def _summary(run: Run, search: Search | None) -> RunSummary:
    """Where a run stands: its search does, as long as it has no training of its own."""
    summary = summarize_run(run)
    if search is None:
        return summary
    summary = replace(summary, trials=search.count("done"))
    if run.read_json("status.json"):
        return summary
    return replace(
        summary,
        state=_STATES.get(search.state, search.state),
        monitor=search.objective,
        best=search.best.score if search.best else None,
        seconds=search.seconds,
    )
