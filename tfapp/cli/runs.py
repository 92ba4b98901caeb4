"""`tfapp runs`."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfapp.cli import options

if TYPE_CHECKING:
    from tfapp.cleaning import Cleaning
    from tfapp.overview import RunReport
    from tfapp.trials import Search

_SHOWN_TRIALS = 10


@click.group(
    epilog="""\b
Examples:
  tfapp runs list
  tfapp runs show latest
  tfapp runs compare 20261121-034500-digits-mlp latest
  tfapp runs clean --state failed,killed --older-than 7d"""
)
def runs() -> None:
    """List, show, compare and remove runs."""


@runs.command("list", epilog="Example:  tfapp runs list --json")
@options.runs_folder
@options.json_output
@options.common
def list_command(runs: Path | None, as_json: bool, quiet: bool) -> None:
    """List the runs in a folder, newest first."""
    from tfapp.cli.console import print_json, print_table, say
    from tfapp.overview import list_runs
    from tfapp.settings import runs_folder

    folder = runs_folder(runs)
    found = list_runs(folder)
    if as_json:
        print_json({"runs": [vars(run) for run in found]})
        return
    if not found:
        say(f"no runs in {folder}/. Make one with: tfapp train", quiet=quiet)
        return
    columns = ["run", "state", "model", "data", "epoch", "step", "monitor", "best", "seconds"]
    rows: list[list[Any]] = []
    for r in found:
        trained = r.trials is None or r.step  # a search by itself has no steps
        steps = [r.epoch, r.step] if trained else [None, None]
        rows.append([r.name, r.state, r.model, r.data, *steps, r.monitor, r.best])
        rows[-1].append(round(r.seconds, 1))
    if any(run.trials is not None for run in found):
        columns.append("trials")
        rows = [[*row, run.trials] for row, run in zip(rows, found, strict=True)]
    print_table(columns, rows)


@runs.command("show", epilog="Example:  tfapp runs show latest")
@click.argument("run")
@options.runs_folder
@options.json_output
@options.common
def show_command(run: str, runs: Path | None, as_json: bool, quiet: bool) -> None:
    """Show one run: its state, its search, its configuration, its files."""
    from tfapp.cli.console import print_json, print_pairs
    from tfapp.overview import show_run
    from tfapp.runs import find_run, flatten

    report = show_run(find_run(run, runs))
    search = report.search
    if as_json:
        content = asdict(replace(report, search=None))
        print_json(content | {"search": search and _search_as_json(search)})
        return
    pairs = _told_of(report)
    config = [] if quiet else list(flatten(report.config).items())
    if search is None:
        print_pairs([*pairs, *config])
        return
    print_pairs(pairs)
    click.echo()
    _print_trials(search, quiet)
    if config:
        click.echo()
        print_pairs(config)


@runs.command("compare", epilog="Example:  tfapp runs compare RUN1 RUN2")
@click.argument("names", metavar="RUN RUN...", nargs=-1, required=True)
@options.runs_folder
@options.json_output
@options.common
def compare_command(names: tuple[str, ...], runs: Path | None, as_json: bool, quiet: bool) -> None:
    """Put runs side by side, with the config keys in which they differ."""
    from tfapp.cli.console import print_json, print_table, say
    from tfapp.overview import compare_runs
    from tfapp.runs import find_run
    from tfapp.settings import runs_folder

    if len(names) < 2:
        raise click.UsageError("give two runs or more; list them with tfapp runs list.")
    folder = runs_folder(runs)
    comparison = compare_runs([find_run(name, folder) for name in names])
    if as_json:
        print_json(comparison)
        return
    first = comparison.runs[0]
    searched = any(run.trials is not None for run in comparison.runs)
    rows: list[tuple[object, ...]] = [
        ("state", *(run.state for run in comparison.runs)),
        ("epochs", *(run.epoch for run in comparison.runs)),
        *([("trials", *(run.trials for run in comparison.runs))] if searched else []),
        (f"best {first.monitor}", *(run.best for run in comparison.runs)),
        ("seconds", *(round(run.seconds, 1) for run in comparison.runs)),
        *((key, *values) for key, values in comparison.differences.items()),
    ]
    titles = [run.name for run in comparison.runs]
    # Trials of two searches may have the same name.
    print_table(["", *(titles if len(set(titles)) == len(titles) else names)], rows)
    if not comparison.differences:
        say("their configurations are the same", quiet=quiet)


@runs.command(
    "clean",
    epilog="""\b
