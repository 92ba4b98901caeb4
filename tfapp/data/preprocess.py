"""Scaling and one-hot coding, fitted on the training split and kept with the model.

    preprocess = fit_preprocess(splits, "standard")
    preprocess(features)        # [B, *output_shape] float32, inside or outside a graph

B is the batch size and C the length of the last axis: the columns of a table, the channels of an
image. Every position of an image is scaled by the numbers of its channel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfapp.data.pipeline import evaluation_batches
from tfapp.data.splits import ArraySplit, Split, Splits
from tfapp.errors import DataError

Scaling = Literal["standard", "minmax", "none"]
Array = npt.NDArray[Any]

CHUNK = 4096  # examples whose statistics are computed at a time


class Preprocess(tf.Module):
    """Raw features to what a model takes; constants only, so nothing here is trained.

    Number columns become `(x - subtract) * multiply`. A text column becomes one column for each
    text of its vocabulary, 1 where it holds that text and 0 elsewhere; a text unknown to the
    training split is 0 everywhere.

    Args:
        feature_shape: Shape of one raw example.
        subtract: `[C]` float32, ignored at text columns; `None` leaves the values as they are.
        multiply: `[C]` float32; `None` together with `subtract`.
        vocabularies: For each column the number of its texts, 0 for a number column; `None` when
            there is no text column.
    """

    def __init__(
        self,
        feature_shape: tuple[int, ...],
        subtract: Array | None,
        multiply: Array | None,
        vocabularies: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__(name="preprocess")
        self._feature_shape = tuple(feature_shape)
        self._subtract = subtract
        self._multiply = multiply
        self._vocabularies = tuple(vocabularies) if vocabularies and any(vocabularies) else None

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one example after preprocessing."""
        if self._vocabularies is None:
            return self._feature_shape
        return (sum(texts or 1 for texts in self._vocabularies),)

    @tf.Module.with_name_scope
    def __call__(self, features: Any) -> tf.Tensor:
        """Returns `[B, *output_shape]` float32 for `[B, *feature_shape]` raw features."""
        raw = tf.cast(tf.convert_to_tensor(features), tf.float32)
        scaled = raw if self._subtract is None else (raw - self._subtract) * self._multiply
        if self._vocabularies is None:
            return scaled
        columns = []
        for position, texts in enumerate(self._vocabularies):
            if texts:
                # Code 0 is an unknown text, which is left with zeros. As index -1 it would be the
                # last text in other runtimes, such as ONNX's.
                columns.append(tf.one_hot(tf.cast(raw[:, position], tf.int32), texts + 1)[:, 1:])
            else:
                columns.append(scaled[:, position : position + 1])
        return tf.concat(columns, axis=1)

    def config(self) -> dict[str, Any]:
        """Returns what `from_config` needs, as JSON can hold it without losing a bit."""
        return {
            "feature_shape": list(self._feature_shape),
            "subtract": None if self._subtract is None else self._subtract.tolist(),
            "multiply": None if self._multiply is None else self._multiply.tolist(),
            "vocabularies": None if self._vocabularies is None else list(self._vocabularies),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Returns the equal of the object whose `config` this is."""
        subtract, multiply = (
            None if config[key] is None else np.array(config[key], np.float32)
            for key in ("subtract", "multiply")
        )
        return cls(tuple(config["feature_shape"]), subtract, multiply, config["vocabularies"])


def fit_preprocess(splits: Splits, scaling: Scaling) -> Preprocess:
    """Returns the preprocessing whose statistics are those of the training split alone.

    Args:
        splits: The data; validation and test are not looked at.
        scaling: `standard`: mean 0 and standard deviation 1; `minmax`: 0 to 1; `none`: as it is.
            A column that is the same in every example is only shifted.

    Raises:
        DataError: A streamed training split holds values that are not finite.
    """
    info = splits.info
    vocabularies = None
    if info.columns is not None:
        vocabularies = tuple(len(column.vocabulary or ()) for column in info.columns)
    if scaling == "none":
        return Preprocess(info.feature_shape, None, None, vocabularies)
    moments = Moments()
    for features in feature_chunks(splits.train):
        moments.add(features)
    if not np.isfinite(moments.mean).all():
        raise DataError(
            f"{info.source}: the training split holds values that are not finite (NaN or Inf)."
            " Correct or remove these examples."
        )
    if scaling == "standard":
        subtract, spread = moments.mean, np.sqrt(moments.squares / moments.count)
    else:
        subtract, spread = moments.minimum, moments.maximum - moments.minimum
    # Compared by extremes: rounding may leave a constant column a tiny deviation.
    spread = np.where(moments.minimum == moments.maximum, 1.0, spread)
    multiply = (1.0 / spread).astype(np.float32)
    return Preprocess(info.feature_shape, subtract.astype(np.float32), multiply, vocabularies)


class Moments:
    """Running mean, sum of squared deviations, minimum and maximum over all but the last axis.

    Source: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample
    variances" (1979): merging by chunks keeps double precision where sums of squares would not.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Array = np.zeros(1)
        self.squares: Array = np.zeros(1)
        self.minimum: Array = np.full(1, np.inf)
        self.maximum: Array = np.full(1, -np.inf)

    def add(self, features: Array) -> None:
        """Takes in `[n, ..., C]` values."""
        values = features.reshape(-1, features.shape[-1]).astype(np.float64)
        count, mean = len(values), values.mean(axis=0)
        total = self.count + count
        delta = mean - self.mean
        self.squares = (
            self.squares
            + np.square(values - mean).sum(axis=0)
            + np.square(delta) * (self.count * count / total)
        )
        self.mean = self.mean + delta * (count / total)
        self.minimum = np.minimum(self.minimum, values.min(axis=0))
        self.maximum = np.maximum(self.maximum, values.max(axis=0))
        self.count = total


def feature_chunks(split: Split) -> Iterator[Array]:
    """Yields the raw features of `split` in order, `[n, *feature_shape]` at a time."""
    if isinstance(split, ArraySplit) and split.load is None:
        for start in range(0, split.size, CHUNK):
            yield split.features[start : start + CHUNK]
    else:
        for features, _ in evaluation_batches(split, 256):
            yield features.numpy()
