"""Batches of a split, in an order that is a pure function of (seed, epoch).

    batches = iter(training_batches(splits.train, batch_size=64, seed=0))
    features, labels = next(batches)     # [B, *feature_shape] raw values, [B]

Nothing of the order is kept anywhere: `first_step=n` gives exactly what the uninterrupted stream
would have given from step n on, so a resumed run needs no saved iterator. The order stays the same
on one version of TensorFlow; another version may draw other permutations.

B is the batch size, N the number of examples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfapp.data.splits import ArraySplit, Split, StreamSplit
from tfapp.errors import UsageError

# A stream is shuffled inside blocks: as many examples as fit this many bytes, at most so many.
BLOCK_BYTES = 256 * 2**20
BLOCK_EXAMPLES = 10_000


def steps_per_epoch(size: int, batch_size: int) -> int:
    """Returns the number of batches that hold `size` examples; the last may be smaller."""
    return math.ceil(size / batch_size)


@dataclass(frozen=True)
class Part:
    """What one of several processes takes of every batch.

    Attributes:
        index: Which process this is, from 0.
        count: How many there are.
        replicas: How many parts they will make of a batch in the end. A batch of fewer examples
            is given whole to every process: a part without any is more than some kernels can do.
    """

    index: int
    count: int
    replicas: int

    def cut(self, *batch: tf.Tensor) -> tuple[tf.Tensor, ...]:
        """Returns this part of arrays `[B, ...]`, and B."""
        size = tf.shape(batch[0])[0]
        whole = size < self.replicas
        return (*(cut_part(array, self.index, self.count, whole) for array in batch), size)


def cut_part(
    batch: tf.Tensor, index: Any, count: int, whole: tf.Tensor | bool = False
) -> tf.Tensor:
    """Returns one of `count` contiguous parts of a batch `[B, ...]`.

    Their sizes differ by at most one example.

    Args:
        batch: What is cut along its first axis.
        index: Which part, a number or a scalar tensor.
        count: How many there are.
        whole: Whether to return all of it instead.
    """
    if batch.shape.is_fully_defined() and batch.shape[0] % count == 0 and whole is False:
        rest = batch.shape[1:].as_list()
        part = batch.shape[0] // count
        # A part of known shape, as programs of fixed shapes need it.
        return tf.slice(batch, [index * part, *(0 for _ in rest)], [part, *rest])
    size = tf.shape(batch)[0]
    begin, end = index * size // count, (index + 1) * size // count
    return batch[tf.where(whole, 0, begin) : tf.where(whole, size, end)]


def training_batches(
    split: Split, *, batch_size: int, seed: int, first_step: int = 0, part: Part | None = None
) -> tf.data.Dataset:
    """Returns the endless batches of training from `first_step` on.

    Every epoch holds every example once; its last batch may be smaller than the others. For an
    `ArraySplit` starting in the middle costs nothing; a `StreamSplit` is read up to there.

    Args:
        split: Where the examples are.
        batch_size: B, at least 1.
        seed: Decides the order of every epoch; from 0 to 2^63 - 1.
        first_step: Number of batches to leave out, counted from the start of training.
        part: What of every batch is wanted, if not all. Of an `ArraySplit` nothing else is read; a
            `StreamSplit` is always read whole.

    Returns:
        Dataset of `([B, *feature_shape], [B])`, raw features and labels; with a `part`, of
        `([b, *feature_shape], [b], [])`, the third being the size of the whole batch.

    Raises:
        UsageError: `first_step` is negative.
    """
    return TrainingBatches(split, batch_size=batch_size, part=part)(seed, first_step)


class TrainingBatches:
    """`training_batches` of one split, for any seed and step.

    To describe them to TensorFlow takes as long as training on thousands of small examples, so it
    is done once.

    Args:
        split: As in `training_batches`.
        batch_size: As in `training_batches`.
        part: As in `training_batches`.
    """

    def __init__(self, split: Split, *, batch_size: int, part: Part | None = None) -> None:
        self._split = split
        self._batch_size = batch_size
        self._part = part
        self._element_spec: Any = None
        self._options = tf.data.Options()
        if isinstance(split, ArraySplit) and split.load is None:
            # Nothing to tune in slices of memory, and ending the tuner's thread takes up to 80 ms.
            self._options.autotune.enabled = False
            self._options.experimental_optimization.apply_default_optimizations = False

    def __call__(self, seed: int, first_step: int = 0) -> tf.data.Dataset:
        """Returns the endless batches from `first_step` on, in the order that `seed` decides.

        Raises:
            UsageError: `first_step` is negative.
        """
        if first_step < 0:
            raise UsageError(f"first_step is {first_step}; steps are counted from 0.")
        start = divmod(first_step, steps_per_epoch(self._split.size, self._batch_size))
        numbers = (tf.constant(number, tf.int64) for number in (seed, *start))
        variant = self._describe(*numbers)
        batches = tf.data.experimental.from_variant(variant, self._element_spec)
        return batches.with_options(self._options)

    @tf.function
    def _describe(self, seed: tf.Tensor, epoch: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
        epochs = tf.data.Dataset.counter(epoch)
        split, part = self._split, self._part
        if isinstance(split, ArraySplit):
            start = (epoch, offset)
            batches = _shuffled_arrays(split, self._batch_size, epochs, seed, start, part)
        else:
            batches = _shuffled_stream(split, self._batch_size, epochs, seed).skip(offset)
            if part is not None:
                batches = batches.map(part.cut)
        endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        batches = batches.apply(endless).prefetch(tf.data.AUTOTUNE)
        self._element_spec = batches.element_spec
        return tf.data.experimental.to_variant(batches)


def evaluation_batches(split: Split, batch_size: int) -> tf.data.Dataset:
    """Returns the batches of one pass in stored order, `([B, *feature_shape], [B])`."""
    if isinstance(split, StreamSplit):
        batches = split.dataset.batch(batch_size)
        steps = steps_per_epoch(split.size, batch_size)
        batches = batches.apply(tf.data.experimental.assert_cardinality(steps))
    else:
        order = tf.range(split.size, dtype=tf.int64)
        starts = tf.data.Dataset.range(0, split.size, batch_size)
        batches = _gather(split, starts.map(lambda start: order[start : start + batch_size]))
    return batches.prefetch(tf.data.AUTOTUNE)


def first_examples(split: Split, count: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the first `count` examples, `[B, *feature_shape]` raw features and `[B]` labels."""
    if isinstance(split, StreamSplit):
        features, labels = next(iter(split.dataset.batch(count)))
        return features, labels
    features = tf.convert_to_tensor(split.features[:count])
    loaded = features if split.load is None else split.load(features)
    return loaded, tf.convert_to_tensor(split.labels[:count])


