from __future__ import annotations

import statistics

import pytest

from tfapp.timing.slices import (
    Slice,
    Spread,
    paired_ratio,
    quantile,
    ranks,
    spread,
    steps_for,
)


def test_a_slice_knows_microseconds_a_step():
    assert Slice(400, 0.5).step_us == 1250.0


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([7.0], 0.9, 7.0),
        ([3.0, 1.0, 2.0], 0.5, 2.0),
        ([4.0, 1.0, 3.0, 2.0], 0.5, 2.5),
        ([10.0, 20.0, 30.0, 40.0, 50.0], 0.1, 14.0),  # 0.4 of the way from the first to the second
        ([10.0, 20.0, 30.0, 40.0, 50.0], 0.9, 46.0),
        ([1.0, 2.0], 0.0, 1.0),
        ([1.0, 2.0], 1.0, 2.0),
    ],
)
def test_quantiles_lie_between_neighbours(values, share, expected):
    assert quantile(values, share) == pytest.approx(expected)


def test_the_middle_and_its_reach():
    middle = spread([50.0, 10.0, 30.0, 20.0, 40.0])
    assert (middle.median, middle.p10, middle.p90) == pytest.approx((30.0, 14.0, 46.0))


def test_ratios_are_taken_round_by_round():
    # A machine that is ten times slower in two of three rounds: each pair still says 2.
    ours, theirs = [1.0, 10.0, 10.0], [2.0, 20.0, 20.0]
    assert paired_ratio(theirs, ours) == 2.0
    # Where the slow rounds differ, the quotient of medians would say 1.
    ours, theirs = [1.0, 10.0, 4.0], [2.0, 4.0, 8.0]
    assert statistics.median(theirs) / statistics.median(ours) == 1.0
    assert paired_ratio(theirs, ours) == 2.0


def test_ratios_need_the_same_rounds():
    with pytest.raises(ValueError, match="zip"):
        paired_ratio([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("seconds", "step_seconds", "unit", "expected"),
    [(0.5, 0.001, 1, 500), (0.5, 0.001, 128, 512), (0.01, 0.03, 1, 1), (0.01, 0.03, 32, 32)],
)
def test_a_slice_has_as_many_steps_as_fit(seconds, step_seconds, unit, expected):
    assert steps_for(seconds, step_seconds, unit) == expected


def test_who_cannot_be_told_apart_has_no_place():
    apart = [Spread(5, 4, 6), Spread(1, 0.9, 1.1), Spread(9, 8, 10)]
    assert ranks(apart) == [2, 1, 3]
    overlapping = [Spread(5, 4, 6), Spread(6, 5.5, 7), Spread(1, 0.9, 1.1), Spread(9, 8, 10)]
    assert ranks(overlapping) == [None, None, 1, 4]
    assert ranks([Spread(5, 4, 6)]) == [1]
    same = Spread(5, 4, 6)
    assert ranks([same, Spread(5, 4, 6)]) == [None, None]
