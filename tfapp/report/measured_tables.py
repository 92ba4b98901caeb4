"""Tables of what a report measures, and examples as images or rows of values."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tfapp.data.splits import DataInfo
from tfapp.report.calibration import Calibration
from tfapp.report.figures import TitledImage
from tfapp.report.page import Table
from tfapp.report.words import NOTHING, counted, shortened, shown

if TYPE_CHECKING:  # these need TensorFlow, which a table does not
    from tfapp.evaluation import ClassScore, Evaluation
    from tfapp.report.measured import Answers, Mistake
    from tfapp.report.norms import Norms
    from tfapp.report.survey import Survey

_MOST_CLASSES = 50
_MOST_CONFUSIONS = 10
_MOST_COLUMNS = 40
_TITLE = 13  # characters over an image


def classes_table(evaluation: Evaluation) -> Table:
    """Returns precision, recall, F1 and support of each class, of many only the worst."""
    scores = list(evaluation.classes)
    caption = f"Each class on {evaluation.split}"
    if len(scores) > _MOST_CLASSES:
        scores = sorted(scores, key=f1_score)[:_MOST_CLASSES]
        caption = f"The {_MOST_CLASSES} of {len(evaluation.classes):,} classes with the least F1"
    rows = [_class_row(score.name, [_measures(score)], score.examples) for score in scores]
    every = [_measures(score) for score in evaluation.classes]
    rows.append(_class_row("all", every, evaluation.examples))
    columns = ("class", "precision", "recall", "F1", "support")
    return Table(
        columns,
        rows,
        caption,
        numeric=columns[1:],
        notes=[
            "Support is the number of examples of a class. Precision is the share of the"
            " predictions of a class that are right, recall the share of its examples that were"
            " found, F1 their harmonic mean. The last row has their means over the classes."
        ],
    )


def f1_score(score: ClassScore) -> float:
    """Returns the harmonic mean of precision and recall; 0 if both are 0."""
    total = score.precision + score.recall
    return 2 * score.precision * score.recall / total if total else 0.0


def confusions_table(evaluation: Evaluation) -> Table | None:
    """Returns the pairs of classes that were taken for one another most often, if any were."""
    counts = np.array(evaluation.confusion)
    examples = counts.sum(axis=1)
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:_MOST_CONFUSIONS]
    pairs = [np.unravel_index(place, counts.shape) for place in order]
    names = [score.name for score in evaluation.classes]
    rows = [
        (names[true], names[predicted], shown(int(count)), f"{count / examples[true]:.1%}")
        for true, predicted in pairs
        if (count := counts[true, predicted])
    ]
    columns = ("true", "predicted", "examples", "of the class")
    return Table(columns, rows, "Taken for another most often", columns[2:]) if rows else None


def bins_table(calibration: Calibration) -> Table:
    """Returns the bins of a reliability diagram that hold examples."""
    columns = ("probability", "examples", "mean", "accuracy")
    rows = [
        (
            f"{part.low:.2f} to {part.high:.2f}",
            shown(part.examples),
            f"{part.confidence:.3f}",
            f"{part.accuracy:.3f}",
        )
        for part in calibration.bins
        if part.examples
    ]
    return Table(columns, rows, "Probability of the predicted class, in bins", columns[1:])


def mistake_images(answers: Answers, info: DataInfo) -> list[TitledImage]:
    """Returns the worst mistakes as images: what was predicted, what is true, and the loss."""
    return [
        TitledImage(
            mistake.features, f"{_verdict(mistake, info)}\nloss {shown(mistake.loss)}", True
        )
        for mistake in answers.mistakes
    ]


def mistakes_table(answers: Answers, info: DataInfo) -> Table:
    """Returns the worst mistakes as rows, with their values where these are few."""
    names = column_names(info)
    asked = ["probability"] if info.classes else []
    columns = ("example", "predicted", "true", *asked, "loss", *names)
    rows = [
        (
            shown(mistake.place + 1),
            label_of(mistake.predicted, info),
            label_of(mistake.true, info),
            *([f"{mistake.probability:.4f}"] if mistake.probability is not None else []),
            shown(mistake.loss),
            *_cells(mistake.features, info, len(names)),
        )
        for mistake in answers.mistakes
    ]
    caption = f"Examples of {answers.evaluation.split}, counted from 1, the worst first"
    return Table(columns, rows, caption, _numeric(columns, info), _left_out(info))


def sample_images(survey: Survey, info: DataInfo) -> list[TitledImage]:
    """Returns examples as images, with their class or target."""
    pairs = zip(survey.features, survey.labels, strict=True)
    return [TitledImage(raw, shortened(label_of(y, info), _TITLE)) for raw, y in pairs]


def samples_table(survey: Survey, info: DataInfo) -> Table:
    """Returns examples as rows of values."""
    names = column_names(info)
    columns = (info.label or ("class" if info.classes else "target"), *names)
    pairs = zip(survey.features, survey.labels, strict=True)
    rows = [(label_of(y, info), *_cells(raw, info, len(names))) for raw, y in pairs]
    which = "The first examples of each class" if info.classes else "The first examples"
    caption = f"{which} in {survey.split}"
    return Table(columns, rows, caption, _numeric(columns, info), _left_out(info))


def splits_table(survey: Survey, info: DataInfo) -> Table:
    """Returns the size of each split, and how many examples of each class it has."""
    columns = ("class" if info.classes else "split", *survey.sizes)
    shown_classes = info.classes[:_MOST_CLASSES]
    rows = [
        (name, *(shown(survey.counts[split][index]) for split in survey.sizes))
        for index, name in enumerate(shown_classes)
    ]
    every = "all" if info.classes else "examples"
    rows.append((every, *(shown(size) for size in survey.sizes.values())))
    left_out = len(info.classes) - len(shown_classes)
    notes = [f"{left_out:,} classes more are not listed."] if left_out else []
    return Table(columns, rows, f"{info.source}: examples of each split", columns[1:], notes)


def norms_table(norms: Norms, batch: str) -> Table:
    """Returns the norms of weights at each checkpoint, and of gradients.

    Args:
        norms: What was measured.
        batch: What the gradients were taken of.
    """
    steps = {step: f"step {step:,}" + " (best)" * (step == norms.best) for step in norms.steps}
    gradient = ("gradient",) if norms.examples else ()
    columns = ("variable", "shape", *steps.values(), *gradient)
    rows = []
    for variable in norms.variables:
        cells = [shown(variable.weights[step]) for step in steps]
        if norms.examples:
            cells.append(shown(variable.gradient))
        rows.append((variable.path, _shape(variable.shape), *cells))
    notes = [f"A norm is the root of the sum of squares. {batch}"]
    return Table(columns, rows, "Norm of each variable at the kept checkpoints", columns[2:], notes)


def label_of(value: Any, info: DataInfo) -> str:
    """Returns the name of a class, or a number of regression."""
    return info.classes[int(value)] if info.classes else shown(float(value))


def column_names(info: DataInfo) -> list[str]:
    """Returns the headings of an example's values; none for examples that are no rows."""
    if len(info.feature_shape) != 1:
        return []
    if info.columns is not None:
        return [column.name for column in info.columns][:_MOST_COLUMNS]
    return [str(place) for place in range(min(info.feature_shape[0], _MOST_COLUMNS))]