Examples:
  tfapp runs clean --state failed,killed,diverged
  tfapp runs clean --older-than 30d --keep 10 --yes
  tfapp runs clean --checkpoints""",
)
@click.argument("names", metavar="[RUN...]", nargs=-1)
@click.option("--state", "states", metavar="STATE,...", help="Only runs in one of these states.")
@click.option(
    "--older-than", metavar="TIME", help="Only runs not written into for so long, e.g. 12h or 30d."
)
@click.option("--keep", type=click.IntRange(min=1), metavar="N", help="The newest N runs stay.")
@click.option(
    "--checkpoints",
    is_flag=True,
    help="Remove no run, but of finished ones all checkpoints except best and last.",
)
@click.option("--yes", "remove", is_flag=True, help="Do it; otherwise it is only shown.")
@options.runs_folder
@options.json_output
@options.common
def clean_command(
    names: tuple[str, ...],
    states: str | None,
    older_than: str | None,
    keep: int | None,
    checkpoints: bool,
    remove: bool,
    runs: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Remove runs, or checkpoints of runs, to free space.

    A run goes if all that is given applies to it. One that is being trained stays, and so does the
    latest unless it is named.
    """
    from tfapp.cleaning import clean_runs
    from tfapp.cli.console import print_json

    cleaning = clean_runs(
        names,
        runs=runs,
        states=[state.strip() for state in states.split(",")] if states is not None else (),
        older_than=older_than,
        keep=keep,
        checkpoints=checkpoints,
        remove=remove,
    )
    if as_json:
        print_json(asdict(cleaning) | {"size_bytes": cleaning.size_bytes})
    else:
        _print_cleaning(cleaning, quiet)


def _told_of(report: RunReport) -> list[tuple[str, Any]]:
    """Returns what is told of a run, without its configuration."""
    summary, search = report.summary, report.search
    metrics = report.evaluation.get("metrics", {})
    pairs: list[tuple[str, Any]] = [("run", report.path)]
    if search is None or summary.step:
        done = f"{summary.state} after {summary.epoch} epochs, {summary.step:,} steps"
        pairs += [("state", done), (f"best {summary.monitor}", summary.best)]
    if search is not None:
        pairs += _told_of_search(search, summary.state)
    return [
        *pairs,
        *((f"{report.evaluation['split']} {key}", value) for key, value in metrics.items()),
        ("time", f"{summary.seconds:.1f} s"),
        ("checkpoints", ", ".join(report.checkpoints)),
        ("files", ", ".join(report.files)),
    ]


def _told_of_search(search: Search, state: str) -> list[tuple[str, Any]]:
    others = {kind: search.count(kind) for kind in ("running", "stopped", "failed", "diverged")}
    counts = [f"{search.count('done')} of {search.wanted or len(search.trials)} trials done"]
    counts += [f"{number} {kind}" for kind, number in others.items() if number]
    best = search.best and f"{search.best.score:.6g} in trial {search.best.number}"
    return [
        ("search", f"{state}, {search.algorithm}: {', '.join(counts)}"),
        *([("reason", search.reason)] if search.reason else []),
        (f"best {search.objective}", best),
    ]


def _print_trials(search: Search, quiet: bool) -> None:
    from tfapp.cli.console import print_table, say

    ranked, several = search.ranked(), search.executions > 1
    columns = ["trial", "state", search.objective, *(["spread"] if several else [])]
    rows = [
        [
            trial.name,
            trial.state,
            trial.score,
            *([trial.spread] if several else []),
            trial.epochs,
            round(trial.seconds, 1),
            *(trial.values.get(key) for key in search.space),
        ]
        for trial in ranked[:_SHOWN_TRIALS]
    ]
    print_table([*columns, "epochs", "seconds", *search.space], rows)
    if len(ranked) > _SHOWN_TRIALS:
        say(f"the best {_SHOWN_TRIALS} of {len(ranked)} trials; all with --json", quiet=quiet)


def _search_as_json(search: Search) -> dict[str, Any]:
    """Returns a search as JSON can hold it, its trials the best first."""
    trials = [
        asdict(trial) | {"score": trial.score, "path": search.run_of(trial).path}
        for trial in search.ranked()
    ]
    space = {key: found.model_dump(mode="json") for key, found in search.space.items()}
    told = {key: value for key, value in vars(search).items() if key != "path"}
    return told | {"space": space, "trials": trials}


def _print_cleaning(cleaning: Cleaning, quiet: bool) -> None:
    from tfapp.cli.console import print_table, say

    rows = [
        (
            removal.run,
            removal.state,
            f"{removal.idle_seconds / 86400:.1f}",
            "all of it" if removal.what == "run" else ", ".join(p.name for p in removal.paths),
            f"{removal.size_bytes / 1e6:.3g}",
        )
        for removal in cleaning.removals
    ]
    if rows:
        print_table(["run", "state", "days old", "what goes", "MB"], rows)
    for spared in cleaning.spared:
        say(f"{spared.run} stays: {spared.reason}", quiet=quiet)
    size = f"{cleaning.size_bytes / 1e6:.3g} MB"
    if not rows:
        say("nothing to remove", quiet=quiet)
    elif cleaning.removed:
        say(f"removed; {size} are free again", quiet=quiet)
    else:
        say(f"nothing was removed yet. To free {size}, add --yes", quiet=quiet)
