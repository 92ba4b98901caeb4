"""Where values and scores stand on the axes of a search."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfapp.report.search_scales import (
    place_of,
    score_scale,
    short_names,
    show_value,
    thinned,
    ticks_of,
)
from tfapp.space import Hyperparameter

NUMBERS = [
    {"float": [0.0, 0.5]},
    {"float": [-3.5, 12345.0]},
    {"float": [1e-4, 1e-1], "log": True},
    {"float": [3e-9, 7.0], "log": True},
    {"int": [16, 128]},
    {"int": [1, 3]},
    {"int": [16, 256], "log": True},
]


def hyperparameter(**table) -> Hyperparameter:
    return Hyperparameter.model_validate(table)


@pytest.mark.parametrize(
    ("table", "value", "place"),
    [
        ({"float": [0.0, 0.5]}, 0.125, 0.25),
        ({"float": [1e-4, 1e-1], "log": True}, 1e-3, 1 / 3),
        ({"int": [16, 128]}, 72, 0.5),
        ({"int": [16, 256], "log": True}, 128, 0.75),  # 2^7 between 2^4 and 2^8
        ({"choice": [[64], [128, 64], [256]]}, [128, 64], 0.5),
        ({"choice": ["adam", "sgd", "lion", "ftrl"]}, "lion", 2 / 3),
        ({"choice": ["only"]}, "only", 0.5),
        ({"boolean": True}, False, 0.0),
        ({"boolean": True}, True, 1.0),
    ],
)
def test_a_value_stands_where_the_space_puts_it(table, value, place):
    assert place_of(hyperparameter(**table), value) == pytest.approx(place)


@pytest.mark.parametrize("table", NUMBERS)
def test_ticks_are_the_ends_and_round_numbers_that_have_room(table):
    of = hyperparameter(**table)
    ticks = ticks_of(of)
    assert (ticks[0].value, ticks[-1].value) == of.range
    assert [tick.place for tick in ticks] == pytest.approx(
        [place_of(of, tick.value) for tick in ticks]
    )
    gaps = [after.place - before.place for before, after in itertools.pairwise(ticks)]
    assert min(gaps) > 0.15
    assert len(ticks) >= 3
    assert [float(tick.label) for tick in ticks] == pytest.approx([tick.value for tick in ticks])
    if of.kind == "int":
        assert all(tick.value == int(tick.value) for tick in ticks)


def test_every_value_of_a_choice_has_a_tick():
    ticks = ticks_of(hyperparameter(choice=["adam", [64, 32], False]))
    assert [(tick.place, tick.label) for tick in ticks] == [
        (0.0, "adam"),
        (0.5, "[64, 32]"),
        (1.0, "false"),
    ]


def test_a_logarithmic_axis_has_its_decades():
    labels = [tick.label for tick in ticks_of(hyperparameter(float=[1e-4, 1e-1], log=True))]
    assert labels == ["0.0001", "0.001", "0.01", "0.1"]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.sampled_from(["min", "max"]))
def test_every_score_has_a_place_and_better_ones_a_better_one(scores, direction):
    scale = score_scale(scores, direction)
    assert scale.low < scale.high
    places = [scale.place(score) for score in sorted(scores)]
    assert all(0 <= place <= 1 for place in places)
    assert places == sorted(places)
    best = max(scores) if direction == "max" else min(scores)
    assert scale.holds(best), "the best end is never cut"
    assert scale.beyond == sum(not scale.holds(score) for score in scores)
    assert scale.beyond <= len(scores) / 2, "what is beyond is the exception"
    labels = [tick.label for tick in scale.ticks()]
    assert len(labels) >= 2


def test_one_trial_that_went_astray_does_not_press_the_others_together():
    scores = [0.9, 0.91, 0.92, 0.93, 0.94, -50.0]
    scale = score_scale(scores, "max")
    assert scale.beyond == 1
    assert scale.low == pytest.approx(0.94 - 4 * (0.94 - statistics.median(scores)))
    assert scale.place(-50.0) == 0.0
    assert scale.place(0.94) == 1.0


def test_the_few_that_differ_from_the_best_are_seen():
    scale = score_scale([1.0, 1.0, 1.0, 1.0, 0.3], "max")
    assert (scale.low, scale.high, scale.beyond) == (0.3, 1.0, 0)
    losses = score_scale([0.1, 0.1, 0.1, 50.0], "min")
    assert (losses.low, losses.high, losses.beyond) == (0.1, 50.0, 0)


def test_losses_that_differ_much_are_shown_by_their_logarithm():
    scale = score_scale([0.01, 0.1, 1.0], "min")
    assert scale.logarithmic
    assert scale.place(0.1) == pytest.approx(0.5)
    assert not score_scale([0.5, 0.7, 1.0], "min").logarithmic
    assert not score_scale([-0.01, 0.1, 1.0], "min").logarithmic, "below 0 there is none"
    assert not score_scale([0.01, 0.1, 1.0], "max").logarithmic
    astray = score_scale([0.01, 0.02, 0.03, 1e9], "min")
    assert astray.beyond == 1
    assert astray.high == pytest.approx(0.01 * math.pow(2.5, 4)), "0.025 is the median"


def test_labels_of_close_scores_have_digits_enough():
    labels = [tick.label for tick in score_scale([100020.0, 100010.0, 100000.0], "max").ticks()]
    assert len(set(labels)) == len(labels)


def test_a_name_is_as_short_as_it_can_be():
    assert short_names(["train.optimizer.learning_rate", "model.options.hidden"]) == {
        "train.optimizer.learning_rate": "learning_rate",
        "model.options.hidden": "hidden",
    }
    assert short_names(["train.seed", "data.seed", "seed"]) == {
        "train.seed": "train.seed",
        "data.seed": "data.seed",
        "seed": "seed",
    }


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (True, "true"),
        (0.00012345678, "0.0001235"),
        (128, "128"),
        ([128, 0.5], "[128, 0.5]"),
        ("adam", "adam"),
    ],
)
def test_values_are_shown_as_in_a_config(value, shown):
    assert show_value(value) == shown


@given(st.integers(1, 700), st.integers(1, 300))
def test_what_is_thinned_is_spread_evenly(count, most):
    kept = thinned(list(range(count)), most)
    assert len(kept) == min(count, most)
    assert kept[0] == 0
    gaps = {after - before for before, after in itertools.pairwise(kept)}
    assert not gaps or max(gaps) - min(gaps) <= 1
