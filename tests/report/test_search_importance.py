"""Importance: what a closed form says of the variance, and nothing where there is nothing."""

from __future__ import annotations

import random

import pytest
from searches import HIDDEN, LARGE, Told, done, hyperband_search, write_search

from tfapp.report.importance import LEAST_FIT, LEAST_TRIALS, measure_importance
from tfapp.trials import Search, read_search

UNIFORM = {"float": [0.0, 1.0]}


def search_over(path, space, count, score, *, draw=None, **told) -> Search:
    """A search whose values are uniform, and whose scores are a function of them."""
    source = random.Random(1)
    trials = []
    for _ in range(count):
        values = (draw or uniform)(source, space)
        trials.append(done(values, score(values)))
    return read_search(write_search(path, space, trials, **told))


def uniform(source: random.Random, space) -> dict[str, float]:
    return {key: source.random() for key in space}


def shares(search: Search) -> dict[str, float]:
    return {share.key: share.value for share in measure_importance(search).shares}


def test_shares_are_those_of_the_variance(tmp_path):
    space = {f"model.options.{name}": UNIFORM for name in "xyz"}
    search = search_over(
        tmp_path / "s", space, 300, lambda v: 2 * v["model.options.x"] + v["model.options.y"]
    )
    importance = measure_importance(search)
    assert [share.key[-1] for share in importance.shares] == ["x", "y", "z"]
    # The variance of 2x is four times that of y, and x and y are independent.
    found = {share.key[-1]: share.value for share in importance.shares}
    assert found == pytest.approx({"x": 0.8, "y": 0.2, "z": 0.0}, abs=0.1)
    assert importance.fit is not None
    assert 0.9 < importance.fit <= 1
    assert importance.trials == 300


def test_what_works_only_together_counts_for_both(tmp_path):
    keys = ["model.options.x", "model.options.y", "model.options.z"]
    search = search_over(
        tmp_path / "s",
        dict.fromkeys(keys, UNIFORM),
        400,
        lambda v: (v[keys[0]] - 0.5) * (v[keys[1]] - 0.5),
    )
    found = shares(search)
    # All of the variance is their interaction, so the total effect of each is 1.
    assert found[keys[0]] > 0.6 < found[keys[1]]
    assert found[keys[2]] < 0.1


def test_a_hyperparameter_is_not_paid_for_the_one_that_switches_it_off(tmp_path):
    space = {
        HIDDEN: {"choice": [[64], LARGE]},
        "model.options.dropout": {"float": [0.0, 0.5], "when": {HIDDEN: [LARGE]}},
    }

    def draw(source, space):
        hidden = source.choice([[64], LARGE])
        dropout = {"model.options.dropout": source.uniform(0, 0.5)} if hidden == LARGE else {}
        return {HIDDEN: hidden, **dropout}

    search = search_over(tmp_path / "s", space, 60, lambda v: float(v[HIDDEN] == LARGE), draw=draw)
    found = shares(search)
    assert found[HIDDEN] == pytest.approx(1, abs=0.15)
    assert found["model.options.dropout"] < 0.02


def test_a_loss_over_decades_counts_by_its_logarithm(tmp_path):
    key = "model.options.x"
    search = search_over(
        tmp_path / "s",
        {key: UNIFORM, "model.options.y": UNIFORM},
        60,
        lambda values: 10 ** (-3 + 4 * values[key]),
        objective="val_loss",
        direction="min",
    )
    # As it is, a few large losses would hold most of the variance, and what is left out of a bag
    # would not tell of them.
    assert measure_importance(search).fit > 0.95
    assert shares(search) == pytest.approx({key: 1, "model.options.y": 0}, abs=0.2)


def test_noise_is_not_shown_as_importance(tmp_path):
    noise = random.Random(2)
    space = {f"model.options.{name}": UNIFORM for name in "xyz"}
    search = search_over(tmp_path / "s", space, 40, lambda _: noise.random())
    importance = measure_importance(search)
    assert importance.fit is not None
    assert importance.fit < LEAST_FIT
    assert not importance.shares
    assert f"R² {importance.fit:.2f}" in importance.problem


def test_few_trials_and_equal_scores_say_nothing(tmp_path):
    space = {"model.options.x": UNIFORM}
    few = search_over(tmp_path / "few", space, LEAST_TRIALS - 1, lambda v: v["model.options.x"])
    assert measure_importance(few).problem == "It takes 10 trials with a score, and there are 9."
    enough = search_over(tmp_path / "enough", space, LEAST_TRIALS, lambda v: v["model.options.x"])
    assert measure_importance(enough).fit is not None
    equal = search_over(tmp_path / "equal", space, 30, lambda _: 0.7)
    assert measure_importance(equal).problem == "All trials have the same score."
    assert not measure_importance(equal).shares


def test_trials_without_a_score_are_left_out(tmp_path):
    trials = [done({"model.options.x": n / 20}, n / 20) for n in range(20)]
    trials += [Told({"model.options.x": n / 20}, state="failed") for n in range(20)]
    search = read_search(write_search(tmp_path / "s", {"model.options.x": UNIFORM}, trials))
    assert measure_importance(search).trials == 20


def test_hyperband_is_judged_by_trials_of_as_many_epochs(tmp_path):
    """Scores are of x alone but for the epochs, which differ by far more."""
    source = random.Random(4)
    space = {"model.options.x": UNIFORM, "model.options.y": UNIFORM}
    trials = []
    for number in range(45):
        values, turn = uniform(source, space), number % 3
        bracket = {"epochs": 3**turn, "bracket": (2 - turn, 0)}
        trials.append(done(values, 10.0 * turn + values["model.options.x"], **bracket))
    best = max(range(45), key=lambda number: trials[number].scores[0])
    goes_on = {"parent": best, "epochs": 27, "first": 9, "bracket": (0, 1)}
    trials.append(done(trials[best].values, 40.0, **goes_on))
    search = read_search(write_search(tmp_path / "s", space, trials, algorithm="hyperband"))
    importance = measure_importance(search)
    assert importance.trials == 45, "a trial that goes on was chosen by its score"
    assert importance.fit > 0.8
    assert importance.shares[0].key == "model.options.x"
    assert importance.shares[0].value > 0.8
    assert abs(importance.shares[1].value) < 0.05


def test_equal_searches_give_equal_numbers(tmp_path):
    first, second = (read_search(hyperband_search(tmp_path / name)) for name in "ab")
    assert measure_importance(first) == measure_importance(second)
