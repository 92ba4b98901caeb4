from __future__ import annotations

import pytest

from tfapp.bench.results import Row, rank
from tfapp.bench.targets import Target, judge
from tfapp.timing.slices import Slice


def row(name, *microseconds, status="ok"):
    return Row(name, status, slices=tuple(Slice(1000, us / 1000) for us in microseconds))


def test_the_fastest_comes_first_and_a_limit_has_no_rank():
    rows = [
        row("fit", 300, 330),
        row("gemm", 50, 60, status="limit"),
        Row("torch", "not installed", "not installed: pip install 'tfapp[torch]'"),
        row("tfapp", 100, 110),
    ]
    result = rank("mlp-sgd", rows, "tfapp")
    assert [r.contender for r in result.rows] == ["gemm", "tfapp", "fit", "torch"]
    assert [r.rank for r in result.rows] == [None, 1, 2, None]
    assert [r.ratio for r in result.rows[:3]] == pytest.approx([(50 / 100 + 60 / 110) / 2, 1, 3])
    assert result.rows[2].step_us.median == pytest.approx(315)
    assert result.rows[3].step_us is None


def test_without_the_reference_the_fastest_takes_its_place():
    result = rank("mlp-sgd", [row("fit", 300), row("gemm", 5, status="limit"), row("jax", 30)], "x")
    assert result.reference == "jax"
    assert result.row("fit").ratio == pytest.approx(10)


def test_nobody_may_be_left():
    result = rank("mlp-sgd", [Row("tfapp", "failed", "it did not work")], "tfapp")
    assert (result.reference, result.best_fit, len(result.rows)) == (None, None, 1)
    assert result.row("tfapp") is None


def test_the_best_fit_is_found_among_its_variants():
    rows = [row("fit", 80), row("fit-32", 120), row("fit-jit-128", 110), row("tfapp", 100)]
    assert rank("mlp-sgd", rows, "tfapp").best_fit == "fit-jit-128"
    assert rank("mlp-sgd", rows[:1], "tfapp").best_fit is None


def test_targets_are_judged_round_by_round():
    rows = [row("fit", 300, 280), row("fit-32", 150, 150), row("tfapp", 100, 200)]
    result = rank("mlp-sgd", rows, "tfapp")
    targets = [
        Target("best", ("mlp-sgd", "cnn"), "fit-best", "at least", 1.4),
        Target("default", ("mlp-sgd",), "fit", "at least", 2.2),
        Target("close", ("mlp-sgd",), "fit-32", "at most", 1.2),
        Target("absent", ("mlp-sgd",), "jax-scan", "at least", 1.0),
        Target("elsewhere", ("quadratic",), "fit", "at least", 1.0),
    ]
    verdicts = judge([result], targets)
    assert [v.target for v in verdicts] == ["best", "default", "close"]
    # (150 / 100 + 150 / 200) / 2, and (300 / 100 + 280 / 200) / 2: of two rounds the mean.
    assert [v.measured for v in verdicts] == pytest.approx([1.125, 2.2, 1.125])
    assert [v.met for v in verdicts] == [False, True, True]
    assert verdicts[0].contender == "fit-32"
    assert verdicts[0].wanted == "at least 1.4"
