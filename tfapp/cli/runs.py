"""`tfapp runs`."""

from __future__ import annotations

from pathlib import Path

import click

from tfapp.cli import options


@click.group(
    epilog="""\b
Examples:
  tfapp runs list
  tfapp runs show latest
  tfapp runs compare 20261121-034500-digits-mlp latest"""
)
def runs() -> None:
    """List, show and compare runs."""


@runs.command("list", epilog="Example:  tfapp runs list --json")
@options.runs_folder
@options.json_output
@options.common
def list_command(runs: Path | None, as_json: bool, quiet: bool) -> None:
    """List the runs in a folder, newest first."""
    from tfapp.cli.console import print_json, print_table, say
    from tfapp.runs import list_runs
    from tfapp.settings import runs_folder

    folder = runs_folder(runs)
    found = list_runs(folder)
    if as_json:
        print_json({"runs": [vars(run) for run in found]})
    elif found:
        columns = ("run", "state", "model", "data", "epoch", "step", "monitor", "best", "seconds")
        print_table(
            columns,
            [
                (
                    r.name,
                    r.state,
                    r.model,
                    r.data,
                    r.epoch,
                    r.step,
                    r.monitor,
                    r.best,
                    round(r.seconds, 1),
                )
                for r in found
            ],
        )
    else:
        say(f"no runs in {folder}/. Make one with: tfapp train", quiet=quiet)


@runs.command("show", epilog="Example:  tfapp runs show latest")
@click.argument("run")
@options.runs_folder
@options.json_output
@options.common
def show_command(run: str, runs: Path | None, as_json: bool, quiet: bool) -> None:
    """Show one run: its state, its configuration, its files."""
    from tfapp.cli.console import print_json, print_pairs
    from tfapp.runs import find_run, flatten, show_run

    report = show_run(find_run(run, runs))
    if as_json:
        print_json(report)
        return
    summary = report.summary
    metrics = report.evaluation.get("metrics", {})
    print_pairs(
        [
            ("run", report.path),
            ("state", f"{summary.state} after {summary.epoch} epochs, {summary.step:,} steps"),
            (f"best {summary.monitor}", summary.best),
            *((f"{report.evaluation['split']} {k}", value) for k, value in metrics.items()),
            ("time", f"{summary.seconds:.1f} s"),
            ("checkpoints", ", ".join(report.checkpoints)),
            ("files", ", ".join(report.files)),
            *([] if quiet else flatten(report.config).items()),
        ]
    )


@runs.command("compare", epilog="Example:  tfapp runs compare RUN1 RUN2")
@click.argument("names", metavar="RUN RUN...", nargs=-1, required=True)
@options.runs_folder
@options.json_output
@options.common
def compare_command(names: tuple[str, ...], runs: Path | None, as_json: bool, quiet: bool) -> None:
    """Put runs side by side, with the config keys in which they differ."""
    from tfapp.cli.console import print_json, print_table, say
    from tfapp.runs import compare_runs, find_run
    from tfapp.settings import runs_folder

    if len(names) < 2:
        raise click.UsageError("give two runs or more; list them with tfapp runs list.")
    folder = runs_folder(runs)
    comparison = compare_runs([find_run(name, folder) for name in names])
    if as_json:
        print_json(comparison)
        return
    first = comparison.runs[0]
    rows: list[tuple[object, ...]] = [
        ("state", *(run.state for run in comparison.runs)),
        ("epochs", *(run.epoch for run in comparison.runs)),
        (f"best {first.monitor}", *(run.best for run in comparison.runs)),
        ("seconds", *(round(run.seconds, 1) for run in comparison.runs)),
        *((key, *values) for key, values in comparison.differences.items()),
    ]
    print_table(["", *(run.name for run in comparison.runs)], rows)
    if not comparison.differences:
        say("their configurations are the same", quiet=quiet)
