"""Figures of what a report measures: calibration, numbers predicted, images.

N is the number of examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from tfapp.report.calibration import Calibration
from tfapp.report.figures import TitledImage, draw_images
from tfapp.report.plots import Drawing, Plot
from tfapp.report.svg import plain

if TYPE_CHECKING:  # needs TensorFlow, which a figure does not
    from tfapp.report.norms import Norms

_BLUE, _RED, _GRAY = "#4c78a8", "#e45756", "#888888"
_SMALL = 8
_COLUMNS, _LINES = 4, 5  # images of one part
_MOST_POINTS = 1000  # more only make the file larger
_MOST_VARIABLES = 40  # more could not be read


def calibration_plot(calibration: Calibration, split: str) -> Plot:
    """Returns a reliability diagram, with the examples of each bin under it."""
    alt = f"Accuracy over confidence, {split}; expected calibration error {calibration.error:.4f}"
    drawing = Drawing(alt, (4.2, 4.2), partial(_draw_calibration, calibration))
    return Plot(f"calibration-{split}", [drawing])


def numbers_plot(true: npt.NDArray[Any], predicted: npt.NDArray[Any], split: str) -> Plot | None:
    """Returns what was predicted over what is true, and how the residuals are distributed.

    What is not finite is left out; `None` if nothing is left.

    Args:
        true: `[N]` targets.
        predicted: `[N]` predictions.
        split: Of which split they are.
    """
    # A model whose weights have grown without bound can predict infinities.
    finite = np.isfinite(predicted)
    true, predicted = true[finite], predicted[finite]
    if not len(true):
        return None
    told = f"of {len(true):,} examples of {split}"
    drawings = [
        Drawing(
            f"Predicted over true values {told}",
            (4.2, 4.0),
            partial(_draw_pairs, true, predicted),
        ),
        Drawing(
            f"Distribution of the residuals {told}",
            (4.2, 4.0),
            partial(_draw_residuals, predicted - true),
        ),
    ]
    few = len(true) <= _MOST_POINTS
    caption = "" if few else f"On the left every {_stride(len(true))}th example is drawn."
    return Plot(f"residuals-{split}", drawings, caption=caption)


def images_plot(name: str, images: Sequence[TitledImage], alt: str) -> Plot:
    """Returns images in two columns of a page, or in one if they are few.

    Args:
        name: Of the file.
        images: At least one.
        alt: What they show.
    """
    lines = min(-(-len(images) // (2 * _COLUMNS)), _LINES)
    size = lines * _COLUMNS
    chunks = [images[start : start + size] for start in range(0, len(images), size)]
    high, wide, _ = images[0].pixels.shape
    titled = 0.16 * max(image.title.count("\n") + 1 for image in images)
    height = titled + 0.16 + 0.89 * min(max(high / wide, 0.3), 1.5)
    drawings = [
        Drawing(
            alt if number == 0 else f"{alt}, continued",
            (1.05 * _COLUMNS, height * -(-len(chunk) // _COLUMNS)),
            partial(draw_images, chunk, _COLUMNS),
        )
        for number, chunk in enumerate(chunks)
    ]
    return Plot(name, drawings)


def norms_plot(norms: Norms) -> Plot | None:
    """Returns the norms of the weights at each checkpoint, and of the gradients.

    Of a deep model the first variables are drawn; the table has all. `None` if nothing is larger
    than 0.
    """
    rows = norms.variables[:_MOST_VARIABLES]
    height = 1.1 + 0.24 * len(rows)
    weights = [[row.weights[step] for step in norms.steps] for row in rows]
    names = [row.path for row in rows]
    drawings = []
    if np.any(np.array(weights) > 0):
        draw = partial(_draw_weight_norms, names, weights, norms)
        drawings.append(Drawing("Norm of each variable at each checkpoint", (4.2, height), draw))
    gradients = [row.gradient or 0.0 for row in rows]
    if any(gradient > 0 for gradient in gradients):
        draw = partial(_draw_gradient_norms, names, gradients)
        drawings.append(Drawing("Norm of the gradient of each variable", (4.2, height), draw))
    few = len(norms.variables) <= _MOST_VARIABLES
    caption = "" if few else f"The first {_MOST_VARIABLES} variables are drawn."
    return Plot("norms", drawings, caption=caption) if drawings else None


def _draw_weight_norms(
    names: Sequence[str],
    weights: Sequence[Sequence[float]],
    norms: Norms,
    figure: Figure | SubFigure,
) -> None:
    axes = figure.subplots()
    places = range(len(names))
    for number, step in enumerate(norms.steps):
        best = step == norms.best
        axes.plot(
            [row[number] for row in weights],
            places,
            "o",
            color=_BLUE if best else "none",
            markeredgecolor=_BLUE,
            markersize=6 if best else 4,
            alpha=1.0 if best else 0.3 + 0.6 * (number + 1) / len(norms.steps),
            label=f"step {step:,}" + " (best)" * best,
        )
    _dress_norms(axes, names, np.ravel(weights), "norm of the weights")
    if len(norms.steps) <= 4:
        figure.legend(frameon=False, fontsize=_SMALL, loc="outside lower center", ncols=2)


def _draw_gradient_norms(
    names: Sequence[str], gradients: Sequence[float], figure: Figure | SubFigure
) -> None:
    axes = figure.subplots()
    axes.plot(gradients, range(len(names)), "D", color=_RED, markersize=5)
    _dress_norms(axes, names, np.array(gradients), "norm of the gradient")


def _dress_norms(axes: Axes, names: Sequence[str], norms: npt.NDArray[Any], label: str) -> None:
    positive = norms[norms > 0]
    if logarithmic := positive.max() > 10 * positive.min():
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=5))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(0, 1.1 * positive.max())
        axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_yticks(range(len(names)), [plain(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    _dress(axes, "", f"{label}, logarithmic" if logarithmic else label, "")


def _draw_calibration(calibration: Calibration, figure: Figure | SubFigure) -> None:
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    filled = [part for part in calibration.bins if part.examples]
    middle = [(part.low + part.high) / 2 for part in filled]
    accuracy = [part.accuracy for part in filled]
    confidence = [part.confidence for part in filled]
    width = 0.94 / len(calibration.bins)
    upper.bar(middle, accuracy, width, color=_BLUE, label="accuracy")
    upper.plot(
        confidence, accuracy, "o", color=_RED, markersize=4, clip_on=False, label="mean probability"
    )
    upper.plot((0, 1), (0, 1), "--", color=_GRAY, linewidth=1, label="calibrated")
    upper.set_xlim(0, 1)
    upper.set_ylim(0, 1.05)
    _dress(upper, f"expected calibration error {calibration.error:.4f}", "", "accuracy")
    lower.bar(middle, [part.examples for part in filled], width, color=_BLUE)
    _dress(lower, "", "probability of the predicted class", "examples")
    figure.legend(frameon=False, fontsize=_SMALL, loc="outside lower center", ncols=3)


def _draw_pairs(
    true: npt.NDArray[Any], predicted: npt.NDArray[Any], figure: Figure | SubFigure
) -> None:
    axes = figure.subplots()
    chosen = slice(None, None, _stride(len(true)))
    ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
    axes.plot(ends, ends, "--", color=_GRAY, linewidth=1, label="equal")
    axes.plot(
        true[chosen],
        predicted[chosen],
        "o",
        color=_BLUE,
        markersize=3,
        markeredgewidth=0,
        alpha=0.6,
    )
    axes.legend(frameon=False, fontsize=_SMALL)
    _dress(axes, "predicted over true", "true", "predicted")


def _draw_residuals(residuals: npt.NDArray[Any], figure: Figure | SubFigure) -> None:
    axes = figure.subplots()
    bins = int(np.clip(np.sqrt(len(residuals)), 5, 60))
    axes.hist(residuals, bins=bins, color=_BLUE)
    axes.axvline(0, color=_GRAY, linestyle="--", linewidth=1)
    _dress(axes, "residuals: predicted less true", "residual", "examples")


def _dress(axes: Axes, title: str, xlabel: str, ylabel: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(xlabel, fontsize=_SMALL)
    axes.set_ylabel(ylabel, fontsize=_SMALL)
    axes.tick_params(labelsize=_SMALL)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _stride(examples: int) -> int:
    return max(-(-examples // _MOST_POINTS), 1)
