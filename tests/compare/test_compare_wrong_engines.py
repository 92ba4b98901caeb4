"""Engines with a mistake in them are caught."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfapp.compare import compare_programs, roster
from tfapp.compare.roster import ENGINES, Engine
from tfapp.compare.trace import Step

REAL = dict(ENGINES)


@dataclasses.dataclass(frozen=True)
class Replaced(Engine):
    """An engine whose function is given."""

    run: Callable[..., Any] = print

    def load(self):
        return self.run


@pytest.fixture
def replace(monkeypatch):
    def put(name, run):
        values = {f.name: getattr(REAL[name], f.name) for f in dataclasses.fields(Engine)}
        monkeypatch.setitem(roster.ENGINES, name, Replaced(**values, run=run))

    return put


def with_rate(factor):
    """The real engine, with a learning rate that is a little off."""

    def run(task):
        rate = task.program.learning_rate * factor
        program = dataclasses.replace(task.program, learning_rate=rate)
        yield from REAL["eager"].load()(dataclasses.replace(task, program=program))

    return run


def by_hand(change, skip=None):
    """Descends in NumPy with changed gradients, and skips one update."""

    def run(task):
        from tfapp.compare.engines.by_hand import mlp

        weights = dict(task.arrays.weights)
        rate = np.float32(task.program.learning_rate)
        for number in range(task.steps):
            loss, gradients = mlp(weights, task.batch(number))
            gradients = change(gradients)
            if number != skip:
                weights = {name: weights[name] - rate * gradients[name] for name in weights}
            yield Step(np.float32(loss), gradients, weights)

    return run


def the_row(program, engine, **options):
    comparison = compare_programs([program], engines=[engine], **options)
    return comparison.agrees, comparison.programs[0].row(engine)


@pytest.mark.parametrize("name", ["quadratic", "coefficients"])
def test_a_learning_rate_off_by_a_millionth_is_outside(name, replace):
    replace("eager", with_rate(1 + 1e-6))
    agrees, row = the_row(name, "eager", steps=5)
    assert not agrees
    assert row.status == "outside"
    # The first update is off by 1e-6 of itself, up to the roundings of 0.01 and of w.
    assert row.parity.weights.first == 1
    assert row.parity.weights.outside.step == 1
    assert row.parity.weights.outside.size == pytest.approx(1e-6, rel=0.15)
    assert row.detail.startswith("weight w at step 1 differs by ")
    assert row.parity.loss.first != 1


@pytest.mark.parametrize("name", ["quadratic", "coefficients", "two-layer", "mlp"])
def test_exact_mode_sees_it_in_every_program(name, replace):
    replace("eager", with_rate(1 + 1e-6))
    agrees, row = the_row(name, "eager", steps=3, exact=True)
    assert not agrees
    assert row.parity.weights.first == 1
    assert row.parity.loss.first != 1, "the first loss is before the first update"
    assert row.detail.endswith("allowed equal bits")


def test_the_learning_rate_as_it_should_be_is_not(replace):
    replace("eager", with_rate(1))
    assert the_row("quadratic", "eager", steps=5)[0]


def test_a_transposed_gradient_is_outside(replace):
    def transpose_second(gradients):
        wrong = gradients["w2"]
        return gradients | {"w2": np.ascontiguousarray(wrong.T).reshape(wrong.shape)}

    replace("numpy", by_hand(transpose_second))
    agrees, row = the_row("mlp", "numpy", steps=2)
    assert not agrees
    assert row.detail.startswith("gradient w2 at step 1 differs by ")
    assert row.detail.endswith("allowed at most 2.00e-02")
    assert row.parity.loss.outside is None or row.parity.loss.outside.step > 1


def test_a_skipped_update_is_outside(replace):
    replace("numpy", by_hand(lambda gradients: gradients, skip=1))
    agrees, row = the_row("mlp", "numpy", steps=4)
    assert not agrees
    assert row.parity.weights.outside.step == 2
    assert row.parity.loss.outside.step == 3
    assert row.detail.startswith("weight b")


def test_the_same_engine_without_a_mistake_is_inside(replace):
    replace("numpy", by_hand(lambda gradients: gradients))
    assert the_row("mlp", "numpy", steps=4)[0]


def test_a_loss_that_is_not_a_number_is_outside(replace):
    def run(task):
        for step in REAL["eager"].load()(task):
            yield dataclasses.replace(step, loss=np.float32("nan"))

    replace("eager", run)
    agrees, row = the_row("quadratic", "eager", steps=2)
    assert not agrees
    assert row.parity.ulps is None
    assert row.detail == "loss at step 1 differs by inf, allowed at most 1.00e-05"


def test_an_engine_that_stops_early_or_names_other_weights_has_failed(replace):
    def short(task):
        yield from list(REAL["eager"].load()(task))[:-1]

    def renamed(task):
        for step in REAL["eager"].load()(task):
            yield dataclasses.replace(step, weights={"v": step.weights["w"]})

    replace("eager", short)
    agrees, row = the_row("quadratic", "eager", steps=2)
    assert (agrees, row.status) == (False, "failed")
    assert row.detail == "it ended after 1 steps"
    replace("eager", renamed)
    agrees, row = the_row("quadratic", "eager", steps=2)
    assert (agrees, row.status) == (False, "failed")
    assert row.detail.startswith("step 1: weights do not match the reference's: missing w; extra v")


def test_an_engine_that_fails_is_a_row_and_the_others_go_on(replace):
    def breaks(task):
        steps = REAL["eager"].load()(task)
        yield next(steps)
        raise RuntimeError("out of luck")

    replace("eager", breaks)
    comparison = compare_programs(["quadratic"], engines=["eager", "numpy"], steps=3)
    assert not comparison.agrees
    row = comparison.programs[0].row("eager")
    assert (row.status, row.detail) == ("failed", "step 2: RuntimeError: out of luck")
    assert len(row.losses) == len(row.differences.loss) == 1
    other = comparison.programs[0].row("numpy")
    assert (other.status, len(other.losses)) == ("inside", 3)


def test_a_graph_that_cannot_be_looked_into_ends_nothing(monkeypatch):
    from tfapp.compare.graphs import sizes

    def refuses(task):
        raise RuntimeError("no such luck")

    monkeypatch.setitem(sizes._MEASURES, "function", refuses)
    agrees, row = the_row("quadratic", "function", steps=2)
    assert (agrees, row.graph) == (True, None)
