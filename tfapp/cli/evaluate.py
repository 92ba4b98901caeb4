"""`tfapp evaluate`."""

from __future__ import annotations

from pathlib import Path

import click

from tfapp.cli import options

_EPILOG = """\b
Examples:
  tfapp evaluate runs/latest
  tfapp evaluate latest --split validation --json
  tfapp evaluate latest --data other.csv"""


@click.command(epilog=_EPILOG)
@click.argument("run")
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test"]),
    help="Which examples.  [default: test]",
)
@click.option("--data", metavar="SOURCE", help="Another source: its test split, or all of it.")
@options.checkpoint_step
@options.runs_folder
@options.json_output
@options.common
def evaluate(
    run: str,
    split: str | None,
    data: str | None,
    step: int | None,
    runs: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure a run's model on one split.

    RUN is a run directory or the name of one. The result is kept in the run as evaluation.json,
    the confusion matrix as plots/confusion-SPLIT.svg.
    """
    from tfapp.cli.console import print_json, print_pairs, print_table, say
    from tfapp.cli.quiet import load_tensorflow
    from tfapp.runs import find_run

    found = find_run(run, runs)
    load_tensorflow()
    from tfapp.evaluation import evaluate_run
    from tfapp.report.figures import draw_confusion

    result = evaluate_run(found, split=split, data=data, step=step)
    figure = draw_confusion(result)
    if as_json:
        print_json(result)
        return
    print_pairs(
        [
            ("run", result.run),
            ("data", f"{result.source}, {result.split}: {result.examples:,} examples"),
            ("checkpoint", f"step {result.step:,}"),
            *((f"{result.split} {name}", value) for name, value in result.metrics.items()),
            *([("confusion", figure)] if figure else []),
        ]
    )
    if result.classes and not quiet:
        click.echo()
        rows = [(c.name, c.examples, c.precision, c.recall) for c in result.classes]
        print_table(["class", "examples", "precision", "recall"], rows)
    say(f"next: tfapp export {result.run}", quiet=quiet)
