from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from tfapp.data.preprocess import Moments, Preprocess, fit_preprocess
from tfapp.data.splits import ArraySplit, Column, DataInfo, Splits, StreamSplit
from tfapp.errors import DataError

RNG = np.random.default_rng(5)


def splits_of(features, columns=None, others=None):
    features = np.asarray(features)
    labels = np.zeros(len(features), np.int32)
    info = DataInfo(
        "made", "classification", features.shape[1:], str(features.dtype), ("a", "b"), columns, ""
    )
    other = features if others is None else others
    rest = ArraySplit(other, np.zeros(len(other), np.int32))
    return Splits(ArraySplit(features, labels), rest, rest, info)


TABLE = (RNG.normal(size=(5000, 4)) * [1, 10, 0.01, 1] + [0, 1000, -3, 0]).astype(np.float32)
TABLE[:, 3] = 2.5


def test_standard_scaling_is_scikit_learns():
    wanted = StandardScaler().fit_transform(TABLE.astype(np.float64))
    scaled = fit_preprocess(splits_of(TABLE), "standard")(TABLE).numpy()
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, wanted, atol=2e-4)
    assert not scaled[:, 3].any()


def test_minmax_scaling_is_scikit_learns():
    wanted = MinMaxScaler().fit_transform(TABLE.astype(np.float64))
    scaled = fit_preprocess(splits_of(TABLE), "minmax")(TABLE).numpy()
    np.testing.assert_allclose(scaled, wanted, atol=2e-5)


def test_none_only_casts():
    raw = np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1)
    scaled = fit_preprocess(splits_of(raw), "none")(raw)
    assert scaled.dtype == tf.float32
    np.testing.assert_array_equal(scaled, raw.astype(np.float32))


def test_only_the_training_split_counts():
    train = TABLE[:100]
    alone = fit_preprocess(splits_of(train), "standard").config()
    with_others = fit_preprocess(splits_of(train, others=TABLE[100:] + 50), "standard").config()
    assert alone == with_others


def test_images_are_scaled_by_channel():
    images = RNG.integers(0, 256, (6000, 3, 2, 2), dtype=np.uint8)
    images[..., 1] //= 4
    preprocess = fit_preprocess(splits_of(images), "standard")
    assert preprocess.output_shape == (3, 2, 2)
    scaled = preprocess(images).numpy()
    np.testing.assert_allclose(scaled.mean(axis=(0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(scaled.std(axis=(0, 1, 2)), 1, atol=1e-4)
    # One number for a whole channel: equal raw values stay equal wherever they are.
    channel = scaled[..., 0].ravel()
    assert len(np.unique(channel)) == len(np.unique(images[..., 0]))


COLUMNS = (Column("n"), Column("word", ("blue", "red", "white")), Column("m"))
MIXED = np.array([[1, 1, 10], [2, 2, 20], [3, 3, 30], [4, 1, 40]], np.float32)


def test_texts_become_one_hot_in_place():
    preprocess = fit_preprocess(splits_of(MIXED, COLUMNS), "minmax")
    assert preprocess.output_shape == (5,)
    rows = np.array([[1, 1, 40], [4, 3, 10], [2.5, 0, 25]], np.float32)
    wanted = [[0, 1, 0, 0, 1], [1, 0, 0, 1, 0], [0.5, 0, 0, 0, 0.5]]
    np.testing.assert_allclose(preprocess(rows), wanted, atol=1e-7)
    plain = fit_preprocess(splits_of(MIXED, COLUMNS), "none")(rows)
    np.testing.assert_array_equal(plain[:, 1:4], np.array(wanted)[:, 1:4])
    np.testing.assert_array_equal(plain[:, 0], rows[:, 0])


FLOATS = st.floats(-1e6, 1e6, width=32)


@settings(max_examples=25, deadline=None)
@given(hnp.arrays(np.float32, (7, 3), elements=FLOATS), st.sampled_from(["standard", "minmax"]))
def test_json_keeps_every_bit(values, scaling):
    fitted = fit_preprocess(splits_of(values), scaling)
    restored = Preprocess.from_config(json.loads(json.dumps(fitted.config())))
    assert restored.config() == fitted.config()
    assert restored.output_shape == fitted.output_shape
    before, after = fitted(values).numpy(), restored(values).numpy()
    assert before.tobytes() == after.tobytes()
    assert np.isfinite(before).all()


def test_graph_xla_and_saved_model_agree(tmp_path):
    preprocess = Preprocess.from_config(
        fit_preprocess(splits_of(MIXED, COLUMNS), "standard").config()
    )
    wanted = preprocess(MIXED).numpy()
    assert preprocess.trainable_variables == ()
    np.testing.assert_array_equal(tf.function(preprocess)(MIXED), wanted)
    compiled = tf.function(preprocess, jit_compile=True)(tf.constant(MIXED))
    np.testing.assert_allclose(compiled, wanted, atol=1e-6)

    module = tf.Module()
    module.preprocess = preprocess
    module.serve = tf.function(
        lambda rows: preprocess(rows), input_signature=[tf.TensorSpec([None, 3], tf.float32)]
    )
    tf.saved_model.save(module, str(tmp_path / "saved"))
    np.testing.assert_array_equal(tf.saved_model.load(str(tmp_path / "saved")).serve(MIXED), wanted)


def stream_splits(features):
    splits = splits_of(features)
    labels = np.zeros(len(features), np.int32)
    stream = StreamSplit(tf.data.Dataset.from_tensor_slices((features, labels)), len(features))
    return Splits(stream, splits.validation, splits.test, splits.info)


def test_a_stream_gives_the_same_statistics():
    streamed = fit_preprocess(stream_splits(TABLE[:1000]), "standard").config()
    whole = fit_preprocess(splits_of(TABLE[:1000]), "standard").config()
    for key in ("subtract", "multiply"):
        np.testing.assert_allclose(streamed[key], whole[key], rtol=1e-6)


def test_a_stream_with_nan_is_refused():
    table = TABLE[:50].copy()
    table[7, 1] = np.nan
    with pytest.raises(DataError, match="not finite"):
        fit_preprocess(stream_splits(table), "standard")


@settings(max_examples=30, deadline=None)
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 30), st.just(2)), elements=FLOATS),
    st.integers(1, 8),
)
def test_moments_of_chunks_are_moments_of_the_whole(values, chunk):
    moments = Moments()
    for start in range(0, len(values), chunk):
        moments.add(values[start : start + chunk])
    scale = np.abs(values).max() + 1
    np.testing.assert_allclose(moments.mean, values.mean(axis=0), atol=1e-12 * scale)
    np.testing.assert_allclose(
        moments.squares / moments.count, values.var(axis=0), atol=1e-12 * scale**2
    )
    np.testing.assert_array_equal(moments.minimum, values.min(axis=0))
    np.testing.assert_array_equal(moments.maximum, values.max(axis=0))
