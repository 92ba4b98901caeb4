from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from tfapp.errors import UnknownName, UsageError


def test_the_same_seed_gives_the_same_numbers(load):
    for name in ("blobs", "linear", "images", "coefficients"):
        first = load(f"synthetic/{name}", options={"noise": 0.3})
        again = load(f"synthetic/{name}", options={"noise": 0.3})
        other = load(f"synthetic/{name}", options={"noise": 0.3}, split_seed=1)
        assert first.info.fingerprint == again.info.fingerprint != other.info.fingerprint
        np.testing.assert_array_equal(first.test.features, again.test.features)


def test_blobs_are_what_was_asked_for(load):
    options = {"examples": 200, "features": 5, "classes": 4, "noise": 0.5}
    splits = load("synthetic/blobs", options=options)
    assert splits.info.feature_shape == (5,)
    assert splits.info.classes == ("0", "1", "2", "3")
    assert splits.train.size + splits.validation.size + splits.test.size == 200
    learned = LogisticRegression(max_iter=500).fit(splits.train.features, splits.train.labels)
    assert learned.score(splits.test.features, splits.test.labels) > 0.95


def test_bare_synthetic_means_blobs(load):
    bare, full = load("synthetic"), load("synthetic/blobs")
    assert bare.info.fingerprint == full.info.fingerprint


def test_linear_is_linear_up_to_its_noise(load):
    splits = load("synthetic/linear", options={"noise": 0.0, "features": 4})
    assert splits.info.task == "regression"
    fitted = LinearRegression().fit(splits.train.features, splits.train.labels)
    np.testing.assert_allclose(fitted.predict(splits.test.features), splits.test.labels, atol=1e-4)
    noisy = load("synthetic/linear", options={"noise": 0.5, "examples": 4000})
    fitted = LinearRegression().fit(noisy.train.features, noisy.train.labels)
    rest = noisy.test.labels - fitted.predict(noisy.test.features)
    assert rest.std() == pytest.approx(0.5, rel=0.1)


def test_images_can_be_told_apart(load):
    splits = load("synthetic/images", options={"size": 9, "channels": 3, "classes": 4})
    assert splits.info.feature_shape == (9, 9, 3)
    assert splits.train.features.dtype == np.uint8
    flat = splits.train.features.reshape(splits.train.size, -1) / 255
    learned = LogisticRegression(max_iter=500).fit(flat, splits.train.labels)
    test = splits.test.features.reshape(splits.test.size, -1) / 255
    assert learned.score(test, splits.test.labels) > 0.9


def test_coefficients_and_their_minimum(load):
    splits = load("synthetic/coefficients")
    np.testing.assert_array_equal(np.unique(splits.train.features, axis=0), [[1, -10, 25]])
    np.testing.assert_array_equal(splits.train.labels, 0)
    assert splits.info.task == "regression"
    noisy = load("synthetic/coefficients", options={"coefficients": [2, 4, 1], "noise": 1.0})
    c0, c1, c2 = noisy.train.features.T
    w = np.linspace(-10, 10, 20001)[:, None]
    lowest = (c0 * w**2 + c1 * w + c2).min(axis=0)
    np.testing.assert_allclose(noisy.train.labels, lowest, atol=1e-4)


@pytest.mark.parametrize(
    ("source", "options", "fact"),
    [
        ("synthetic/blobs", {"examples": 0}, "whole number of at least 3, found 0"),
        ("synthetic/blobs", {"classes": 1}, "at least 2, found 1"),
        ("synthetic/blobs", {"features": 1.5}, "whole number of at least 1, found 1.5"),
        ("synthetic/blobs", {"noise": "much"}, "a number of at least 0, found 'much'"),
        ("synthetic/blobs", {"noise": -1}, "found -1"),
        ("synthetic/images", {"size": True}, "found True"),
        ("synthetic/coefficients", {"coefficients": [1, 2]}, "three numbers"),
        ("synthetic/coefficients", {"coefficients": [0, 2, 3]}, "c0 above 0"),
    ],
)
def test_options_that_cannot_be_meant(load, source, options, fact):
    with pytest.raises(UsageError, match=f"data.options.{next(iter(options))} must be") as caught:
        load(source, options=options)
    assert fact in str(caught.value)
    assert caught.value.exit_code == 2


def test_unknown_option_names_the_nearest(load):
    with pytest.raises(UnknownName, match=r"option of synthetic/blobs.*Did you mean 'noise'"):
        load("synthetic/blobs", options={"nose": 1})


def test_options_belong_to_synthetic_sources(load):
    with pytest.raises(UsageError, match=r"data\.options are for synthetic sources"):
        load("iris", options={"examples": 3})