class OnePass:
    """The batches of one pass in stored order, for a compiled function to walk through.

    Every walk over a `tf.data.Dataset` starts its threads anew, which takes as long as evaluating
    thousands of small examples; arrays in memory are sliced instead.

    Args:
        split: Where the examples are.
        batch_size: B, at least 1; the last batch may be smaller.
    """

    def __init__(self, split: Split, batch_size: int) -> None:
        self._size = split.size
        self._batch_size = batch_size
        self._arrays: tuple[tf.Tensor, tf.Tensor] | None = None
        if isinstance(split, ArraySplit) and split.load is None:
            self._arrays = split.tensors  # in host memory: a device gets a batch at a time
        else:
            self._dataset = evaluation_batches(split, batch_size)

    def visit(self, function: Callable[[tf.Tensor, tf.Tensor], None]) -> None:
        """Calls `function` with `[B, *feature_shape]` raw features and `[B]` labels of each batch.

        Must be called inside a `tf.function`.
        """
        if self._arrays is None:
            for features, labels in self._dataset:
                function(features, labels)
        else:
            features, labels = self._arrays
            for start in tf.range(0, self._size, self._batch_size):
                end = tf.minimum(start + self._batch_size, self._size)
                function(features[start:end], labels[start:end])


def read_batch(split: Split, *, batch_size: int, seed: int, step: int) -> tuple[Any, Any]:
    """Returns the batch that training saw at `step`, to look into it when its loss was not finite.

    Returns:
        `[B, *feature_shape]` raw features and `[B]` labels.
    """
    batches = training_batches(split, batch_size=batch_size, seed=seed, first_step=step)
    features, labels = next(iter(batches))
    return features, labels


