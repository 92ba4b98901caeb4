from __future__ import annotations

import numpy as np
import pytest

from tfapp.errors import DataError, UnknownName

RNG = np.random.default_rng(7)
IMAGES = RNG.integers(0, 256, (30, 5, 4), dtype=np.uint8)
DIGITS = np.arange(30) % 3


def save(tmp_path, **arrays):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    return path


def test_keras_form_keeps_its_splits(load, tmp_path):
    path = save(tmp_path, x_train=IMAGES, y_train=DIGITS, x_test=IMAGES[:6], y_test=DIGITS[:6])
    splits = load(path, validation=0.2)
    assert splits.info.feature_shape == (5, 4, 1)
    assert splits.info.feature_dtype == "uint8"
    assert splits.info.task == "classification"
    np.testing.assert_array_equal(splits.test.features, IMAGES[:6, ..., None])
    np.testing.assert_array_equal(splits.test.labels, DIGITS[:6])
    assert (splits.train.size, splits.validation.size) == (24, 6)
    assert np.bincount(splits.validation.labels).tolist() == [2, 2, 2]


def test_all_three_splits_are_taken_as_they_are(load, tmp_path):
    x = RNG.normal(size=(10, 3))
    y = RNG.normal(size=(10, 1))
    path = save(
        tmp_path,
        x_train=x[:6],
        y_train=y[:6],
        x_val=x[6:8],
        y_val=y[6:8],
        x_test=x[8:],
        y_test=y[8:],
    )
    splits = load(path)
    assert splits.info.task == "regression"
    np.testing.assert_array_equal(splits.train.features, x[:6].astype(np.float32))
    np.testing.assert_array_equal(splits.validation.labels, y[6:8, 0].astype(np.float32))
    np.testing.assert_array_equal(splits.test.features, x[8:].astype(np.float32))


@pytest.mark.parametrize(("x", "y"), [("x", "y"), ("features", "labels"), ("x", "labels")])
def test_one_pair_is_cut_into_three(load, tmp_path, x, y):
    splits = load(save(tmp_path, **{x: np.arange(60.0).reshape(30, 2), y: DIGITS}))
    sizes = (splits.train.size, splits.validation.size, splits.test.size)
    # 15 % of 30 is 4.5, rounded to 4; 10 % of the remaining 26 is 2.6, rounded to 3.
    assert sizes == (23, 3, 4)
    parts = (splits.train, splits.validation, splits.test)
    rows = np.concatenate([part.features[:, 0] for part in parts])
    assert sorted(rows) == list(range(0, 60, 2))
    for part in parts:
        np.testing.assert_array_equal(part.labels, DIGITS[(part.features[:, 0] / 2).astype(int)])


def test_labels_that_are_not_indices_become_classes_named_by_value(load, tmp_path):
    splits = load(save(tmp_path, x=np.arange(30.0), y=np.where(DIGITS == 0, 3, 7)))
    assert splits.info.classes == ("3", "7")
    assert set(splits.train.labels) == {0, 1}
    texts = load(save(tmp_path, x=np.arange(30.0), y=np.where(DIGITS == 0, "no", "yes")))
    assert texts.info.classes == ("no", "yes")


def test_many_integer_labels_are_still_classes_in_an_array(load, tmp_path):
    splits = load(save(tmp_path, x=np.arange(100.0), y=np.arange(100) % 50))
    assert splits.info.task == "classification"
    assert len(splits.info.classes) == 50


def test_label_array_can_be_named(load, tmp_path):
    path = save(tmp_path, x=np.arange(30.0), parity=DIGITS % 2, y=DIGITS)
    assert load(path, label="parity").info.classes == ("0", "1")
    with pytest.raises(UnknownName, match="Did you mean 'parity'"):
        load(path, label="party")


def test_a_label_only_the_test_split_has(load, tmp_path):
    x = np.arange(10.0)
    path = save(tmp_path, x_train=x, y_train=np.arange(10) % 2, x_test=x, y_test=np.arange(10) % 3)
    with pytest.raises(DataError) as caught:
        load(path)
    for fact in ("y_test[2]", "the label is 2", "training split does not have", "0, 1", "3 such"):
        assert fact in str(caught.value)
    assert load(path, classes=["0", "1", "2"]).info.classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("arrays", "facts"),
    [
        ({"a": np.ones(3), "b": np.ones((2, 2))}, ["a [3], b [2, 2]", "x_train", "features"]),
        ({"x_train": np.ones(3)}, ["x_train [3]", "y_train"]),
        ({"x": np.ones((4, 2)), "y": np.arange(3)}, ["4 examples", "3 labels"]),
        ({"x": np.empty((0, 2)), "y": np.empty(0)}, ["no examples"]),
        ({"x": np.array(["a", "b"]), "y": np.arange(2)}, ["x is an array of", "numbers"]),
        ({"x": np.ones((3, 2)), "y": np.eye(3)}, ["[3, 3]", "argmax"]),
        ({"x": np.ones((4, 2)), "y": np.zeros(4, int)}, ["'0'", "at least two classes"]),
        (
            {"x": np.array([[1, 2], [3, np.nan], [np.inf, 4]]), "y": np.arange(3)},
            ["x[1], column 1", "nan", "2 values"],
        ),
        (
            {"x": np.ones((3, 2)), "y": np.array([0.5, np.inf, 1])},
            ["y[1]", "inf", "1 of 3 labels"],
        ),
    ],
)
def test_unusable_arrays(load, tmp_path, arrays, facts):
    with pytest.raises(DataError) as caught:
        load(save(tmp_path, **arrays))
    assert caught.value.exit_code == 2
    for fact in facts:
        assert fact in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a zip file", b"PK\x03\x04broken"])
def test_damaged_file(load, tmp_path, content):
    path = tmp_path / "broken.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.npz cannot be read as \.npz"):
        load(path)


def test_pickled_objects_are_refused(load, tmp_path):
    path = save(tmp_path, x=np.array([{}, {}], dtype=object), y=np.arange(2))
    with pytest.raises(DataError, match=r"cannot be read as \.npz"):
        load(path)
