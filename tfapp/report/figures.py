"""Figures of a run, as SVG files that any browser shows.

Drawn with matplotlib's object interface: nothing global is touched, so a notebook's own figures
and backend stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfapp.errors import UsageError
from tfapp.report.bars import Bar as Bar
from tfapp.report.bars import draw_bars as draw_bars
from tfapp.report.svg import plain, write_svg
from tfapp.runs import Run

if TYPE_CHECKING:  # both need TensorFlow, which a figure does not
    from tfapp.evaluation import Evaluation
    from tfapp.prediction import Predictions

_COLORS = {"train": "#4c78a8", "validation": "#e45756"}
_NOT_CURVES = ("split", "step", "epoch")


def draw_curves(run: Run) -> Path | None:
    """Draws loss, metrics and a changing learning rate over steps into `plots/curves.svg`.

    Returns:
        The file; `None` when no epoch was finished.
    """
    rows = run.metrics()
    if not rows:
        return None
    names = list(dict.fromkeys(key for row in rows for key in row if key not in _NOT_CURVES))
    if len({row["learning_rate"] for row in rows if "learning_rate" in row}) == 1:
        names.remove("learning_rate")  # a constant is no curve
    figure = Figure(figsize=(4.2 * len(names), 3.4), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        _draw_curve(axes, name, rows)
    figure.suptitle(plain(run.name), fontsize=10)
    return write_svg(figure, run.plots / "curves.svg")


def draw_confusion(evaluation: Evaluation) -> Path | None:
    """Draws the confusion matrix into `plots/confusion-SPLIT.svg` of the run.

    Returns:
        The file; `None` for regression.
    """
    if not evaluation.confusion:
        return None
    names = [plain(score.name) for score in evaluation.classes]
    side = min(max(3.6, 0.45 * len(names) + 1.6), 16.0)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    shares = [[count / max(sum(row), 1) for count in row] for row in evaluation.confusion]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(names) <= 60:  # more names cannot be read, and take seconds to place
        turned = max(map(len, names)) > 3
        axes.set_xticks(
            range(len(names)),
            names,
            rotation=45 if turned else 0,
            ha="right" if turned else "center",
        )
        axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if len(names) <= 30:  # beyond that the counts cannot be read
        _write_counts(axes, evaluation.confusion, shares)
    accuracy = evaluation.metrics.get("accuracy")
    shown = "" if accuracy is None else f", accuracy {accuracy:.4f}"
    axes.set_title(f"{evaluation.split}: {evaluation.examples:,} examples{shown}", fontsize=10)
    return write_svg(figure, evaluation.run / "plots" / f"confusion-{evaluation.split}.svg")


def draw_predictions(predictions: Predictions, path: Path, *, most: int = 32) -> Path:
    """Draws images with what was predicted for them; mistakes are red, with the true class.

    Args:
        predictions: Of images `[N, H, W, C]`, C of 1 or 3.
        path: The SVG file to write.
        most: Draw the first so many.

    Raises:
        UsageError: The examples are no images.
    """
    images = predictions.features[:most]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise UsageError(
            f"--plot draws images, but these examples have the shape {list(images.shape[1:])}."
        )
    columns = min(8, len(images))
    lines = -(-len(images) // columns)
    figure = Figure(figsize=(1.15 * columns, 1.45 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, image, shown in zip(grid.flat, images, predictions.predictions, strict=False):
        axes.imshow(image.squeeze(), cmap="gray_r")
        wrong = shown.true is not None and shown.label != shown.true
        title = format(shown.value, ".4g") if shown.label is None else shown.label
        axes.set_title(
            plain(f"{title} (is {shown.true})" if wrong else title),
            fontsize=9,
            color="#c00000" if wrong else "black",
        )
    return write_svg(figure, path)


def _draw_curve(axes: Axes, name: str, rows: Sequence[dict[str, Any]]) -> None:
    for split, color in _COLORS.items():
        points = [(r["step"], r[name]) for r in rows if r["split"] == split and name in r]
        if points:
            axes.plot(
                *zip(*points, strict=True), color=color, label=split, marker=".", markersize=4
            )
    axes.set_title(name.replace("_", " "), fontsize=10)
    axes.set_xlabel("step")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if len(axes.lines) > 1:
        axes.legend(frameon=False, fontsize=8)


def _write_counts(
    axes: Axes, counts: Sequence[Sequence[int]], shares: Sequence[Sequence[float]]
) -> None:
    for row, (count_row, share_row) in enumerate(zip(counts, shares, strict=True)):
        for column, (count, share) in enumerate(zip(count_row, share_row, strict=True)):
            if count:
                color = "white" if share > 0.5 else "black"
                axes.text(
                    column, row, str(count), ha="center", va="center", fontsize=8, color=color
                )
