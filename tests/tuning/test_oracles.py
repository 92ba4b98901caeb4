from __future__ import annotations

import itertools
import json
import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from search_spaces import is_active, spaces

from tfapp.space import TuneConfig
from tfapp.tuning.oracles import Algorithm, Proposal, count_trials

UNIT = {"x": {"float": [0.0, 1.0]}}
CONDITIONAL = {
    "a": {"choice": [[1], [2, 3]]},
    "b": {"boolean": True},
    "c": {"choice": ["x", "y", 3]},
    "d": {"float": [0.1, 0.3], "step": 0.1, "when": {"b": [True]}},
    "e": {"int": [1, 3], "when": {"a": [[1]], "b": [True]}},
    "f": {"choice": [0.5, 1], "when": {"c": ["y", 3]}},
}
Score = Callable[[int, Mapping[str, Any]], float | None]


def make(
    name: str,
    space: Mapping[str, Any],
    *,
    seed: int = 0,
    epochs: int = 9,
    direction: str = "max",
    known: Mapping[int, Mapping[str, Any]] | None = None,
    **rest: Any,
) -> Algorithm:
    tune = TuneConfig(algorithm=name, space=space, **rest)  # type: ignore[arg-type]
    return Algorithm(tune, direction=direction, seed=seed, epochs=epochs, known=known)


def by_number(number: int, values: Mapping[str, Any]) -> float:
    """A score without any order."""
    return random.Random(number).random()


def run(
    algorithm: Algorithm, score: Score = by_number, *, most: int = 1000, at_once: int = 1
) -> list[Proposal]:
    """Runs an algorithm to its end, with so many trials at once that end in a mixed order."""
    proposals: list[Proposal] = []
    running: list[int] = []
    mixed = random.Random(0)
    while True:
        status = "wait"
        if len(proposals) < most:
            proposal = algorithm.propose()
            if (status := proposal.status) == "run":
                running.append(len(proposals))
                proposals.append(proposal)
        if not running:
            assert status == "end" or len(proposals) == most
            return proposals
        if status != "run" or len(running) == at_once:
            number = running.pop(mixed.randrange(len(running)))
            algorithm.tell(number, score(number, proposals[number].values or {}))


def values_of(proposals: Sequence[Proposal]) -> list[Mapping[str, Any]]:
    return [proposal.values or {} for proposal in proposals]


def as_text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True)


def check_value(value: Any, hyperparameter: Mapping[str, Any]) -> None:
    """Whether it is one of a hyperparameter's values, by what was written."""
    if hyperparameter.get("boolean"):
        assert type(value) is bool
        return
    if "choice" in hyperparameter:
        same = [v for v in hyperparameter["choice"] if v == value and type(v) is type(value)]
        assert len(same) == 1
        return
    kind = int if "int" in hyperparameter else float
    assert type(value) is kind
    low, high = hyperparameter[kind.__name__]
    assert low * (1 - 1e-9 * np.sign(low)) <= value <= high * (1 + 1e-9 * np.sign(high))
    if step := hyperparameter.get("step"):
        most = math.ceil((high - low) / step) + 20
        reached = (
            low * step**count if hyperparameter.get("log") else low + count * step
            for count in range(most)
        )
        assert any(value == pytest.approx(number, rel=1e-11) for number in reached)


