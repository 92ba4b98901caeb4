from __future__ import annotations

import numpy as np
import pytest

from legacy_tf1.checks import Record
from legacy_tf1.program import CLOSED_FORM, NUMPY, PRINTED, RELATION

SERIES = np.array([0.0, 0.099999994, 4.9999886], np.float32)


@pytest.mark.parametrize(
    ("expected", "step", "holds"),
    [(0.0, 0, True), (0.1, 1, True), (4.99999, 2, True), (4.99998, 2, False), (5.0, 2, False)],
)
def test_printed_numbers_are_compared_in_six_digits(expected, step, holds):
    record = Record()
    record.printed("w", expected, SERIES, step)
    (check,) = record.outcome().checks
    assert (check.holds, check.origin) == (holds, PRINTED)
    assert check.expected == f"{expected:.6g}"


def test_a_step_that_was_not_reached_is_set_aside():
    record = Record()
    record.printed("w", 1.0, SERIES, 3)
    outcome = record.outcome()
    assert outcome.checks == ()
    assert outcome.unchecked == ("w after step 3 (needs 3 steps)",)
    assert outcome.holds


@pytest.mark.parametrize(
    ("expected", "found", "holds"),
    [
        (100.0, 100.09, True),
        (100.0, 100.2, False),
        ([100.0, 0.0], [100.0, 0.09], True),
        ([100.0, 0.0], [100.0, 0.2], False),
        ([1.0, 2.0], [1.0], False),
        (1.0, float("nan"), False),
        (0.0, 0.0, True),
    ],
)
def test_close_is_measured_against_the_largest_magnitude(expected, found, holds):
    record = Record()
    record.close("x", expected, found, tolerance=1e-3)
    (check,) = record.outcome().checks
    assert (check.holds, check.origin) == (holds, CLOSED_FORM)


def test_close_tells_where_its_expectation_comes_from():
    record = Record()
    record.close("x", np.arange(6.0).reshape(2, 3), np.zeros((2, 3)), tolerance=1, origin=NUMPY)
    (check,) = record.outcome().checks
    assert check.origin == NUMPY
    assert check.expected == "[0, 1, ..., 5] (2 x 3)"


@pytest.mark.parametrize(
    ("expected", "found", "holds"),
    [([1.0, 2.0], [1.0, 2.0], True), ([1.0], [np.nextafter(1.0, 2)], False), ([1.0], None, False)],
)
def test_equal_means_every_bit(expected, found, holds):
    record = Record()
    record.equal("x", expected, found)
    (check,) = record.outcome().checks
    assert (check.holds, check.origin) == (holds, RELATION)


def test_values_become_floats_and_lists():
    outcome = Record().outcome(loss=np.float32(0.5), path=[np.float32(1), np.float32(2)])
    assert outcome.values == {"loss": 0.5, "path": [1.0, 2.0]}
    assert type(outcome.values["loss"]) is float
