from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfapp.config import ScheduleConfig
from tfapp.errors import ExitCode, UsageError
from tfapp.schedules import WarmUp, build_schedule

PEAK = 0.5
TOTAL = 40


def build(name: str, total_steps: int = TOTAL, **options: Any) -> Any:
    config = ScheduleConfig(name=name, **options)
    return build_schedule(config, peak=PEAK, total_steps=total_steps)


def rates(schedule: Any, steps: int = TOTAL) -> np.ndarray:
    return np.array([float(schedule(step)) for step in range(steps)])


step = np.arange(TOTAL, dtype=np.float64)
done = step / TOTAL
FORMULAS = {
    "cosine": ({}, PEAK * (1 + np.cos(np.pi * done)) / 2),
    "cosine with alpha": ({"alpha": 0.1}, PEAK * (0.9 * (1 + np.cos(np.pi * done)) / 2 + 0.1)),
    "exponential": ({}, PEAK * 0.1**done),
    "exponential with rate": ({"decay_rate": 0.5, "decay_steps": 8}, PEAK * 0.5 ** (step / 8)),
    "exponential in stairs": (
        {"decay_rate": 0.5, "decay_steps": 8, "staircase": True},
        PEAK * 0.5 ** (step // 8),
    ),
    "inverse_time": ({}, PEAK / (1 + 0.1 * done)),
    "inverse_time with rate": ({"decay_rate": 2, "decay_steps": 4}, PEAK / (1 + 2 * step / 4)),
    "polynomial": ({}, (PEAK - 1e-4) * (1 - done) + 1e-4),
    "polynomial squared": (
        {"power": 2.0, "end_learning_rate": 0.1},
        (PEAK - 0.1) * (1 - done) ** 2 + 0.1,
    ),
    "cosine_restarts": ({}, PEAK * (1 + np.cos(np.pi * done)) / 2),
    # One cycle of 8 steps, then one of 16 at half the height, then one of 32 at a quarter.
    "cosine_restarts in cycles": (
        {"first_decay_steps": 8, "t_mul": 2.0, "m_mul": 0.5},
        PEAK
        * np.where(step < 8, 1, np.where(step < 24, 0.5, 0.25))
        * (1 + np.cos(np.pi * np.where(step < 8, step / 8, np.where(step < 24, (step - 8) / 16,
                                                                   (step - 24) / 32)))) / 2,
    ),
    "piecewise": (
        {"boundaries": [10, 20], "values": [0.3, 0.2, 0.1]},
        np.where(step <= 10, 0.3, np.where(step <= 20, 0.2, 0.1)),
    ),
    "piecewise of whole and broken numbers": (
        {"boundaries": [10], "values": [1, 0.1]},
        np.where(step <= 10, 1.0, 0.1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FORMULAS)
def test_decay_follows_its_formula(case: str):
    options, expected = FORMULAS[case]
    found = rates(build(case.split()[0], **options))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("case", FORMULAS)
def test_decay_after_warm_up_is_the_same_decay_later(case: str):
    options, expected = FORMULAS[case]
    schedule = build(case.split()[0], total_steps=TOTAL + 5, warmup_steps=5, **options)
    found = rates(schedule, TOTAL + 5)
    np.testing.assert_allclose(found[:5], PEAK * np.arange(1, 6) / 5, rtol=1e-5)
    np.testing.assert_allclose(found[5:], expected, rtol=1e-5, atol=1e-7)


def test_constant_rate_is_the_number_itself():
    assert build("constant") == PEAK


def test_constant_rate_with_warm_up_rises_and_stays():
    found = rates(build("constant", warmup_steps=4), 8)
    np.testing.assert_allclose(found, PEAK * np.array([0.25, 0.5, 0.75, 1, 1, 1, 1, 1]), rtol=1e-6)


@pytest.mark.parametrize("name", ["cosine", "exponential", "polynomial", "cosine_restarts"])
def test_length_of_the_decay_is_what_warm_up_leaves_of_the_run(name: str):
    schedule = build(name, total_steps=30, warmup_steps=10)
    assert float(schedule(9)) == pytest.approx(PEAK)
    assert float(schedule(10)) == pytest.approx(PEAK)
    if name != "cosine_restarts":  # the first step after the run begins the next cycle there
        end = {"cosine": 0, "exponential": PEAK / 10, "polynomial": 1e-4}[name]
        assert float(schedule(30)) == pytest.approx(end, abs=1e-7)


@settings(deadline=None, max_examples=40)
@given(
    peak=st.floats(1e-6, 10),
    warmup=st.integers(1, 1000),
    at=st.integers(0, 2000),
    alpha=st.floats(0, 1),
)
def test_warm_up_is_a_straight_line_to_the_peak(peak: float, warmup: int, at: int, alpha: float):
    decay = keras.optimizers.schedules.CosineDecay(peak, 500, alpha)
    for after in (None, decay):
        rate = float(WarmUp(peak, warmup, after)(at))
        if at < warmup:
            assert rate == pytest.approx(peak * (at + 1) / warmup, rel=1e-5)
        else:
            expected = peak if after is None else float(decay(at - warmup))
            assert rate == pytest.approx(expected, rel=1e-5, abs=1e-12)


def test_rate_is_a_float32_scalar_inside_a_graph():
    schedule = WarmUp(PEAK, 4, keras.optimizers.schedules.CosineDecay(PEAK, 10))
    found = tf.function(schedule)(tf.constant(1, tf.int64))
    assert (found.dtype, found.shape) == (tf.float32, [])
    assert float(found) == pytest.approx(PEAK / 2)


@pytest.mark.parametrize("warmup", [TOTAL, TOTAL + 1])
def test_warm_up_as_long_as_the_run_is_refused(warmup: int):
    with pytest.raises(UsageError) as caught:
        build("cosine", warmup_steps=warmup)
    assert str(caught.value) == (
        f"train.schedule.warmup_steps is {warmup}, but the run has only 40 steps."
        " Lower it, or raise train.epochs."
    )
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("piecewise", {}, "needs boundaries and values, e.g. boundaries = "),
        ("piecewise", {"values": [1.0]}, "needs boundaries, e.g."),
        ("piecewise", {"boundaries": [1], "values": [0.1]}, "length"),
        ("piecewise", {"boundaries": [5, 3], "values": [3, 2, 1]}, "boundaries must rise"),
        ("piecewise", {"boundaries": 3, "values": [2, 1]}, "int"),
        ("piecewise", {"boundaries": ["a"], "values": [2, 1]}, "float: 'a'"),
        ("cosine", {"decay_steps": 0}, "decay_steps"),
        ("polynomial", {"decay_steps": [3]}, "list"),
    ],
)
def test_option_that_cannot_be_is_refused(name: str, options: dict[str, Any], reason: str):
    with pytest.raises(UsageError) as caught:
        build(name, **options)
    assert str(caught.value).startswith(f"train.schedule {name!r}: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize("decay", [None, keras.optimizers.schedules.CosineDecay(PEAK, 20, 0.1)])
def test_warm_up_is_the_same_after_keras_has_saved_it(decay: Any):
    schedule = WarmUp(PEAK, 6, decay)
    saved = keras.saving.serialize_keras_object(schedule)
    again = keras.saving.deserialize_keras_object(saved)
    assert isinstance(again, WarmUp)
    np.testing.assert_array_equal(rates(again), rates(schedule))
    np.testing.assert_array_equal(rates(WarmUp.from_config(schedule.get_config())), rates(schedule))


def test_optimizer_with_warm_up_is_saved_and_read_by_keras():
    optimizer = keras.optimizers.SGD(
        WarmUp(PEAK, 6, keras.optimizers.schedules.CosineDecay(1.0, 9))
    )
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert isinstance(again._learning_rate, WarmUp)
    assert float(again.learning_rate) == pytest.approx(PEAK / 6)
