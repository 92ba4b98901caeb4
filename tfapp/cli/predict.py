"""`tfapp predict`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tfapp.cli import options

if TYPE_CHECKING:
    from tfapp.prediction import Model, Predictions

_EPILOG = """\b
Examples:
  tfapp predict runs/latest two.png seven.png
  tfapp predict saved_models/digits-mlp test.npz --format csv
  echo '[[5.1, 3.5, 1.4, 0.2]]' | tfapp predict runs/latest -
  tfapp predict http://localhost:8501/v1/models/digits-mlp two.png
  tfapp predict grpc://localhost:8500/digits-mlp/versions/2 test.npz"""


@click.command(epilog=_EPILOG)
@click.argument("model")
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    show_default=True,
    help="How predictions are printed; json and csv hold every probability.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Print the first so many only.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw images with their predictions into this SVG file.",
)
@options.checkpoint_step
@options.runs_folder
@options.json_output
@options.common
def predict(
    model: str,
    inputs: tuple[Path, ...],
    form: str,
    limit: int | None,
    plot: Path | None,
    step: int | None,
    runs: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Predict with a run, a SavedModel or a served model.

    MODEL is a run, a SavedModel, a folder of numbered SavedModels (its newest is used), or the URL
    of a model behind TensorFlow Serving or tfapp serve. INPUTS are image files, .npz, .csv or .json
    files of raw features, or - for JSON rows on stdin. Where an input holds true labels they are
    shown beside.
    """
    from tfapp.cli.console import say
    from tfapp.cli.quiet import load_tensorflow

    if _needs_tensorflow(model, inputs):
        load_tensorflow()
    from tfapp.prediction import load_model

    result = _predict(load_model(model, runs=runs, step=step), inputs)
    if plot is not None:
        from tfapp.report.figures import draw_predictions

        draw_predictions(result, plot)
    _show(result, "json" if as_json else form, limit, quiet)
    if plot is not None:
        say(f"drawn: {plot}", quiet=quiet)


def _needs_tensorflow(model: str, inputs: tuple[Path, ...]) -> bool:
    """Tells whether it will be imported: seconds that a question by REST does not have to cost."""
    from tfapp.data.image_files import SUFFIXES
    from tfapp.serving.client.address import is_url, parse_address

    if not is_url(model) or parse_address(model).by_grpc:
        return True
    return any(path.suffix.lower() in SUFFIXES for path in inputs)


def _predict(model: Model, inputs: tuple[Path, ...]) -> Predictions:
    from tfapp.prediction import parse_rows, predict, predict_rows

    if inputs == (Path("-"),):
        return predict_rows(model, parse_rows(sys.stdin.read(), "stdin"), "stdin")
    if Path("-") in inputs:
        raise click.UsageError("- (stdin) cannot be mixed with files; predict for them apart.")
    return predict(model, inputs)


def _show(result: Predictions, form: str, limit: int | None, quiet: bool) -> None:
    from tfapp.cli.console import print_csv, print_json, print_table, say

    shown = result.predictions[:limit]
    if form == "json":
        print_json(
            {
                "model": str(result.model),
                "classes": result.classes,
                "predictions": [
                    vars(p) | ({"probabilities": result.probabilities[i]} if result.classes else {})
                    for i, p in enumerate(shown)
                ],
            }
        )
        return
    with_true = any(p.true is not None for p in shown)
    columns = ["input", "label", "probability"] if result.classes else ["input", "value"]
    columns += ["true"] * with_true
    rows = [[getattr(p, column) for column in columns] for p in shown]
    if form == "csv":
        columns += [f"p({name})" for name in result.classes]
        rows = [
            [*row, *result.probabilities[i]] if result.classes else row
            for i, row in enumerate(rows)
        ]
        print_csv(columns, rows)
        return
    if with_true and result.classes:
        columns.append("")
        rows = [
            [*row, "" if p.label == p.true else "wrong"] for row, p in zip(rows, shown, strict=True)
        ]
    print_table(columns, rows)
    if with_true and result.classes:
        right = sum(p.label == p.true for p in result.predictions)
        say(f"{right} of {len(result.predictions)} right", quiet=quiet)
