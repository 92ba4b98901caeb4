"""Reads a prepared TFDS data set: into arrays, or as a stream when memory would not hold it.

N is the number of examples of a split.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tfapp.config import DataConfig
from tfapp.data.assembly import assemble
from tfapp.data.labels import settle_labels
from tfapp.data.raw import RawData, RawPart, indexed
from tfapp.data.splits import Column, DataInfo, Splits, StreamSplit
from tfapp.errors import DataError

Range = tuple[int, int]

SPELLINGS = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}


@dataclass(frozen=True)
class Layout:
    """Where features and label are in the examples of a builder, and their form.

    Attributes:
        features_key: Name of the feature in an example.
        label_key: Name of the label.
        shape: Shape of one example after resizing.
        dtype: `uint8` or `float32`.
        size: Height and width to resize to, or `None`.
        classes: Names of the classes when the builder declares them.
        columns: Columns of a table when the builder names them.
    """

    features_key: str
    label_key: str
    shape: tuple[int, ...]
    dtype: str
    size: tuple[int, int] | None
    classes: tuple[str, ...] | None
    columns: tuple[Column, ...] | None


def read_builder(builder: Any, config: DataConfig, *, refit: bool = False) -> Splits:
    """Returns the splits of a prepared builder; `refit` as in `load_splits`.

    Raises:
        DataError: The data set has no features and label that a model can take, or no `train`.
    """
    layout = find_layout(builder, config.image_size)
    parts = _find_parts(builder)
    examples = sum(builder.info.splits[split].num_examples for split in parts.values())
    example_bytes = math.prod(layout.shape) * np.dtype(layout.dtype).itemsize
    if examples * example_bytes > config.memory_limit_mb * 2**20:
        return _stream(builder, layout, parts, config, refit)
    return assemble(read_arrays(builder, layout), config, refit=refit)


def read_arrays(builder: Any, layout: Layout) -> RawData:
    """Returns all examples of a prepared builder in memory."""
    raw = {
        name: _read_part(builder, layout, split, f"{builder.info.full_name}: {split}")
        for name, split in _find_parts(builder).items()
    }
    return RawData(raw, class_names=layout.classes, columns=layout.columns)


def find_layout(builder: Any, size: tuple[int, int] | None) -> Layout:
    """Returns where features and label of a builder are.

    Raises:
        DataError: There are none that a model can take.
    """
    features = builder.info.features
    features_key, label_key = _find_keys(builder)
    example, label = features[features_key], features[label_key]
    shape, dtype = tuple(example.shape or ()), np.dtype(example.np_dtype)
    numeric = dtype.kind in "buif" and np.dtype(label.np_dtype).kind in "buif"
    if not numeric or label.shape != () or not shape:
        raise _unsuitable(builder)
    if len(shape) == 3 and size is not None:
        shape = (*size, shape[2])
    else:
        size = None
    if None in shape:
        raise DataError(
            f"{builder.info.full_name}: examples have the shape {list(shape)}, so they differ in"
            " size. Set data.image_size, e.g. --set data.image_size=[64,64], to resize images."
        )
    names = _class_names(label)
    columns = (builder.info.metadata or {}).get("columns")
    return Layout(
        features_key,
        label_key,
        shape,
        "uint8" if dtype == np.uint8 else "float32",
        size,
        names,
        None if columns is None else tuple(Column(name) for name in columns),
    )


def _find_keys(builder: Any) -> tuple[str, str]:
    features = builder.info.features
    keys = builder.info.supervised_keys
    if keys is None:
        keys = next(((k, "label") for k in ("image", "features") if k in features), None)
    if keys is None or not all(isinstance(key, str) and key in features for key in keys[:2]):
        raise _unsuitable(builder)
    return keys[0], keys[1]


def _unsuitable(builder: Any) -> DataError:
    found = ", ".join(f"{name} ({type(f).__name__})" for name, f in builder.info.features.items())
    return DataError(
        f"{builder.info.full_name} cannot be used: its examples hold {found}; needed are an image"
        " or an array of numbers, and a label that is one number."
    )


def _class_names(label: Any) -> tuple[str, ...] | None:
    count = getattr(label, "num_classes", None)
    return None if count is None else tuple(label.names or map(str, range(count)))


def _find_parts(builder: Any) -> dict[str, str]:
    """Returns the TFDS split of each part; a single split under any name is the training part."""
    found = builder.info.splits
    parts = {
        part: next(name for name in spellings if name in found)
        for part, spellings in SPELLINGS.items()
        if any(name in found for name in spellings)
    }
    if "train" not in parts:
        if len(found) != 1:
            raise DataError(
                f"{builder.info.full_name} has the splits {', '.join(found) or 'none'}, but none is"
                " called 'train'."
            )
        parts = {"train": next(iter(found))}
    return parts


def _dataset(builder: Any, layout: Layout, split: str) -> Any:
    """Returns a finite dataset of `(features, label)` in stored order."""
    import tensorflow as tf

    def pick(example: Any) -> Any:
        features = example[layout.features_key]
        if layout.size is not None:
            features = tf.image.resize(features, layout.size, antialias=True)
            if layout.dtype == "uint8":
                features = tf.clip_by_value(tf.round(features), 0.0, 255.0)
        return tf.cast(features, layout.dtype), example[layout.label_key]

    return builder.as_dataset(split=split, shuffle_files=False).map(
        pick, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )


@contextmanager
def _reading_records(builder: Any) -> Iterator[None]:
    """Turns TensorFlow's complaint about damaged or missing record files into one sentence."""
    import tensorflow as tf

    try:
        yield
    except (tf.errors.OpError, OSError) as error:
        reason = str(getattr(error, "message", error)).splitlines()[0]
        raise DataError(
            f"{builder.data_dir} cannot be read: {reason}. Remove the folder and prepare the data"
            " set again."
        ) from error


