"""How a search went: the best so far, the rounds of Hyperband, learning curves, scatter plots."""

from __future__ import annotations

import math

import numpy as np
import pytest
from matplotlib.colors import to_hex
from searches import (
    DROPOUT,
    HIDDEN,
    LARGE,
    LEARNING_RATE,
    NORMALIZE,
    SPACE,
    Told,
    curve_to,
    done,
    drawn,
    hyperband_search,
    random_search,
    score_of,
    write_search,
)

from tfapp.report.search_progress import (
    MOST_CURVES,
    best_so_far,
    best_so_far_figure,
    bracket_of,
    curves_drawn,
    curves_figure,
    learning_curve,
    rounds_figure,
)
from tfapp.report.search_scatter import scatter_figure, scatter_place
from tfapp.report.search_style import BEST, FEWER_EPOCHS, TRIAL, WITHOUT_SCORE
from tfapp.trials import read_search

RATE = {LEARNING_RATE: SPACE[LEARNING_RATE]}
VALUES = {LEARNING_RATE: 1e-2}


def of_scores(path, *scores, **told):
    trials = [
        Told(VALUES, state="failed") if score is None else done(VALUES, score) for score in scores
    ]
    return read_search(write_search(path, RATE, trials, **told))


def points(figure, color, marker) -> list[tuple[float, float]]:
    """Returns the points that are drawn in a color with a marker."""
    return [
        (float(x), float(y))
        for line in figure.axes[0].lines
        if to_hex(line.get_color()) == color and line.get_marker() == marker
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    ]


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("direction", ["max", "min"])
def test_the_best_so_far_is_the_running_best(tmp_path, direction):
    scores = np.random.default_rng(0).normal(size=25).tolist()
    search = of_scores(tmp_path / "s", *scores, direction=direction)
    running = np.maximum if direction == "max" else np.minimum
    assert best_so_far(search) == list(enumerate(running.accumulate(scores).tolist()))


def test_trials_without_a_score_do_not_count_but_are_marked(tmp_path):
    search = of_scores(tmp_path / "s", None, 0.5, None, 0.4, 0.9, 0.7)
    assert best_so_far(search) == [(1, 0.5), (3, 0.5), (4, 0.9), (5, 0.9)]
    figure = best_so_far_figure(search)
    assert points(figure, TRIAL, "o") == [(1, 0.5), (3, 0.4), (4, 0.9), (5, 0.7)]
    assert [x for x, _ in points(figure, WITHOUT_SCORE, "|")] == [0, 2]
    assert points(figure, BEST, "*") == [(4, 0.9)]
    assert legend(figure) == ["best: trial 4", "best so far", "trial without a score"]


def test_a_score_beyond_the_axis_is_a_triangle_at_its_end(tmp_path):
    search = of_scores(tmp_path / "s", 0.9, 0.91, 0.92, 0.93, -70.0)
    figure = best_so_far_figure(search)
    ((trial, height),) = points(figure, TRIAL, "v")
    assert trial == 4
    assert height == pytest.approx(0.93 - 4 * (0.93 - 0.91))
    assert figure.axes[0].get_ylim()[0] < height


def test_a_score_that_is_no_number_does_not_end_the_page(tmp_path):
    search = of_scores(tmp_path / "s", 0.5, math.nan, 0.7, math.inf)
    assert best_so_far(search) == [(0, 0.5), (2, 0.7)]
    assert best_so_far_figure(search)
    assert rounds_figure(search)
    assert scatter_figure(search, LEARNING_RATE)


def test_a_learning_curve_is_the_objective_after_each_epoch(tmp_path):
    search = of_scores(tmp_path / "val", 0.8)
    curve = learning_curve(search, search.trials[0])
    assert [epoch for epoch, _ in curve] == list(range(1, 11))
    assert [value for _, value in curve] == pytest.approx(curve_to(0.8, 9, 10))
    train = of_scores(tmp_path / "train", 0.8, objective="accuracy")
    assert learning_curve(train, train.trials[0]) == curve, "of the training split"


def test_a_trial_that_goes_on_has_the_curve_of_its_parents(tmp_path):
    search = read_search(hyperband_search(tmp_path / "s"))
    trial = next(trial for trial in search.trials if trial.bracket == (2, 2))
    parent = search.trials[trial.parent]
    first = search.trials[parent.parent]
    curve = learning_curve(search, trial)
    assert [epoch for epoch, _ in curve] == list(range(1, 10))
    own = score_of(trial.values)  # less 0.3 / epochs, which is how `hyperband_search` scores
    assert curve[0][1] == pytest.approx(own - 0.3 / 1)
    assert max(value for epoch, value in curve if 1 < epoch <= 3) == pytest.approx(own - 0.3 / 3)
    assert max(value for epoch, value in curve if epoch > 3) == pytest.approx(own - 0.3 / 9)
    drawn_trials = {trial.number for trial in curves_drawn(search)}
    assert trial.number in drawn_trials
    assert not {parent.number, first.number} & drawn_trials, "or they were drawn twice"


