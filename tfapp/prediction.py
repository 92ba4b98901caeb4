"""Predictions for raw examples, by a run or by a SavedModel."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfapp.data import encode_rows, read_examples, read_labels
from tfapp.data.splits import DataInfo
from tfapp.errors import DataError, MissingError
from tfapp.exported import find_version, named_inputs, read_card
from tfapp.runs import find_run
from tfapp.serving.servable import load_servable
from tfapp.training.restore import info_from_json, load_trained


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
        model: The run or SavedModel that was asked.
        classes: Class names in the order of the probabilities; empty for regression.
        probabilities: `[N, K]`; empty for regression.
        predictions: One for each example, in the order given.
        features: `[N, *feature_shape]` the raw examples as they were read.
    """

    model: Path
    classes: tuple[str, ...]
    probabilities: tuple[tuple[float, ...], ...]
    predictions: tuple[Prediction, ...]
    features: npt.NDArray[Any]


@dataclass(frozen=True)
class Model:
    """Something that can be asked, whatever it was loaded from.

    Attributes:
        path: The run or SavedModel.
        info: What it was trained on.
        image_size: What images are resized to, if its config says so.
        batch_size: Examples asked for at a time: what it was trained with, so memory holds it.
        call: Raw features `[B, *feature_shape]` to named outputs.
    """

    path: Path
    info: DataInfo
    image_size: tuple[int, int] | None
    batch_size: int
    call: Callable[[npt.NDArray[Any]], Mapping[str, npt.NDArray[Any]]]


def load_model(
    source: str | Path, *, runs: str | Path | None = None, step: int | None = None
) -> Model:
    """Loads a run, a SavedModel, or the newest version in a folder of SavedModels.

    Args:
        source: A path, or the name of a run.
        runs: Folder of run directories; `settings` decides when omitted.
        step: Step of a run's checkpoint; the best one when omitted.

    Raises:
        MissingError: There is nothing of that name.
        ExportError: The SavedModel is damaged, or was not exported by tfapp.
    """
    version = find_version(Path(source))
    if version is not None:
        return _saved_model(version)
    trained = load_trained(find_run(source, runs), step=step)
    call = tf.function(trained.predictor.__call__, reduce_retracing=True)
    data = trained.config.data
    return Model(
        trained.run.path,
        trained.predictor.info,
        data.image_size,
        data.batch_size,
        lambda features: {k: v.numpy() for k, v in call(tf.constant(features)).items()},
    )


def predict(model: Model | str | Path, inputs: Sequence[str | Path]) -> Predictions:
    """Predicts for the examples in files.

    Args:
        model: What to ask: a loaded model, or anything `load_model` takes.
        inputs: Image files, `.npz`, `.csv`, or `.json` files with a list of rows.

    Raises:
        MissingError: A file is not there.
        DataError: A file does not hold what the model was trained on.
    """
    asked = model if isinstance(model, Model) else load_model(model)
    features: list[npt.NDArray[Any]] = []
    labels: list[Any] = []
    origins: list[str] = []
    for path in map(Path, inputs):
        rows, true = _read(path, asked)
        features.append(rows)
        labels += [None] * len(rows) if true is None else true
        origins += [str(path) if len(rows) == 1 else f"{path}:{n}" for n in range(1, len(rows) + 1)]
    if not features:
        raise DataError("no input was given; name image, .npz, .csv or .json files.")
    return _predict(asked, np.concatenate(features), labels, origins)


def predict_rows(model: Model | str | Path, rows: Sequence[Any], where: str = "row") -> Predictions:
    """Predicts for rows at hand: lists of values, dictionaries by column, or nested lists.

    Args:
        model: As in `predict`.
        rows: One entry an example.
        where: What the rows are called in results and errors.

    Raises:
        DataError: A row is not what the model was trained on.
    """
    asked = model if isinstance(model, Model) else load_model(model)
    features = encode_rows(rows, asked.info, where)
    origins = [f"{where}:{n}" for n in range(1, len(features) + 1)]
    return _predict(asked, features, [None] * len(features), origins)


def _saved_model(version: Path) -> Model:
    card = read_card(version)
    info = info_from_json(card["info"])
    servable = load_servable(card["name"], int(version.name), version)
    signature = servable.signatures["serving_default"]
    data = card["config"]["data"]
    size = data.get("image_size")

    def call(features: npt.NDArray[Any]) -> Mapping[str, npt.NDArray[Any]]:
        inputs = {name: value.numpy() for name, value in named_inputs(info, features).items()}
        return servable.run(signature, inputs)

    resized = None if size is None else (size[0], size[1])
    return Model(version, info, resized, data["batch_size"], call)


def _read(path: Path, model: Model) -> tuple[npt.NDArray[Any], list[Any] | None]:
    if path.suffix.lower() == ".json":
        try:
            rows = parse_rows(path.read_text(encoding="utf-8"), str(path))
        except FileNotFoundError as error:
            raise MissingError(f"no file {path} in {Path.cwd()}.") from error
        return encode_rows(rows, model.info, str(path)), None
    features = read_examples(path, model.info, model.image_size)
    return features, read_labels(path, model.info)


def parse_rows(text: str, where: str) -> list[Any]:
    """Returns the rows in JSON text: a list, or TensorFlow Serving's `{"instances": [...]}`.

    Raises:
        DataError: The text is something else.
    """
    if not text.strip():
        raise DataError(f"{where} is empty; expected JSON rows, e.g. [[5.1, 3.5, 1.4, 0.2]].")
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DataError(f"{where} is not JSON: {error}.") from error
    rows = content.get("instances") if isinstance(content, dict) else content
    if not isinstance(rows, list):
        raise DataError(
            f'{where}: expected a list of rows or {{"instances": [...]}}, found'
            f" {type(content).__name__}."
        )
    return rows


def _predict(
    model: Model, features: npt.NDArray[Any], labels: list[Any], origins: list[str]
) -> Predictions:
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