def _read_part(builder: Any, layout: Layout, split: str, where: str) -> RawPart:
    with _reading_records(builder):
        batches = list(_dataset(builder, layout, split).batch(1024).as_numpy_iterator())
    features = np.concatenate([f for f, _ in batches]) if batches else np.empty((0, *layout.shape))
    labels = np.concatenate([label for _, label in batches]) if batches else np.empty(0)
    return RawPart(features, labels, indexed(where), indexed(where))


def _stream(
    builder: Any, layout: Layout, parts: dict[str, str], config: DataConfig, refit: bool
) -> Splits:
    """Returns streams; only the labels are read now, to check them and to number the classes."""
    import tensorflow as tf

    labels = {name: _read_labels(builder, layout, split) for name, split in parts.items()}
    settled = settle_labels(
        RawData(labels, class_names=layout.classes), config.task, config.classes
    )

    def split_of(name: str, begin: int, end: int) -> StreamSplit:
        stored = name if name in parts else "train"
        features = _dataset(builder, layout, f"{parts[stored]}[{begin}:{end}]")
        targets = tf.data.Dataset.from_tensor_slices(settled.by_part[stored][begin:end])
        pairs = tf.data.Dataset.zip(features, targets)
        return StreamSplit(pairs.map(lambda example, target: (example[0], target)), end - begin)

    ranges = cut_ranges({n: len(part.labels) for n, part in labels.items()}, config)
    digest = hashlib.sha256()
    for name in ("train", "validation") if refit else ("train",):
        begin, end = ranges[name]
        stored = name if name in parts else "train"
        digest.update(f"{builder.info.full_name} {parts[stored]} {begin} {end}\n".encode())
        digest.update(settled.by_part[stored].tobytes())
    info = DataInfo(
        source=config.source,
        task=settled.task,
        feature_shape=layout.shape,
        feature_dtype=layout.dtype,
        classes=settled.classes,
        columns=layout.columns,
        fingerprint=digest.hexdigest(),
    )
    splits = {name: split_of(name, *bounds) for name, bounds in ranges.items()}
    if refit:
        train, validation = splits["train"], splits["validation"]
        both = train.dataset.concatenate(validation.dataset)
        splits["train"] = StreamSplit(both, train.size + validation.size)
    return Splits(**splits, info=info)


def _read_labels(builder: Any, layout: Layout, split: str) -> RawPart:
    import tensorflow_datasets as tfds

    only = tfds.decode.PartialDecoding({layout.label_key: True})
    with _reading_records(builder):
        dataset = builder.as_dataset(split=split, shuffle_files=False, decoders=only)
        batches = dataset.batch(8192).as_numpy_iterator()
        labels: npt.NDArray[Any] = np.concatenate([batch[layout.label_key] for batch in batches])
    at = indexed(f"{builder.info.full_name}: {split}")
    return RawPart(np.empty((len(labels), 0), np.float32), labels, at, at)


def cut_ranges(sizes: dict[str, int], config: DataConfig) -> dict[str, Range]:
    """Returns the range of stored examples of each split of a stream.

    What is lacking is taken from the end of `train`, test first; TFDS stores most data sets in
    shuffled order, so a range is a fair draw, though not one in proportion to the classes.

    Args:
        sizes: Number of examples of each part there is.
        config: Holds the shares.
    """
    ranges = {name: (0, size) for name, size in sizes.items()}
    for name, share in (("test", config.test), ("validation", config.validation)):
        if name not in ranges:
            end = ranges["train"][1]
            taken = max(1, round(end * share))
            if taken >= end:
                raise DataError(f"{config.source}: {sizes['train']} examples are too few to cut.")
            ranges["train"], ranges[name] = (0, end - taken), (end - taken, end)
    return ranges