@pytest.mark.parametrize("name", ["random", "hyperband", "grid", "bayesian"])
@given(space=spaces(), seed=st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_values_lie_in_the_space(name: str, space: dict[str, Any], seed: int):
    algorithm = make(name, space, seed=seed)
    # So few that Bayesian search draws all of them; how it goes on is tested below.
    for number in range(3):
        proposal = algorithm.propose()
        if proposal.status != "run":
            assert number > 0
            return
        values = proposal.values or {}
        assert list(values) == [key for key in space if is_active(key, space, values)]
        for key, value in values.items():
            check_value(value, space[key])
        algorithm.tell(number, float(number))


@pytest.mark.filterwarnings("error::UserWarning")  # scikit-learn's would be kept as an error
def test_values_of_bayesian_search_lie_in_the_space():
    space = {
        "units": {"choice": [[8], [16, 8], "none"]},
        "rate": {"float": [1e-4, 0.1], "log": True, "when": {"units": [[8], [16, 8]]}},
    }
    for values in values_of(run(make("bayesian", space), most=9)):
        assert list(values) == [key for key in space if is_active(key, space, values)]
        for key, value in values.items():
            check_value(value, space[key])


def test_numbers_are_spread_evenly_or_by_their_logarithm():
    space = {"even": {"float": [2, 6]}, "log": {"float": [1e-4, 1], "log": True}}
    drawn = values_of(run(make("random", space), most=300))
    shares = [(values["even"] - 2) / 4 for values in drawn]
    logs = [math.log10(values["log"]) / 4 + 1 for values in drawn]
    for sample in (shares, logs):
        assert scipy.stats.kstest(sample, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(shares, logs)[0, 1]) < 0.2


@pytest.mark.parametrize("name", ["random", "hyperband", "bayesian"])
def test_a_seed_decides_the_trials(name: str):
    space = {"x": {"float": [0, 1]}, "y": {"int": [1, 1000]}}

    def drawn(seed: int) -> list[Mapping[str, Any]]:
        return values_of(run(make(name, space, seed=seed), most=6))

    assert drawn(0) == drawn(0)  # which KerasTuner would take for no seed
    assert drawn(7) == drawn(7)
    apart = {as_text(values) for seed in (0, 1, 7) for values in drawn(seed)}
    assert len(apart) == 3 * 6


@pytest.mark.parametrize("at_once", [2, 8])
def test_a_random_trial_does_not_depend_on_how_many_run_at_once(at_once: int):
    one, several = (
        values_of(run(make("random", CONDITIONAL), most=20, at_once=count))
        for count in (1, at_once)
    )
    assert one == several


def test_random_search_finds_all_of_a_small_space_once():
    space = {"x": {"int": [1, 6]}, "y": {"choice": ["a", "b", "c", "d", "e"]}}
    for seed in range(5):
        drawn = values_of(run(make("random", space, seed=seed)))
        assert {(v["x"], v["y"]) for v in drawn} == set(itertools.product(range(1, 7), "abcde"))
        assert len(drawn) == 30


def combinations(space: Mapping[str, Any]) -> list[str]:
    """Every combination of a space without unbounded numbers, each once, by `itertools`."""
    listed = {
        "a": [[1], [2, 3]],
        "b": [False, True],
        "c": ["x", "y", 3],
        "d": [0.1, 0.2, 0.3],
        "e": [1, 2, 3],
        "f": [0.5, 1],
    }
    assert listed.keys() == space.keys()
    found = set()
    for combination in itertools.product(*listed.values()):
        chosen: dict[str, Any] = {}
        for key, value in zip(listed, combination, strict=True):
            if is_active(key, dict(space), chosen):
                chosen[key] = value
        found.add(as_text(chosen))
    return sorted(found)


@pytest.mark.parametrize("at_once", [1, 3, 50])
def test_a_grid_has_each_combination_once(at_once: int):
    expected = combinations(CONDITIONAL)
    # b false: a, c and f; b true: d besides, and e where a is [1].
    assert len(expected) == 2 * (1 + 2 + 2) + (3 * 3 + 3) * (1 + 2 + 2)
    drawn = values_of(run(make("grid", CONDITIONAL), at_once=at_once))
    assert sorted(map(as_text, drawn)) == expected


def test_failing_trials_do_not_stop_a_grid():
    drawn = values_of(run(make("grid", CONDITIONAL), lambda number, values: None))
    assert sorted(map(as_text, drawn)) == combinations(CONDITIONAL)


@pytest.mark.parametrize(
    ("hyperparameter", "values"),
    [
        ({"float": [0.1, 0.5], "step": 0.1}, [0.1, 0.2, 0.3, 0.4, 0.5]),
        ({"float": [0, 1], "step": 0.3}, [0, 0.3, 0.6, 0.9]),
        ({"float": [1e-4, 1e-1], "log": True, "step": 10}, [1e-4, 1e-3, 1e-2, 1e-1]),
        ({"int": [2, 9], "step": 3}, [2, 5, 8]),
        ({"int": [8, 64], "log": True, "step": 2}, [8, 16, 32, 64]),
        ({"int": [-1, 1]}, [-1, 0, 1]),
        ({"float": [0, 1]}, np.linspace(0, 1, 10)),
        ({"float": [1e-3, 1], "log": True}, np.geomspace(1e-3, 1, 10)),
        ({"int": [1, 1000], "log": True}, [1, 2, 5, 10, 22, 46, 100, 215, 464, 1000]),
        ({"int": [1, 3], "log": True}, [1, 2, 3]),
    ],
)
def test_the_values_of_a_grid(hyperparameter: dict[str, Any], values: Sequence[float]):
    drawn = [v["x"] for v in values_of(run(make("grid", {"x": hyperparameter})))]
    assert drawn == pytest.approx(values, rel=1e-11)
    assert {type(value) for value in drawn} == {int if "int" in hyperparameter else float}


def test_random_search_reaches_the_highest_value_of_a_step():
    space = {"x": {"float": [0.1, 0.3], "step": 0.1}}
    assert sorted(v["x"] for v in values_of(run(make("random", space)))) == [0.1, 0.2, 0.3]


def test_a_condition_on_a_number_written_otherwise_holds():
    space = {
        "x": {"choice": [1, "many"]},
        "y": {"int": [1, 2], "when": {"x": [1.0]}},
    }
    drawn = map(as_text, values_of(run(make("grid", space))))
    assert sorted(drawn) == ['{"x": "many"}', '{"x": 1, "y": 1}', '{"x": 1, "y": 2}']


# ---- Hyperband. Source: Li et al. 2018, "Hyperband: A Novel Bandit-Based Approach to
# Hyperparameter Optimization", algorithm 1, with R epochs and a quotient of eta.


def most_halvings(epochs: int, factor: int) -> int:
    """s_max: how often `epochs` can be divided, by whole numbers, which do not round."""
    return max(s for s in range(epochs) if factor**s <= epochs) if epochs > 1 else 0


def paper(epochs: int, factor: int) -> dict[tuple[int, int], tuple[int, Fraction]]:
    """Size and epochs of each round, by bracket and round, as the paper has them."""
    rounds = {}
    s_max = most_halvings(epochs, factor)
    for s in range(s_max, -1, -1):
        n = math.ceil(Fraction((s_max + 1) * factor**s, s + 1))
        for i in range(s + 1):
            rounds[s, i] = math.floor(Fraction(n, factor**i)), Fraction(epochs, factor ** (s - i))
    return rounds


def keras_tuner_sizes(epochs: int, factor: int) -> dict[tuple[int, int], int]:
    """Sizes as KerasTuner has them.

    It rounds up what the paper rounds down, in every round and not only in the first, and it also
    rounds up the number of brackets that the size of one is made from.
    """
    s_max = most_halvings(epochs, factor)
    brackets = s_max + 1 + (factor**s_max < epochs)
    return {
        (s, i): math.ceil(Fraction(brackets * factor ** (s - i), s + 1))
        for s in range(s_max + 1)
        for i in range(s + 1)
    }


BUDGETS = [(1, 3), (2, 3), (8, 2), (9, 3), (10, 3), (16, 4), (27, 3)]


@pytest.mark.parametrize(("epochs", "factor"), BUDGETS)
@pytest.mark.parametrize("at_once", [1, 6])
def test_hyperband_has_the_brackets_of_the_paper(epochs: int, factor: int, at_once: int):
    algorithm = make("hyperband", UNIT, epochs=epochs, factor=factor)
    proposals = run(algorithm, at_once=at_once)
    sizes = Counter(proposal.bracket for proposal in proposals)
    expected = paper(epochs, factor)
    assert sizes == keras_tuner_sizes(epochs, factor)
    assert sizes.keys() == expected.keys()
    for place, (size, _) in expected.items():
        if place[1] == 0 and factor ** most_halvings(epochs, factor) == epochs:
            assert sizes[place] == size
        else:
            assert sizes[place] >= size
    for proposal in proposals:
        assert proposal.bracket is not None
        s, i = proposal.bracket
        assert proposal.epochs == math.ceil(expected[s, i][1])  # to whole epochs
        assert proposal.first_epoch == (math.ceil(expected[s, i - 1][1]) if i else 0)
        assert (proposal.parent is None) == (i == 0)


def test_hyperband_runs_all_brackets_again_for_each_iteration():
    once = Counter(p.bracket for p in run(make("hyperband", UNIT)))
    proposals = run(make("hyperband", UNIT, iterations=2))
    assert Counter(p.bracket for p in proposals) == {place: 2 * n for place, n in once.items()}
    begun = [as_text(values_of([p])[0]) for p in proposals if p.parent is None]
    assert len(set(begun)) == len(begun)


def promoted(proposals: Sequence[Proposal]) -> dict[tuple[int, int], dict[int, int]]:
    """By bracket and round: who took part, and who of them went on, as trial and its successor."""
    going_on: dict[tuple[int, int], dict[int, int]] = defaultdict(dict)
    for number, proposal in enumerate(proposals):
        if proposal.parent is not None and proposal.bracket is not None:
            s, i = proposal.bracket
            parent = proposals[proposal.parent]
            assert parent.bracket == (s, i - 1)
            assert parent.values == proposal.values
            assert proposal.parent not in going_on[s, i - 1]  # once
            going_on[s, i - 1][proposal.parent] = number
    return going_on


@pytest.mark.parametrize("direction", ["max", "min"])
@pytest.mark.parametrize("at_once", [1, 6])
def test_hyperband_goes_on_with_the_best_of_a_round(direction: str, at_once: int):
    algorithm = make("hyperband", UNIT, epochs=27, direction=direction)
    proposals = run(algorithm, at_once=at_once)
    going_on = promoted(proposals)
    assert len(going_on) == 3 + 2 + 1
    for place, successors in going_on.items():
        members = [n for n, proposal in enumerate(proposals) if proposal.bracket == place]
        ranked = sorted(members, key=lambda n: by_number(n, {}), reverse=direction == "max")
        assert set(successors) == set(ranked[: len(successors)])


def test_failed_trials_are_the_last_of_their_round():
    """Of 9, 3 fail: KerasTuner would go on with none, for it waits for 7 that have a score."""
    failing = {1, 4, 6}
    proposals = run(
        make("hyperband", UNIT), lambda n, values: None if n in failing else by_number(n, values)
    )
    first = range(9)
    assert {proposals[n].bracket for n in first} == {(2, 0)}
    best = sorted(set(first) - failing, key=lambda n: by_number(n, {}))[-3:]
    assert set(promoted(proposals)[2, 0]) == set(best)
    assert Counter(p.bracket for p in proposals) == keras_tuner_sizes(9, 3)


@pytest.mark.parametrize("failing", [7, 8, 9, 1000])
def test_hyperband_ends_however_many_fail(failing: int):
    proposals = run(
        make("hyperband", UNIT), lambda n, values: None if n < failing else by_number(n, values)
    )
    places = Counter(p.bracket for p in proposals)
    scored = max(0, 9 - failing)
    assert places[2, 0] == 9
    assert places[2, 1] == min(3, scored)  # nothing goes on with a trial that has failed
    assert places[2, 2] == min(1, scored)
    others = keras_tuner_sizes(9, 3)
    for place in [(1, 0), (0, 0)]:
        assert places[place] == others[place]
    assert places[1, 1] == (0 if failing == 1000 else others[1, 1])


def test_hyperband_of_a_small_space_has_all_rounds():
    proposals = run(make("hyperband", {"x": {"choice": ["a", "b", "c"]}}))
    assert Counter(p.bracket for p in proposals) == keras_tuner_sizes(9, 3)
    assert sorted(v["x"] for v in values_of(proposals[:3])) == ["a", "b", "c"]


# ---- Bayesian search


@pytest.mark.parametrize(("direction", "seed"), [("max", 1), ("min", 2)])
def test_bayesian_search_comes_closer_than_random_search(direction: str, seed: int):
    """A parabola whose end is at 0.37; 3 trials are drawn, 7 follow from them."""
    sign = -1 if direction == "max" else 1
    closest = {}
    for name in ("bayesian", "random"):
        algorithm = make(name, UNIT, seed=seed, direction=direction)
        drawn = run(algorithm, lambda n, values: sign * (values["x"] - 0.37) ** 2, most=10)
        closest[name] = min(abs(values["x"] - 0.37) for values in values_of(drawn))
    assert closest["bayesian"] < closest["random"] / 5
    assert closest["bayesian"] < 0.005


def test_bayesian_search_leaves_a_place_where_trials_fail():
    """More is better up to 0.6, and beyond it nothing trains."""
    proposals = run(
        make("bayesian", UNIT, seed=1),
        lambda n, values: None if values["x"] > 0.6 else values["x"],
        most=10,
    )
    guided = [v["x"] for v in values_of(proposals[4:])]
    assert sum(x > 0.6 for x in guided) <= len(guided) / 2
    assert max(x for x in guided if x <= 0.6) > 0.5


# ---- all of them


@pytest.mark.parametrize(
    ("name", "space", "done"),
    [
        ("random", CONDITIONAL, 7),
        ("grid", CONDITIONAL, 7),
        ("hyperband", UNIT, 17),
        ("bayesian", {"x": {"float": [0, 1]}, "y": {"choice": [[1], [2]]}}, 7),
    ],
)
def test_an_algorithm_made_again_goes_on_as_the_first_would(
    name: str, space: dict[str, Any], done: int
):
    def score(number: int, values: Mapping[str, Any]) -> float | None:
        return None if number == 2 else by_number(number, values)

    unbroken = run(make(name, space, seed=3), score, most=done + 2)
    known = {n: dict(proposal.values or {}) for n, proposal in enumerate(unbroken[:done])}
    known = {n: json.loads(json.dumps(values)) for n, values in known.items()}  # as in a journal
    again = run(make(name, space, seed=3, known=known), score, most=done + 2)
    assert again == unbroken


def test_what_an_algorithm_raises_is_kept():
    """Scores whose difference is no float: scikit-learn refuses what comes of them."""
    algorithm = make("bayesian", UNIT)
    with np.errstate(all="ignore"):
        for number, score in enumerate([1e308, -1e308, 1e308]):
            assert algorithm.propose().status == "run"
            algorithm.tell(number, score)
        assert algorithm.error is None
        assert algorithm.propose() == Proposal("end")
        assert isinstance(algorithm.error, ValueError)
        assert algorithm.propose() == Proposal("end")  # it does not hang on a lock


@pytest.mark.parametrize("name", ["random", "grid", "hyperband", "bayesian"])
def test_nothing_is_written_or_printed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    capfd.readouterr()
    run(make(name, UNIT), lambda n, values: None if n % 2 else 0.5, most=5)
    assert list(tmp_path.rglob("*")) == []
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "space", "rest"),
    [
        ("grid", CONDITIONAL, {}),
        ("grid", CONDITIONAL, {"trials": 5}),
        ("hyperband", UNIT, {}),
        ("hyperband", UNIT, {"trials": 10}),
        ("hyperband", {"x": {"boolean": True}}, {"factor": 2}),
        ("random", UNIT, {"trials": 5}),
        ("random", {"x": {"int": [1, 10]}}, {}),
        ("random", {"x": {"int": [1, 10]}}, {"trials": 9}),
    ],
)
def test_trials_are_counted_as_many_as_there_will_be(
    name: str, space: dict[str, Any], rest: dict[str, Any]
):
    tune = TuneConfig(algorithm=name, space=space, **rest)  # type: ignore[arg-type]
    for seed in range(2):
        most = tune.most_trials or 1000
        proposals = run(make(name, space, seed=seed, **rest), most=most)
        assert count_trials(tune, epochs=9, seed=seed) == len(proposals)


def test_a_number_of_trials_that_nothing_decides_is_not_told():
    assert count_trials(TuneConfig(budget="1h", space=UNIT), epochs=9) is None
    assert count_trials(TuneConfig(algorithm="bayesian", space=UNIT), epochs=9) == 20
