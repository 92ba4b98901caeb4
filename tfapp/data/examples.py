"""Examples of a source that a model was not trained on, in the form that it was trained on.

N is the number of examples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfapp.config import DataConfig
from tfapp.data.labels import settle_labels
from tfapp.data.raw import RawData, RawPart
from tfapp.data.sources import read_raw
from tfapp.data.splits import ArraySplit, Column, DataInfo
from tfapp.errors import DataError, did_you_mean


def load_examples(
    config: DataConfig, info: DataInfo, *, split: str | None, data_dir: Path
) -> tuple[ArraySplit, str]:
    """Returns examples of `config.source` with the classes and texts of `info`.

    Args:
        config: Names the source.
        info: What the model was trained on.
        split: `train`, `validation` or `test`; when omitted, `test` if the source has one, else
            everything.
        data_dir: Folder of prepared data sets.

    Returns:
        The examples, and the name of their split or `all`.

    Raises:
        DataError: The source lacks a column, holds another kind of example, or labels that are
            not among the classes.
    """
    named = config.label is None and Path(config.source).suffix.lower() == ".csv"
    if named:  # the column of training, not the last one of this file
        config = config.model_copy(update={"label": info.label})
    raw = read_raw(config, data_dir=data_dir)
    if split is not None and split not in raw.parts:
        raise DataError(
            f"{config.source} has no {split} split of its own; it has: {', '.join(raw.parts)}."
            " Leave --split out to take all of it."
        )
    chosen = split or ("test" if "test" in raw.parts else "all")
    parts = list(raw.parts.values()) if chosen == "all" else [raw.parts[chosen]]
    features = np.concatenate([_features(part, raw, info, config.source) for part in parts])
    labels = np.concatenate([_labels(part, raw, info) for part in parts])
    return ArraySplit(features, labels, raw.images.load if raw.images else None), chosen


def _labels(part: RawPart, raw: RawData, info: DataInfo) -> npt.NDArray[Any]:
    if info.task == "regression":
        return settle_labels(RawData({"train": part}), "regression", None).by_part["train"]
    own = raw.class_names
    settled = settle_labels(
        RawData({"train": part}, class_names=own), "classification", info.classes, one_class=True
    )
    return settled.by_part["train"]


def _features(part: RawPart, raw: RawData, info: DataInfo, source: str) -> npt.NDArray[Any]:
    shape = raw.images.shape if raw.images else part.features.shape[1:]
    if info.columns is not None and raw.columns is not None:
        return _by_column(part.features, raw.columns, info.columns, source)
    if shape != info.feature_shape:
        raise DataError(
            f"{source} holds examples of shape {list(shape)}, but the model was trained on"
            f" {list(info.feature_shape)}."
        )
    return part.features


def _by_column(
    features: npt.NDArray[Any], found: tuple[Column, ...], wanted: tuple[Column, ...], source: str
) -> npt.NDArray[Any]:
    """Returns `[N, C]` features in the order and the codes of the columns of training."""
    positions = {column.name: index for index, column in enumerate(found)}
    arranged = []
    for column in wanted:
        if column.name not in positions:
            near = did_you_mean(column.name, positions)
            raise DataError(
                f"{source} has no column {column.name!r}, which the model was trained on.{near}"
                f" Found: {', '.join(positions)}."
            )
        here = found[positions[column.name]]
        if (here.vocabulary is None) != (column.vocabulary is None):
            kinds = ("numbers", "texts") if column.vocabulary is None else ("texts", "numbers")
            raise DataError(
                f"{source}: column {column.name!r} held {kinds[0]} in training, here it holds"
                f" {kinds[1]}."
            )
        values = features[:, positions[column.name]]
        arranged.append(_recode(values, here.vocabulary, column.vocabulary))
    return np.column_stack(arranged).astype(np.float32)


def _recode(
    codes: npt.NDArray[Any], here: tuple[str, ...] | None, training: tuple[str, ...] | None
) -> npt.NDArray[Any]:
    if here is None or training is None:
        return codes
    known = {text: code for code, text in enumerate(training, 1)}
    table = np.array([0, *(known.get(text, 0) for text in here)], np.float32)
    return table[codes.astype(int)]
