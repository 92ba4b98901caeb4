"""Differences between traces, against closed forms and laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tfapp.compare.parity import (
    EXACT,
    Comparer,
    Tolerance,
    compare_traces,
    relative_difference,
    same_bits,
    ulps_between,
)
from tfapp.compare.trace import Step

TIGHT = Tolerance(1e-6, 1e-6, 1e-6)
FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
TENSORS = arrays.arrays(np.float32, arrays.array_shapes(max_dims=3, max_side=4))


def step(loss=1.0, gradient=(1.0, 2.0), weight=(3.0, 4.0)):
    gradients = {"w": np.array(gradient, np.float32)}
    return Step(np.float32(loss), gradients, {"w": np.array(weight, np.float32)})


@given(TENSORS)
def test_every_array_is_itself_whatever_it_holds(values):
    assert same_bits(values, values.copy())
    assert relative_difference(values, values.copy()) == 0


@given(TENSORS, st.integers(-20, 20))
def test_a_difference_does_not_depend_on_the_unit(values, exponent):
    other = values + np.float32(1)
    # float64, so that no scaling by a power of two rounds
    scale = 2.0**exponent
    a, b = other.astype(np.float64), values.astype(np.float64)
    assert relative_difference(a * scale, b * scale) == relative_difference(a, b)


def test_a_difference_is_the_largest_over_the_largest():
    assert relative_difference([1, 2, 5], [1, 2, 4]) == 1 / 4
    assert relative_difference([1.5, 2, -8], [1, 2, -8]) == 0.5 / 8
    assert relative_difference([0, 0], [0, 0]) == 0
    assert relative_difference([], []) == 0
    assert relative_difference([0, 1e-30], [0, 0]) == math.inf


def test_values_that_are_not_finite_are_equal_only_to_themselves():
    nan, inf = math.nan, math.inf
    assert relative_difference([nan, 2], [nan, 2]) == 0
    assert relative_difference([nan, 3], [nan, 2]) == 0.5
    assert relative_difference([nan, 2], [2, nan]) == inf
    assert relative_difference([1, 2], [nan, 2]) == inf
    assert relative_difference([inf, 3], [inf, 2]) == 0.5
    assert relative_difference([-inf, 2], [inf, 2]) == inf


@given(st.floats(-(2.0**99), 2.0**99, width=32), st.integers(1, 30))
def test_ulps_count_the_floats_in_between(value, count):
    start = walked = np.float32(value)
    for _ in range(count):
        walked = np.nextafter(walked, np.float32(np.inf))
    assert ulps_between(start, walked) == ulps_between(walked, start) == count


@given(FLOATS, FLOATS, FLOATS)
def test_ulps_add_up_along_the_line(a, b, c):
    low, middle, high = sorted(np.float32(x) for x in (a, b, c))
    assert ulps_between(low, middle) + ulps_between(middle, high) == ulps_between(low, high)


def test_ulps_at_zero_and_at_nan():
    smallest = np.nextafter(np.float32(0), np.float32(1))
    assert ulps_between(-smallest, smallest) == 2
    assert ulps_between(np.float32(-0.0), np.float32(0)) == 0
    assert ulps_between(np.float32("nan"), np.float32("nan")) == 0
    assert ulps_between(np.float32("nan"), np.float32(1)) is None
    assert ulps_between(1.0, math.nextafter(1.0, 2.0)) == 1


def test_a_zero_of_the_other_sign_is_another_bit_but_no_difference():
    trace, reference = [step(gradient=(-0.0, 1.0))], [step(gradient=(0.0, 1.0))]
    parity = compare_traces(trace, reference, Tolerance(0, 0, 0))
    assert parity.inside
    assert not parity.same_bits
    assert parity.gradients.largest.size == 0
    assert not compare_traces(trace, reference, EXACT).inside


def test_the_first_the_largest_and_the_first_intolerable_are_told_apart():
    sizes = [0, 1e-7, 3e-6, 1e-3, 1e-5]  # of a reference whose largest entry is 2
    trace = [step(gradient=(1 + 2 * size, 2.0)) for size in sizes]
    parity = compare_traces(trace, [step()] * 5, TIGHT)
    assert parity.steps == 5
    assert parity.gradients.first == 2
    assert parity.gradients.outside.step == 3
    assert parity.gradients.outside.tensor == "w"
    assert parity.gradients.outside.size == pytest.approx(3e-6, rel=0.1)
    assert parity.gradients.largest.step == 4
    assert parity.gradients.largest.size == pytest.approx(1e-3, rel=1e-3)
    assert (parity.loss.first, parity.weights.first, parity.ulps) == (None, None, 0)


@given(st.integers(0, 4), st.integers(1, 100))
def test_one_loss_that_is_off_is_found(index, ulps):
    losses = np.ones(5, np.float32)
    for _ in range(ulps):
        losses[index] = np.nextafter(losses[index], np.float32(2))
    parity = compare_traces([step(x) for x in losses], [step()] * 5, TIGHT)
    assert parity.loss.first == parity.loss.largest.step == index + 1
    assert parity.ulps == ulps
    assert parity.loss.largest.size == ulps * 2.0**-23
    assert parity.inside == (ulps * 2.0**-23 <= 1e-6)


def test_a_difference_is_a_share_of_the_largest_value_so_far():
    reference = [step(gradient=(0.5, -8.0)), step(gradient=(0.5, 0.0)), step(gradient=(16.0, 0.0))]
    trace = [step(gradient=(1.5, -8.0)), step(gradient=(0.5, 2.0)), step(gradient=(16.0, 1.0))]
    comparer = Comparer()
    sizes = [comparer.compare(*pair).gradients.size for pair in zip(trace, reference, strict=True)]
    assert sizes == [1 / 8, 2 / 8, 1 / 16]


def test_a_loss_is_judged_by_itself():
    comparer = Comparer()
    pairs = [(step(8.0), step(8.0)), (step(0.75), step(0.5))]
    assert [comparer.compare(*pair).loss.size for pair in pairs] == [0, 0.5]


def test_nan_on_both_sides_is_equal_and_on_one_side_is_outside():
    nan = math.nan
    both = compare_traces([step(nan, (nan, 1))], [step(nan, (nan, 1))], EXACT)
    assert both.inside and both.same_bits and both.ulps == 0
    for found, expected in ((nan, 1.0), (1.0, nan)):
        one = compare_traces([step(found)], [step(expected)], Tolerance(1e9, 1, 1))
        assert not one.inside
        assert one.loss.outside.size == math.inf
        assert one.ulps is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (Step(np.float32(1), {"v": np.zeros(2, np.float32)}, {}), "missing w; extra v"),
        (step(gradient=(1, 2, 3)), r"gradients w: found float32 \[3\], .* float32 \[2\]"),
        (Step(1.0, step().gradients, step().weights), r"loss: found float64 \[\], .* float32"),
        (
            Step(np.float32(1), step().gradients, {}),
            "weights do not match .* missing w; extra none",
        ),
    ],
)
def test_traces_that_do_not_fit_are_refused_by_name(wrong, said):
    with pytest.raises(ValueError, match=said):
        Comparer().compare(wrong, step())


def test_traces_of_different_length_are_refused():
    with pytest.raises(ValueError, match="longer"):
        compare_traces([step()], [step(), step()], TIGHT)


def test_two_engines_may_be_as_far_apart_as_both_from_a_third():
    added = Tolerance(1.0, 2.0, 4.0, "this") + Tolerance(0.5, 0.25, 0.125, "that")
    assert added == Tolerance(1.5, 2.25, 4.125, "this that")
    assert (EXACT + Tolerance(0, 0, 1e-3)).bits is False
