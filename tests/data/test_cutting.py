from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tfapp.data.cutting import cut
from tfapp.errors import DataError


@settings(max_examples=200, deadline=None)
@given(
    labels=st.lists(st.integers(0, 6), min_size=3, max_size=80),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 1000),
)
def test_nothing_is_lost_and_every_class_stays(labels, share, seed):
    classes = np.array(labels)
    assume(len(set(labels)) < len(labels))
    kept, taken = cut(len(classes), share, seed, classes, "made")
    assert len(taken) >= 1
    assert sorted([*kept, *taken]) == list(range(len(classes)))
    assert set(classes[kept]) == set(labels)
    again, _ = cut(len(classes), share, seed, classes, "made")
    np.testing.assert_array_equal(kept, again)


def test_classes_keep_their_proportion():
    classes = np.repeat([0, 1, 2], [600, 300, 100])
    kept, taken = cut(1000, 0.2, 0, classes, "made")
    assert np.bincount(classes[taken]).tolist() == [120, 60, 20]
    assert np.bincount(classes[kept]).tolist() == [480, 240, 80]


def test_a_class_with_one_example_stays():
    classes = np.array([0] * 50 + [1] * 50 + [2])
    kept, taken = cut(101, 0.3, 0, classes, "made")
    assert 100 in kept
    assert np.bincount(classes[taken], minlength=3).tolist() == [15, 15, 0]


def test_another_seed_takes_others():
    takes = {tuple(cut(100, 0.1, seed, None, "made")[1]) for seed in range(5)}
    assert len(takes) == 5


def test_seeds_of_any_length():
    assert len(cut(10, 0.3, 2**40 + 1, None, "made")[1]) == 3


def test_too_few():
    with pytest.raises(DataError, match="made: 2 examples are too few") as caught:
        cut(2, 0.5, 0, np.array([0, 1]), "made")
    assert caught.value.exit_code == 2
    with pytest.raises(DataError, match="1 examples are too few"):
        cut(1, 0.5, 0, None, "made")