def _cells(features: npt.NDArray[Any], info: DataInfo, count: int) -> Iterable[str]:
    for place in range(count):
        vocabulary = info.columns[place].vocabulary if info.columns else None
        if vocabulary is None:
            yield shown(float(features[place]))
        else:  # code 0: a text that the training split does not have
            yield ("unknown", *vocabulary)[int(features[place])]


def _left_out(info: DataInfo) -> list[str]:
    if len(info.feature_shape) != 1:
        return [f"Examples of the shape {_shape(info.feature_shape)} are neither rows nor images."]
    left_out = info.feature_shape[0] - _MOST_COLUMNS
    return [f"{counted(left_out, 'column')} more not shown."] if left_out > 0 else []


def _numeric(columns: Sequence[str], info: DataInfo) -> list[str]:
    texts = {column.name for column in info.columns or () if column.vocabulary is not None}
    labels = {"predicted", "true", columns[0]} if info.classes else set()
    return [column for column in columns if column not in texts | labels]


def _measures(score: ClassScore) -> tuple[float, float, float]:
    return score.precision, score.recall, f1_score(score)


def _class_row(name: str, measures: Sequence[Sequence[float]], support: int) -> tuple[str, ...]:
    means = (statistics.fmean(values) for values in zip(*measures, strict=True))
    return (name, *(f"{mean:.4f}" for mean in means), shown(support))


def _verdict(mistake: Mistake, info: DataInfo) -> str:
    """Returns `8 (is 3)`, in two lines where names are long."""
    predicted, true = (label_of(value, info) for value in (mistake.predicted, mistake.true))
    line = f"{predicted} (is {true})"
    if len(line) <= _TITLE:
        return line
    return f"{shortened(predicted, _TITLE)}\nis {shortened(true, _TITLE - 3)}"


def _shape(shape: Sequence[int]) -> str:
    return f"[{', '.join(map(str, shape))}]" if shape else NOTHING
