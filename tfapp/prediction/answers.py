"""What a model says of examples, and how it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfapp.errors import DataError
from tfapp.prediction.model import Model, load_model
from tfapp.prediction.reading import Array
from tfapp.prediction.reading import parse_rows as parse_rows


@dataclass(frozen=True)
class Prediction:
    """What a model says of one example.

    Attributes:
        input: Where the example comes from, e.g. `two.png` or `rows.csv:3` (counted from 1).
        label: Class name, `None` for regression.
        probability: Of that class, `None` for regression.
        value: The number, `None` for classes.
        true: The true class or number, where the input holds it.
    """

    input: str
    label: str | None
    probability: float | None
    value: float | None
    true: str | float | None


@dataclass(frozen=True)
class Predictions:
    """What a model says of several examples.

    Attributes:
        model: The run, SavedModel or URL that was asked.
        classes: Class names in the order of the probabilities; empty for regression.
        probabilities: `[N, K]`; empty for regression.
        predictions: One for each example, in the order given.
        features: `[N, *feature_shape]` the raw examples as they were read.
    """

    model: Path | str
    classes: tuple[str, ...]
    probabilities: tuple[tuple[float, ...], ...]
    predictions: tuple[Prediction, ...]
    features: Array


def predict(model: Model | str | Path, inputs: Sequence[str | Path]) -> Predictions:
    """Predicts for the examples in files.

    Args:
        model: What to ask: a loaded model, or anything `load_model` takes.
        inputs: Image files, `.npz`, `.csv`, or `.json` files with a list of rows.

    Raises:
        MissingError: A file is not there.
        DataError: A file does not hold what the model was trained on.
    """
    if not isinstance(model, Model):
        with load_model(model) as loaded:
            return predict(loaded, inputs)
    features: list[Array] = []
    labels: list[Any] = []
    origins: list[str] = []
    for path in map(Path, inputs):
        rows, true = model.reading.file(path)
        if not len(rows):
            raise DataError(f"{path} holds no examples; give at least one.")
        features.append(rows)
        labels += [None] * len(rows) if true is None else true
        origins += [str(path) if len(rows) == 1 else f"{path}:{n}" for n in range(1, len(rows) + 1)]
    if not features:
        raise DataError("no input was given; name image, .npz, .csv or .json files.")
    return _predict(model, np.concatenate(features), labels, origins)


def predict_rows(model: Model | str | Path, rows: Sequence[Any], where: str = "row") -> Predictions:
    """Predicts for rows at hand: lists of values, dictionaries by column, or nested lists.

    Args:
        model: As in `predict`.
        rows: One entry an example.
        where: What the rows are called in results and errors.

    Raises:
        DataError: A row is not what the model was trained on.
    """
    if not isinstance(model, Model):
        with load_model(model) as loaded:
            return predict_rows(loaded, rows, where)
    features = model.reading.rows(rows, where)
    origins = [f"{where}:{n}" for n in range(1, len(features) + 1)]
    return _predict(model, features, [None] * len(features), origins)


def _predict(model: Model, features: Array, labels: list[Any], origins: list[str]) -> Predictions:
    starts = range(0, len(features), model.batch_size)
    batches = [model.call(features[i : i + model.batch_size]) for i in starts]
    outputs = {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
    classes = model.info.classes
    if not classes:
        values = [
            Prediction(origin, None, None, float(value), None if true is None else float(true))
            for origin, value, true in zip(origins, outputs["value"], labels, strict=True)
        ]
        return Predictions(model.path, (), (), tuple(values), features)
    named = [
        Prediction(
            origin,
            classes[int(row.argmax())],
            float(row.max()),
            None,
            None if true is None else classes[int(true)],
        )
        for origin, row, true in zip(origins, outputs["probabilities"], labels, strict=True)
    ]
    probabilities = tuple(tuple(float(p) for p in row) for row in outputs["probabilities"])
    return Predictions(model.path, classes, probabilities, tuple(named), features)