def test_the_best_curve_is_on_top_with_a_star_at_its_best_epoch(tmp_path):
    search = read_search(random_search(tmp_path / "s", 20))
    figure = curves_figure(search)
    *_, best, star = figure.axes[0].lines
    assert to_hex(best.get_color()) == BEST
    assert list(zip(best.get_xdata(), best.get_ydata(), strict=True)) == learning_curve(
        search, search.best
    )
    assert (float(star.get_xdata()[0]), star.get_ydata()[0]) == (9, search.best.score)
    gray = [line for line in figure.axes[0].lines if to_hex(line.get_color()) == WITHOUT_SCORE]
    assert len(gray) == 3, "trials that failed have curves as far as they came"
    low, high = figure.axes[0].get_ylim()
    scored = [trial for trial in search.trials if trial.score is not None]
    worst = min(value for trial in scored for _, value in learning_curve(search, trial))
    assert worst - (high - low) / 10 < low < worst, "not where a trial failed at 0.1"


def test_curves_of_many_trials_are_a_selection(tmp_path):
    search = read_search(random_search(tmp_path / "s", MOST_CURVES + 40))
    trials = curves_drawn(search)
    assert len(trials) == MOST_CURVES
    assert trials[-1] == search.best


def test_without_a_finished_epoch_there_are_no_curves(tmp_path):
    trials = [Told(VALUES, state="running")]
    search = read_search(write_search(tmp_path / "s", RATE, trials, state="running"))
    assert curves_figure(search) is None


def test_rounds_are_linked_to_the_trials_they_go_on_with(tmp_path):
    search = read_search(hyperband_search(tmp_path / "s"))
    figure = rounds_figure(search)
    going_on = [trial for trial in search.trials if trial.parent is not None]
    links = {
        tuple(zip(line.get_xdata(), line.get_ydata(), strict=True))
        for line in figure.axes[0].lines
        if line.get_linestyle() == "-"
    }
    assert links == {
        tuple((of.epochs, of.score) for of in (search.trials[trial.parent], trial))
        for trial in going_on
    }
    assert len(links) == 3 + 1 + 2
    assert legend(figure)[1:] == ["bracket 2", "bracket 1", "bracket 0"]
    assert {bracket_of(search, trial) for trial in search.trials} == {0, 1, 2}
    assert all(bracket_of(search, trial) == trial.bracket[0] for trial in search.trials)


def test_trials_of_fewer_epochs_are_paler(tmp_path):
    search = read_search(hyperband_search(tmp_path / "s"))
    figure = scatter_figure(search, LEARNING_RATE)
    assert len(points(figure, TRIAL, "o")) == 1 + 2 + 3, "the last rounds"
    assert len(points(figure, FEWER_EPOCHS, "o")) == 9 + 3 + 5
    assert "fewer than 9 epochs" in legend(figure)


def test_numbers_have_the_axis_of_the_space(tmp_path):
    trials = [done({LEARNING_RATE: rate}, 0.5 + rate) for rate in (1e-4, 1e-3, 1e-1)]
    search = read_search(write_search(tmp_path / "s", RATE, trials))
    figure = scatter_figure(search, LEARNING_RATE)
    places = [x for x, _ in points(figure, TRIAL, "o")]
    assert places == pytest.approx([0, 1 / 3, 1])
    axis = figure.axes[0].xaxis
    marks = zip(axis.get_ticklabels(), axis.get_ticklocs(), strict=True)
    labels = {float(text.get_text()): place for text, place in marks}
    assert labels == pytest.approx({1e-4: 0, 1e-3: 1 / 3, 1e-2: 2 / 3, 1e-1: 1})


def test_dots_of_a_choice_stay_in_their_strip_and_apart(tmp_path):
    search = read_search(random_search(tmp_path / "s", 60))
    for key, distance in ((HIDDEN, 0.5), (NORMALIZE, 1.0)):
        values = search.space[key].values
        for index, value in enumerate(values):
            places = [
                scatter_place(search, key, trial)
                for trial in search.trials
                if trial.values[key] == value
            ]
            middle = index * distance
            assert max(abs(place - middle) for place in places) <= distance / 4
            assert len(set(places)) == len(places) > 5


def test_where_a_hyperparameter_takes_no_part_there_is_no_dot(tmp_path):
    search = read_search(random_search(tmp_path / "s", 30))
    figure = scatter_figure(search, DROPOUT)
    with_dropout = [t for t in search.trials if t.values[HIDDEN] == LARGE]
    dots = points(figure, TRIAL, "o")
    marks = points(figure, WITHOUT_SCORE, "|")
    assert len(dots) + len(marks) == len(with_dropout) < 30
    assert len(marks) == sum(trial.score is None for trial in with_dropout) > 0
    without = next(trial for trial in search.trials if DROPOUT not in trial.values)
    assert scatter_place(search, DROPOUT, without) is None


def test_the_best_trial_is_marked_in_each_scatter(tmp_path):
    search = read_search(random_search(tmp_path / "s", 30))
    assert search.best.values[HIDDEN] == LARGE
    for key in SPACE:
        ((x, y),) = points(scatter_figure(search, key), BEST, "*")
        assert (x, y) == (scatter_place(search, key, search.best), search.best.score)
    assert search.best.score == max(
        score_of(drawn(number)) for number in range(30) if number not in (4, 7, 11)
    )
