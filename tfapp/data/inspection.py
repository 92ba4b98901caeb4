"""What sources there are, what one of them holds, and preparing one beforehand."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tfapp import names
from tfapp.config import DataConfig
from tfapp.data.builders import VERSION
from tfapp.data.sources import Kind, find_source, load_splits
from tfapp.data.splits import Column, Split, Splits, Task
from tfapp.errors import UsageError
from tfapp.settings import data_folder

DESCRIPTIONS = {
    "breast_cancer": "569 tumours, 30 measurements, 2 classes",
    "digits": "1,797 handwritten digits, 8x8 pixels, 10 classes",
    "iris": "150 flowers, 4 measurements, 3 classes",
    "wine": "178 wines, 13 measurements, 3 classes",
    "synthetic/blobs": "Gaussian clusters, one for each class",
    "synthetic/coefficients": "coefficients of parabolas and their minimum",
    "synthetic/images": "noisy stripes, one direction for each class",
    "synthetic/linear": "y = x·w + b + noise",
}


@dataclass(frozen=True)
class SourceSummary:
    """One line of `tfapp data list`.

    Attributes:
        name: What to give as `data.source`.
        kind: `embedded`, `synthetic` or `tfds`.
        prepared: Whether it can be read at once, without writing or downloading.
        description: What it holds.
    """

    name: str
    kind: Kind
    prepared: bool
    description: str


@dataclass(frozen=True)
class SplitReport:
    """One split: its size, and for classification the examples of each class."""

    size: int
    class_counts: dict[str, int] | None


@dataclass(frozen=True)
class ColumnReport:
    """One column of a table over the training split.

    Attributes:
        name: Its heading.
        texts: Number of different texts; `None` for a number column.
        minimum: Least value, `None` for texts; so `maximum` and `mean`.
    """

    name: str
    texts: int | None
    minimum: float | None
    maximum: float | None
    mean: float | None


@dataclass(frozen=True)
class SourceReport:
    """What `tfapp data show` tells of a source.

    `minimum`, `maximum` and `mean` are over all numbers of the training split; they are `None`
    when every column holds texts.
    """

    name: str
    task: Task
    feature_shape: tuple[int, ...]
    feature_dtype: str
    classes: tuple[str, ...]
    splits: dict[str, SplitReport]
    columns: tuple[ColumnReport, ...] | None
    minimum: float | None
    maximum: float | None
    mean: float | None
    fingerprint: str


@dataclass(frozen=True)
class PreparedSource:
    """Where a prepared data set is, and the bytes it takes."""

    path: Path
    size_bytes: int


def list_sources(data_dir: str | Path | None = None) -> list[SourceSummary]:
    """Returns embedded and synthetic sources, and what TFDS has prepared under `data_dir`.

    Imports neither TensorFlow nor TFDS.

    Args:
        data_dir: Folder of prepared data sets; the settings decide when omitted.
    """
    data_dir = data_folder(data_dir)
    embedded = [
        SourceSummary(
            name,
            "embedded",
            (data_dir / name / VERSION / "dataset_info.json").is_file(),
            DESCRIPTIONS[name],
        )
        for name in names.EMBEDDED
    ]
    synthetic = [SourceSummary(n, "synthetic", True, DESCRIPTIONS[n]) for n in names.SYNTHETIC]
    infos = sorted(
        [*data_dir.glob("*/*/dataset_info.json"), *data_dir.glob("*/*/*/dataset_info.json")]
    )
    found = [_summarize(info, data_dir) for info in infos]
    own = {f"{name}:{VERSION}" for name in names.EMBEDDED}
    return [*embedded, *synthetic, *(s for s in found if s.name not in own)]


def _summarize(info: Path, data_dir: Path) -> SourceSummary:
    *name, version = info.parent.relative_to(data_dir).parts
    try:
        text = str(json.loads(info.read_text(encoding="utf-8")).get("description", ""))
    except (OSError, ValueError):
        text = "dataset_info.json cannot be read"
    first = " ".join(text.split()).partition(". ")[0]
    return SourceSummary(f"{'/'.join(name)}:{version}", "tfds", True, first)


def describe_source(config: DataConfig, data_dir: str | Path | None = None) -> SourceReport:
    """Loads `config.source` and returns what it holds.

    Args:
        config: Names the source, and how it is cut and labelled.
        data_dir: Folder of prepared data sets; the settings decide when omitted.

    Raises:
        TfappError: As `load_splits` does.
    """
    from tfapp.data.preprocess import Moments, feature_chunks

    splits = load_splits(config, data_dir=data_folder(data_dir))
    info = splits.info
    moments = Moments()
    for features in feature_chunks(splits.train):
        moments.add(features)
    texts = [bool(c.vocabulary) for c in info.columns] if info.columns else []
    numbers = ~np.array(texts) if texts else np.ones(moments.mean.shape, bool)
    some = bool(numbers.any())
    return SourceReport(
        name=info.source,
        task=info.task,
        feature_shape=info.feature_shape,
        feature_dtype=info.feature_dtype,
        classes=info.classes,
        splits=_report_splits(splits),
        columns=_report_columns(info.columns, moments),
        minimum=float(moments.minimum[numbers].min()) if some else None,
        maximum=float(moments.maximum[numbers].max()) if some else None,
        mean=float(moments.mean[numbers].mean()) if some else None,
        fingerprint=info.fingerprint,
    )


def _report_splits(splits: Splits) -> dict[str, SplitReport]:
    named: dict[str, Split] = {
        "train": splits.train,
        "validation": splits.validation,
        "test": splits.test,
    }
    classes = splits.info.classes
    return {
        name: SplitReport(split.size, _count(split, classes) if classes else None)
        for name, split in named.items()
    }


def _count(split: Split, classes: tuple[str, ...]) -> dict[str, int]:
    counts = np.bincount(_labels(split), minlength=len(classes))
    return dict(zip(classes, counts.tolist(), strict=True))


def _labels(split: Split) -> npt.NDArray[Any]:
    from tfapp.data.splits import ArraySplit

    if isinstance(split, ArraySplit):
        return split.labels
    labels = split.dataset.map(lambda _, label: label).batch(8192).as_numpy_iterator()
    return np.concatenate(list(labels))


def _report_columns(
    columns: tuple[Column, ...] | None, moments: Any
) -> tuple[ColumnReport, ...] | None:
    if columns is None:
        return None
    return tuple(
        ColumnReport(column.name, len(column.vocabulary), None, None, None)
        if column.vocabulary is not None
        else ColumnReport(
            column.name,
            None,
            float(moments.minimum[position]),
            float(moments.maximum[position]),
            float(moments.mean[position]),
        )
        for position, column in enumerate(columns)
    )


def prepare_source(
    name: str, data_dir: str | Path | None = None, *, progress: bool = False
) -> PreparedSource:
    """Downloads or writes a data set under `data_dir`, unless it is there.

    Args:
        name: An embedded name or a name of TFDS.
        data_dir: Folder of prepared data sets; the settings decide when omitted.
        progress: Whether TFDS draws its bars on standard error.

    Raises:
        UsageError: The name is unknown, or needs no preparing.
        MissingError: The data set cannot be reached.
        StorageError: `data_dir` cannot be written.
    """
    data_dir = data_folder(data_dir)
    kind = find_source(name, data_dir)
    if kind in ("synthetic", "path"):
        raise UsageError(f"{name!r} needs no preparing: give it as data.source as it is.")
    if kind == "embedded":
        from tfapp.data.embedded import open_embedded

        builder = open_embedded(name, data_dir)
    else:
        from tfapp.data.tfds import open_tfds

        builder = open_tfds(name, data_dir, progress=progress)
    path = Path(builder.data_dir)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return PreparedSource(path, size)
