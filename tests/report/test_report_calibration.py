"""Expected calibration error against a worked example and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from tfapp.report.calibration import calibrate


def test_the_error_is_that_of_a_worked_example():
    # Bins of width 0.5: three examples at 0.4, one of them right; one at 0.9, right.
    found = calibrate(np.array([0.4, 0.4, 0.4, 0.9]), np.array([True, False, False, True]), bins=2)
    assert [part.examples for part in found.bins] == [3, 1]
    assert [part.accuracy for part in found.bins] == pytest.approx([1 / 3, 1])
    assert [part.confidence for part in found.bins] == pytest.approx([0.4, 0.9])
    assert found.error == pytest.approx(3 / 4 * (0.4 - 1 / 3) + 1 / 4 * (1 - 0.9))


def test_bins_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.1, 1, 500).astype(np.float32)
    right = rng.uniform(size=500) < confidence**2
    found = calibrate(confidence, right)
    accuracy, mean = calibration_curve(right, confidence, n_bins=15)
    filled = [part for part in found.bins if part.examples]
    assert [part.accuracy for part in filled] == pytest.approx(accuracy)
    assert [part.confidence for part in filled] == pytest.approx(mean)
    shares = np.array([part.examples for part in filled]) / 500
    assert found.error == pytest.approx(np.sum(shares * np.abs(accuracy - mean)))
    assert found.error > 0.05, "this one says more than it knows"


def test_a_bin_holds_its_upper_bound_and_certainty_has_a_bin():
    # 0.5 is the bound between the bins; a softmax in float32 can give a little more than 1.
    confidence = np.array([0.5, 0.0, np.nextafter(np.float32(1), np.float32(2))])
    found = calibrate(confidence, np.array([True, False, True]), bins=2)
    assert [part.examples for part in found.bins] == [2, 1]


def test_a_model_that_is_right_as_often_as_it_says_has_no_error():
    found = calibrate(np.full(10, 0.8), np.arange(10) < 8)
    assert found.error == pytest.approx(0)
    assert sum(part.examples for part in found.bins) == 10
