"""Turns what a source gave into `Splits`: labels settled, missing splits cut, texts recoded.

N is the number of examples of a split.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tfapp.config import DataConfig
from tfapp.data.cutting import cut
from tfapp.data.labels import settle_labels
from tfapp.data.raw import RawData, RawPart
from tfapp.data.splits import ArraySplit, Column, DataInfo, Splits
from tfapp.errors import DataError

Arrays = tuple[npt.NDArray[Any], npt.NDArray[Any]]


def assemble(raw: RawData, config: DataConfig, *, refit: bool = False) -> Splits:
    """Returns the three splits of `raw`.

    What the source lacks is cut from its training part: first test (`config.test` of all), then
    validation (`config.validation` of what remains); for classification in proportion to the
    classes. With `refit` the examples of validation are then added to training, before anything is
    fitted to it.

    Raises:
        DataError: The data cannot be used as it is.
    """
    for name, part in raw.parts.items():
        _check_part(config.source, name, part, raw.columns)
        _check_shape(name, part, raw.train)
    settled = settle_labels(raw, config.task, config.classes)
    arrays = {n: (part.features, settled.by_part[n]) for n, part in raw.parts.items()}
    cuts = (("test", config.test), ("validation", config.validation))
    for name, share in cuts:
        if name not in arrays:
            features, labels = arrays["train"]
            strata = labels if settled.task == "classification" else None
            kept, taken = cut(len(labels), share, config.split_seed, strata, config.source)
            arrays["train"] = features[kept], labels[kept]
            arrays[name] = features[taken], labels[taken]
    if refit:
        arrays["train"] = _joined(arrays["train"], arrays["validation"])
    columns = raw.columns
    if columns is not None:
        columns, arrays = _recode_texts(columns, arrays)
    info = DataInfo(
        source=config.source,
        task=settled.task,
        feature_shape=raw.images.shape if raw.images else arrays["train"][0].shape[1:],
        feature_dtype="uint8" if raw.images else str(arrays["train"][0].dtype),
        classes=settled.classes,
        columns=columns,
        fingerprint=_fingerprint(raw, columns, *arrays["train"]),
        label=raw.label,
    )
    load = raw.images.load if raw.images else None
    splits = {name: ArraySplit(*pair, load=load) for name, pair in arrays.items()}
    return Splits(**splits, info=info)


def _joined(first: Arrays, second: Arrays) -> Arrays:
    return np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]])


def _check_part(source: str, name: str, part: RawPart, columns: tuple[Column, ...] | None) -> None:
    """Refuses an empty part, labels that do not belong, and features that are not finite."""
    features = part.features
    if len(features) == 0:
        raise DataError(f"{source}: the {name} split has no examples; give at least one.")
    if len(features) != len(part.labels):
        raise DataError(
            f"{source}: the {name} split has {len(features)} examples but {len(part.labels)}"
            " labels; give one label for each example."
        )
    if features.dtype.kind != "f" or np.isfinite(features).all():
        return
    bad = np.argwhere(~np.isfinite(features))
    row, *rest = (int(index) for index in bad[0])
    column = repr(columns[rest[0]].name) if columns else ", ".join(map(str, rest))
    raise DataError(
        f"{part.features_at(row)}, column {column}: the value is {features[tuple(bad[0])]};"
        f" {len(bad)} values of the {name} split are not finite."
        " Correct these examples or remove them."
    )


def _check_shape(name: str, part: RawPart, train: RawPart) -> None:
    found, wanted = part.features.shape[1:], train.features.shape[1:]
    if found != wanted:
        raise DataError(
            f"{part.features_at(0)} has the shape {list(found)}, but {train.features_at(0)} has"
            f" {list(wanted)}: the examples of the {name} split must be like those of training."
        )


def _recode_texts(
    columns: tuple[Column, ...], arrays: dict[str, Arrays]
) -> tuple[tuple[Column, ...], dict[str, Arrays]]:
    """Narrows each vocabulary to the texts of the training split; other texts become code 0."""
    narrowed = list(columns)
    recoded = {name: (features.copy(), labels) for name, (features, labels) in arrays.items()}
    for position, column in enumerate(columns):
        if column.vocabulary is None:
            continue
        seen = np.unique(arrays["train"][0][:, position]).astype(int)
        table = np.zeros(len(column.vocabulary) + 1, np.float32)
        table[seen] = np.arange(1, len(seen) + 1)
        for features, _ in recoded.values():
            features[:, position] = table[features[:, position].astype(int)]
        vocabulary = tuple(column.vocabulary[code - 1] for code in seen)
        narrowed[position] = replace(column, vocabulary=vocabulary)
    return tuple(narrowed), recoded


def _fingerprint(
    raw: RawData,
    columns: tuple[Column, ...] | None,
    features: npt.NDArray[Any],
    labels: npt.NDArray[Any],
) -> str:
    """Returns the SHA-256 of the training split; of names and sizes when features are files."""
    digest = hashlib.sha256()
    if raw.images:
        for name in features:
            path = raw.images.root / str(name)
            relative = path.relative_to(raw.images.root).as_posix()
            digest.update(f"{relative} {path.stat().st_size}\n".encode())
    else:
        digest.update(f"{features.shape} {features.dtype} {columns}\n".encode())
        digest.update(np.ascontiguousarray(features).data)
    digest.update(np.ascontiguousarray(labels).data)
    return digest.hexdigest()
