from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfapp.data import pipeline
from tfapp.data.pipeline import (
    TrainingBatches,
    evaluation_batches,
    read_batch,
    steps_per_epoch,
    training_batches,
)
from tfapp.data.splits import ArraySplit, StreamSplit
from tfapp.errors import UsageError

SIZES = st.integers(1, 40)
BATCHES = st.integers(1, 15)
SEEDS = st.integers(0, 2**63 - 1)


def array_split(size):
    # Feature i is [i, -i], so pairs that are torn apart show.
    rows = np.arange(size, dtype=np.float32)
    return ArraySplit(np.stack([rows, -rows], axis=1), np.arange(size, dtype=np.int32))


def stream_split(size):
    split = array_split(size)
    dataset = tf.data.Dataset.from_tensor_slices((split.features, split.labels))
    return StreamSplit(dataset, size)


def take(split, count, **settings_):
    batches = training_batches(split, **settings_)
    return [(f.numpy(), y.numpy()) for f, y in itertools.islice(batches, count)]


def labels_of_epochs(split, epochs, batch_size, seed):
    steps = steps_per_epoch(split.size, batch_size)
    batches = take(split, epochs * steps, batch_size=batch_size, seed=seed)
    for features, labels in batches:
        np.testing.assert_array_equal(features[:, 0], labels)
        np.testing.assert_array_equal(features[:, 1], -labels)
    return [
        np.concatenate([y for _, y in batches[epoch * steps : (epoch + 1) * steps]])
        for epoch in range(epochs)
    ]


@pytest.mark.parametrize("make", [array_split, stream_split])
@settings(max_examples=10, deadline=None)
@given(size=SIZES, batch_size=BATCHES, seed=SEEDS)
def test_every_epoch_holds_every_example_once(make, size, batch_size, seed):
    for order in labels_of_epochs(make(size), 2, batch_size, seed):
        assert sorted(order) == list(range(size))


@pytest.mark.parametrize("make", [array_split, stream_split])
def test_order_depends_on_seed_and_epoch_alone(make):
    split = make(60)
    first = labels_of_epochs(split, 3, 7, seed=5)
    tf.random.set_seed(99)
    np.random.seed(1)
    again = labels_of_epochs(split, 3, 7, seed=5)
    np.testing.assert_array_equal(first, again)
    other_batch = labels_of_epochs(split, 3, 20, seed=5)
    np.testing.assert_array_equal(first, other_batch)
    other_seed = labels_of_epochs(split, 3, 7, seed=6)
    orders = [tuple(order) for order in [*first, *other_seed]]
    assert len(set(orders)) == 6
    assert tuple(range(60)) not in orders


@pytest.mark.parametrize("make", [array_split, stream_split])
@settings(max_examples=10, deadline=None)
@given(size=SIZES, batch_size=BATCHES, first=st.integers(0, 30))
def test_first_step_gives_what_the_uninterrupted_stream_would(make, size, batch_size, first):
    split = make(size)
    whole = take(split, first + 4, batch_size=batch_size, seed=3)
    resumed = take(split, 4, batch_size=batch_size, seed=3, first_step=first)
    for (features, labels), (wanted_features, wanted_labels) in zip(
        resumed, whole[first:], strict=True
    ):
        np.testing.assert_array_equal(features, wanted_features)
        np.testing.assert_array_equal(labels, wanted_labels)


def test_the_last_batch_of_an_epoch_is_smaller_never_dropped():
    sizes = [len(y) for _, y in take(array_split(10), 6, batch_size=4, seed=0)]
    assert sizes == [4, 4, 2, 4, 4, 2]
    assert steps_per_epoch(10, 4) == 3
    assert steps_per_epoch(8, 4) == 2
    assert steps_per_epoch(1, 64) == 1


def test_training_never_ends_and_says_so():
    batches = training_batches(array_split(5), batch_size=2, seed=0)
    assert batches.cardinality() == tf.data.INFINITE_CARDINALITY
    features, labels = batches.element_spec
    assert features.shape.as_list() == [None, 2]
    assert labels.shape.as_list() == [None]


def test_arrays_do_not_become_constants_of_the_graph():
    split = ArraySplit(np.ones((4000, 64), np.float32), np.zeros(4000, np.int32))
    batches = TrainingBatches(split, batch_size=8)
    numbers = [tf.TensorSpec([], tf.int64)] * 3
    graph = batches._describe.get_concrete_function(*numbers).graph.as_graph_def()
    assert len(graph.library.function) >= 2
    assert graph.ByteSize() < 50_000


def test_one_description_serves_every_seed_and_step():
    split = array_split(10)
    batches = TrainingBatches(split, batch_size=4)
    for seed, step in [(0, 0), (7, 2), (7, 4), (0, 1)]:
        wanted = take(split, 3, batch_size=4, seed=seed, first_step=step)
        for (features, labels), found in zip(wanted, batches(seed, step).take(3), strict=True):
            np.testing.assert_array_equal(features, found[0])
            np.testing.assert_array_equal(labels, found[1])
    assert batches._describe.experimental_get_tracing_count() == 1


def test_read_batch_is_the_batch_of_that_step():
    split = array_split(23)
    whole = take(split, 9, batch_size=5, seed=8)
    features, labels = read_batch(split, batch_size=5, seed=8, step=7)
    np.testing.assert_array_equal(features, whole[7][0])
    np.testing.assert_array_equal(labels, whole[7][1])


@pytest.mark.parametrize("make", [array_split, stream_split])
def test_evaluation_keeps_the_stored_order(make):
    batches = evaluation_batches(make(11), 4)
    assert int(batches.cardinality()) == 3
    labels = [y.numpy() for _, y in batches]
    assert [len(y) for y in labels] == [4, 4, 3]
    np.testing.assert_array_equal(np.concatenate(labels), np.arange(11))


def test_loaded_features_follow_the_same_order():
    names = np.array([f"{i}" for i in range(20)])
    lazy = ArraySplit(
        names,
        np.arange(20, dtype=np.int32),
        load=lambda texts: tf.strings.to_number(texts)[:, tf.newaxis],
    )
    plain = array_split(20)
    for (features, labels), (_, wanted) in zip(
        take(lazy, 5, batch_size=6, seed=2), take(plain, 5, batch_size=6, seed=2), strict=True
    ):
        np.testing.assert_array_equal(labels, wanted)
        np.testing.assert_array_equal(features[:, 0], wanted)


def test_a_stream_is_shuffled_inside_blocks(monkeypatch):
    monkeypatch.setattr(pipeline, "BLOCK_EXAMPLES", 10)
    (order,) = labels_of_epochs(stream_split(30), 1, 30, seed=0)
    for start in (0, 10, 20):
        block = order[start : start + 10]
        assert sorted(block) == list(range(start, start + 10))
        assert list(block) != sorted(block)
    assert not np.array_equal(order[:10] + 10, order[10:20])


def test_blocks_are_limited_by_bytes(monkeypatch):
    monkeypatch.setattr(pipeline, "BLOCK_BYTES", 100)
    # An example is two float32: 8 bytes.
    assert pipeline.block_examples(stream_split(30)) == 12


def test_negative_first_step():
    with pytest.raises(UsageError, match="first_step is -1"):
        training_batches(array_split(3), batch_size=1, seed=0, first_step=-1)
