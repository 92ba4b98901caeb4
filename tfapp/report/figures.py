"""Figures of a run, as SVG files that any browser shows and as parts of a page.

Drawn with matplotlib's object interface: nothing global is touched, so a notebook's own figures
and backend stay as they are. What only a report draws is in `tfapp.report.measured_figures`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator

from tfapp.errors import UsageError
from tfapp.report.bars import Bar as Bar
from tfapp.report.bars import draw_bars as draw_bars
from tfapp.report.plots import Drawing, Plot, write_plot
from tfapp.report.svg import plain, write_svg
from tfapp.report.words import shortened
from tfapp.runs import Run

if TYPE_CHECKING:  # both need TensorFlow, which a figure does not
    from tfapp.evaluation import Evaluation
    from tfapp.prediction import Predictions

_COLORS = {"train": "#4c78a8", "validation": "#e45756"}
_NOT_CURVES = ("split", "step", "epoch")
_MOST_NAMES = 60  # more names cannot be read, and take seconds to place
_MOST_COUNTS = 30  # beyond that the counts cannot be read
_NAME = 20  # characters of a class's name beside a matrix
_TITLE_LINE = 0.17  # inches
_SHARP = 64  # pixels: larger images are drawn with fewer, which a report need not hold


@dataclass(frozen=True)
class TitledImage:
    """An image with what stands over it.

    Attributes:
        pixels: `[H, W, C]`, C of 1 or 3.
        title: A few short lines.
        wrong: Whether the title is red.
    """

    pixels: npt.NDArray[Any]
    title: str
    wrong: bool = False


def draw_curves(run: Run) -> Path | None:
    """Draws loss, metrics and a changing learning rate over steps into `plots/curves.svg`.

    Returns:
        The file; `None` when no epoch was finished.
    """
    plot = curves_plot(run)
    return None if plot is None else write_plot(plot, run.plots)


def curves_plot(run: Run) -> Plot | None:
    """Returns loss, metrics and a changing learning rate over steps, a part each.

    Returns:
        The plot; `None` when no epoch was finished.
    """
    rows = run.metrics()
    if not rows:
        return None
    drawings = [
        Drawing(f"{_spelled(name)} over steps", (4.2, 3.4), partial(_draw_curve, name, rows))
        for name in curve_names(rows)
    ]
    return Plot("curves", drawings, title=run.name)


def curve_names(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Returns the values in lines of `metrics.jsonl`, loss first, without a constant rate."""
    names = list(dict.fromkeys(key for row in rows for key in row if key not in _NOT_CURVES))
    if len({row["learning_rate"] for row in rows if "learning_rate" in row}) == 1:
        names.remove("learning_rate")  # a constant is no curve
    return names


def draw_confusion(evaluation: Evaluation) -> Path | None:
    """Draws the confusion matrix into `plots/confusion-SPLIT.svg` of the run.

    Returns:
        The file; `None` for regression.
    """
    plot = confusion_plot(evaluation)
    return None if plot is None else write_plot(plot, evaluation.run / "plots")


def confusion_plot(evaluation: Evaluation) -> Plot | None:
    """Returns the confusion matrix; `None` for regression."""
    if not evaluation.confusion:
        return None
    names = [shortened(score.name, _NAME) for score in evaluation.classes]
    side = min(max(3.6, 0.3 * len(names) + 1.0 + 0.045 * max(map(len, names))), 16.0)
    alt = f"How often each of {len(names)} classes was predicted as which"
    drawing = Drawing(alt, (side, side), partial(_draw_confusion, evaluation, names))
    return Plot(f"confusion-{evaluation.split}", [drawing])


