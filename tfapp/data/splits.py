"""The one form in which every source hands over its examples.

Shapes: B is a batch, N the number of examples of a split, and `feature_shape` the shape of one
example: `(features,)` for a table, `(height, width, channels)` for images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy.typing as npt

Task = Literal["classification", "regression"]


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: Its heading.
        vocabulary: The texts it may hold, in the order of their codes; `None` for numbers.
            A text is stored as its code 1, 2, ...; 0 stands for a text the training split
            does not have. An empty vocabulary means any text, kept as it is: so where the model
            is somewhere else, and looks its texts up there.
    """

    name: str
    vocabulary: tuple[str, ...] | None = None


@dataclass(frozen=True)
class DataInfo:
    """What is known of a source without its examples; a run keeps it as `data.json`.

    Attributes:
        source: The name or path it was asked for by.
        task: What the labels are: class indices or real numbers.
        feature_shape: Shape of one example as the model receives it, before scaling.
        feature_dtype: `uint8` or `float32`: the type of the raw features. Of a model that is
            served elsewhere also `float64`, or `object` where texts are kept.
        classes: Class names in the order of their indices; empty for regression.
        columns: The columns of a table in order; `None` for images and bare arrays.
        fingerprint: SHA-256 over the training split, to tell whether data has changed.
        label: Name of the label column or array, where the source has names.
    """

    source: str
    task: Task
    feature_shape: tuple[int, ...]
    feature_dtype: str
    classes: tuple[str, ...]
    columns: tuple[Column, ...] | None
    fingerprint: str
    label: str | None = None


@dataclass(frozen=True)
class ArraySplit:
    """Examples that can be reached by index, held in memory or loaded batch by batch.

    Attributes:
        features: `[N, *feature_shape]` raw values; or `[N]` file names when `load` is given.
        labels: `[N]` int32 class indices, or `[N]` float32 targets.
        load: Turns a batch of `features` into `[B, *feature_shape]` inside a graph.
    """

    features: npt.NDArray[Any]
    labels: npt.NDArray[Any]
    load: Callable[[Any], Any] | None = None

    @property
    def size(self) -> int:
        """Number of examples."""
        return len(self.labels)

    @property
    def nbytes(self) -> int:
        """Bytes of both arrays."""
        return int(self.features.nbytes + self.labels.nbytes)

    @cached_property
    def tensors(self) -> tuple[Any, Any]:
        """Both arrays as tensors in host memory: copied once, for everything that reads them."""
        import tensorflow as tf  # sources are looked up before TensorFlow is loaded

        # Whoever asks first may be tracing, and must not get what belongs to a graph.
        with tf.init_scope(), tf.device("CPU:0"):
            return tf.convert_to_tensor(self.features), tf.convert_to_tensor(self.labels)


@dataclass(frozen=True)
class StreamSplit:
    """Examples that can only be read one after another, because memory does not hold them.

    Attributes:
        dataset: A finite `tf.data.Dataset` of single `(features, label)` pairs in stored order.
        size: Number of examples.
    """

    dataset: Any
    size: int


Split = ArraySplit | StreamSplit


@dataclass(frozen=True)
class Splits:
    """The three splits of a source.

    `validation` is always there: where the source has none it is taken from `train`, by a rule
    that depends on the source and the config alone, never on chance. Loaded with `refit`, `train`
    holds its examples too.
    """

    train: Split
    validation: Split
    test: Split
    info: DataInfo