def epoch_order(size: int, seed: tf.Tensor, epoch: tf.Tensor) -> tf.Tensor:
    """Returns `[N]` int64: the order in which an `ArraySplit` is read in `epoch`.

    Args:
        size: N.
        seed: Scalar int64.
        epoch: Scalar int64, counted from 0.
    """
    indices = tf.range(size, dtype=tf.int64)
    return tf.random.experimental.stateless_shuffle(indices, seed=tf.stack([seed, epoch]))


def _shuffled_arrays(
    split: ArraySplit,
    batch_size: int,
    epochs: tf.data.Dataset,
    seed: tf.Tensor,
    start: tuple[tf.Tensor, tf.Tensor],
    part: Part | None,
) -> tf.data.Dataset:
    first_epoch, offset = start
    steps = steps_per_epoch(split.size, batch_size)

    def indices(epoch: tf.Tensor) -> tf.data.Dataset:
        order = epoch_order(split.size, seed, epoch)
        begin = tf.where(epoch == first_epoch, offset, 0)
        batches = tf.data.Dataset.range(begin, steps)
        return batches.map(lambda step: order[step * batch_size : (step + 1) * batch_size])

    chosen = epochs.flat_map(indices)
    if part is None:
        return _gather(split, chosen)
    cut = chosen.map(part.cut)
    batches = _gather(split, cut.map(lambda batch, _: batch))
    sizes = cut.map(lambda _, size: size)
    return tf.data.Dataset.zip(batches, sizes).map(lambda batch, size: (*batch, size))


def _gather(split: ArraySplit, indices: tf.data.Dataset) -> tf.data.Dataset:
    """Maps a dataset of `[B]` indices to batches, one gather for a whole batch."""
    # Captured tensors are inputs of the mapped function, so no array becomes a graph constant.
    features, labels = split.tensors
    load = split.load
    if load is None:
        return indices.map(lambda i: (tf.gather(features, i), tf.gather(labels, i)))
    return indices.map(
        lambda i: (load(tf.gather(features, i)), tf.gather(labels, i)),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )


def _shuffled_stream(
    split: StreamSplit, batch_size: int, epochs: tf.data.Dataset, seed: tf.Tensor
) -> tf.data.Dataset:
    """Shuffles inside blocks: `Dataset.shuffle` would also depend on TensorFlow's global seed."""
    block = block_examples(split)

    def batches(epoch: tf.Tensor) -> tf.data.Dataset:
        def shuffle(number: tf.Tensor, examples: Any) -> Any:
            features, labels = examples
            key = tf.random.fold_in(tf.stack([seed, epoch]), number)
            order = tf.random.experimental.stateless_shuffle(tf.range(tf.shape(labels)[0]), key)
            return tf.gather(features, order), tf.gather(labels, order)

        blocks = split.dataset.batch(block).enumerate().map(shuffle)
        return blocks.unbatch().batch(batch_size)

    return epochs.flat_map(batches)


def block_examples(split: StreamSplit) -> int:
    """Returns how many examples of a stream are held, and shuffled, at a time."""
    features, _ = split.dataset.element_spec
    example_bytes = max(1, features.shape.num_elements() * features.dtype.size)
    return max(1, min(BLOCK_EXAMPLES, BLOCK_BYTES // example_bytes, split.size))