def draw_predictions(predictions: Predictions, path: Path, *, most: int = 32) -> Path:
    """Draws images with what was predicted for them; mistakes are red, with the true class.

    Args:
        predictions: Of images `[N, H, W, C]`, C of 1 or 3.
        path: The SVG file to write.
        most: Draw the first so many.

    Raises:
        UsageError: The examples are no images.
    """
    if not is_image(predictions.features.shape[1:]):
        shape = list(predictions.features.shape[1:])
        raise UsageError(f"--plot draws images, but these examples have the shape {shape}.")
    images = []
    for pixels, found in zip(predictions.features[:most], predictions.predictions, strict=False):
        wrong = found.true is not None and found.label != found.true
        title = format(found.value, ".4g") if found.label is None else found.label
        images.append(TitledImage(pixels, f"{title} (is {found.true})" if wrong else title, wrong))
    columns = min(8, len(images))
    lines = -(-len(images) // columns)
    figure = Figure(figsize=(1.15 * columns, 1.45 * lines), layout="constrained")
    draw_images(images, columns, figure)
    return write_svg(figure, path)


def is_image(shape: Sequence[int]) -> bool:
    """Tells whether examples `[H, W, C]` of this shape can be drawn."""
    return len(shape) == 3 and shape[-1] in (1, 3)


def draw_images(images: Sequence[TitledImage], columns: int, figure: Figure | SubFigure) -> None:
    """Draws images in rows of `columns` into an empty figure."""
    lines = -(-len(images) // columns)
    # In inches. Axes of their own for each image would take seconds to lay out.
    width, height = (size / figure.dpi for size in figure.bbox.size)
    cell = width / columns, height / lines
    over = _TITLE_LINE * max(image.title.count("\n") + 1 for image in images) + 0.06
    axes = figure.subplots()
    axes.set_axis_off()
    for place, image in enumerate(images):
        row, column = divmod(place, columns)
        pixels = _displayed(image.pixels)
        high, wide = pixels.shape[:2]
        scale = min((cell[0] - 0.16) / wide, (cell[1] - over - 0.06) / high)
        middle, top = (column + 0.5) * cell[0], row * cell[1] + over
        axes.imshow(
            pixels,
            cmap="gray_r",
            interpolation="none" if max(high, wide) <= _SHARP else None,
            extent=(middle - wide * scale / 2, middle + wide * scale / 2, top + high * scale, top),
        )
        color = "#c00000" if image.wrong else "black"
        title = plain(image.title)
        axes.text(middle, top - 0.03, title, ha="center", va="bottom", fontsize=9, color=color)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)


def _displayed(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns `[H, W]` for shades of gray, else `[H, W, 3]` with floats from 0 to 1."""
    if pixels.shape[-1] == 1:
        return pixels[..., 0]
    if pixels.dtype == np.uint8 or (pixels.min() >= 0 and pixels.max() <= 1):
        return pixels
    low, high = float(pixels.min()), float(pixels.max())
    return (pixels - low) / ((high - low) or 1.0)


def _draw_curve(name: str, rows: Sequence[dict[str, Any]], figure: Figure | SubFigure) -> None:
    axes = figure.subplots()
    for split, color in _COLORS.items():
        points = [(r["step"], r[name]) for r in rows if r["split"] == split and name in r]
        if points:
            axes.plot(
                *zip(*points, strict=True), color=color, label=split, marker=".", markersize=4
            )
    axes.set_title(_spelled(name), fontsize=10)
    axes.set_xlabel("step")
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if len(axes.lines) > 1:
        axes.legend(frameon=False, fontsize=8)


def _spelled(name: str) -> str:
    return name.replace("_", " ")


def _draw_confusion(
    evaluation: Evaluation, names: Sequence[str], figure: Figure | SubFigure
) -> None:
    axes = figure.subplots()
    shares = [[count / max(sum(row), 1) for count in row] for row in evaluation.confusion]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="none")
    if len(names) <= _MOST_NAMES:
        spelled = [plain(name) for name in names]
        turned = max(map(len, names)) > 3
        axes.set_xticks(
            range(len(names)),
            spelled,
            rotation=45 if turned else 0,
            ha="right" if turned else "center",
        )
        axes.set_yticks(range(len(names)), spelled)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if len(names) <= _MOST_COUNTS:
        _write_counts(axes, evaluation.confusion, shares)
    accuracy = evaluation.metrics.get("accuracy")
    reached = "" if accuracy is None else f", accuracy {accuracy:.4f}"
    axes.set_title(f"{evaluation.split}: {evaluation.examples:,} examples{reached}", fontsize=10)


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
