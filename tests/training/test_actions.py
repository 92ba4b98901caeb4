from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfapp.training.actions import (
    Best,
    EverySeconds,
    Monitor,
    When,
    any_of,
    every_steps,
    lower_is_better,
)
from tfapp.training.progress import Progress

START = Progress(step=0, total_steps=100, steps_per_epoch=10, epochs=10)


def test_an_action_is_done_only_when_its_condition_holds():
    done = []
    action = When(every_steps(4), lambda progress: done.append(progress.step))
    for step in range(1, 13):
        action(replace(START, step=step))
    assert done == [4, 8, 12]


def test_every_condition_of_any_of_is_asked():
    now = [0.0]
    clock = EverySeconds(5, clock=lambda: now[0])
    due = any_of(every_steps(1), clock)
    assert due(START)
    now[0] = 6.0
    assert due(replace(START, step=1))
    assert not clock(START), "the clock had been asked, so its period began again"


@given(st.lists(st.floats(-1e3, 1e3), min_size=1), st.sampled_from(["val_accuracy", "val_loss"]))
def test_a_monitor_finds_the_first_best_value(values, name):
    monitor = Monitor(name)
    for step, value in enumerate(values):
        monitor.update(step, value)
    best = (min if name == "val_loss" else max)(values)
    assert monitor.best == Best(values.index(best), best)
    assert monitor.stale_epochs == len(values) - 1 - values.index(best)


def test_nan_never_stays_the_best():
    monitor = Monitor("val_loss")
    assert monitor.update(1, float("nan"))
    assert monitor.update(2, 0.5)
    assert not monitor.update(3, float("nan"))
    assert monitor.best == Best(2, 0.5)


def test_patience_counts_epochs_without_enough_improvement():
    monitor = Monitor("val_accuracy", min_delta=0.1, patience=2)
    for step, value in enumerate([0.5, 0.55, 0.58]):
        assert not monitor.exhausted
        monitor.update(step, value)
    assert monitor.exhausted
    assert monitor.best == Best(0, 0.5)


def test_a_monitor_goes_on_where_it_was():
    monitor = Monitor("val_loss", patience=3, best=Best(7, 0.25), stale_epochs=2)
    assert not monitor.update(8, 0.3)
    assert monitor.exhausted


@pytest.mark.parametrize(
    ("name", "lower"),
    [
        ("val_loss", True),
        ("mean_absolute_error", True),
        ("val_root_mean_squared_error", True),
        ("mse", True),
        ("mae", True),
        ("val_accuracy", False),
        ("auc", False),
        ("val_r2_score", False),
    ],
)
def test_errors_are_better_when_lower(name, lower):
    assert lower_is_better(name) is lower
