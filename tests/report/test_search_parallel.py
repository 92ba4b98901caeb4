"""Parallel coordinates: where the lines run, and how they look."""

from __future__ import annotations

import re

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
    done,
    random_search,
    random_trials,
    score_of,
    write_search,
)

from tfapp.report.parallel import MOST_LINES, parallel_figure, parallel_lines
from tfapp.report.search_style import BEST, WITHOUT_SCORE, color_of
from tfapp.report.svg import svg_text
from tfapp.trials import read_search

VALUES = {
    LEARNING_RATE: 1e-2,
    "data.batch_size": 44,
    HIDDEN: LARGE,
    DROPOUT: 0.1,
    NORMALIZE: True,
}


def small(path, *others: Told, **told):
    return read_search(write_search(path, SPACE, [done(VALUES, 0.9), *others], **told))


def test_a_line_runs_through_the_places_of_its_values(tmp_path):
    worse = {**VALUES, LEARNING_RATE: 1e-4, NORMALIZE: False}
    search = small(tmp_path / "s", done(worse, 0.5), done(worse, 0.6))
    best, others = parallel_lines(search)[-1], parallel_lines(search)[:-1]
    assert best.trial.number == 0
    # 1e-2 of 1e-4 to 1e-1 in decades; 44 of 16 to 128; the second of three; 0.1 of 0.5; true.
    assert best.places == pytest.approx((2 / 3, 0.25, 0.5, 0.2, 1.0, 1.0))
    assert [line.places[0] for line in others] == [0.0, 0.0]
    assert [line.places[-1] for line in others] == pytest.approx([0.0, 0.25]), "0.5, 0.6 to 0.9"


def test_a_hyperparameter_that_takes_no_part_is_a_gap(tmp_path):
    without = {key: value for key, value in VALUES.items() if key != DROPOUT} | {HIDDEN: [64]}
    search = small(tmp_path / "s", done(without, 0.5))
    worst = parallel_lines(search)[0]
    assert worst.places[3] is None
    assert None not in (*worst.places[:3], *worst.places[4:])
    pieces = pieces_of(search)[hexes(search, 0.0)]
    assert [len(piece) for piece in pieces] == [3, 2], "three axes, a gap, one axis and the score"


def test_the_best_is_on_top_and_what_has_no_score_at_the_bottom(tmp_path):
    failed = Told(VALUES, state="failed", reason="out of memory")
    search = small(tmp_path / "s", failed, done(VALUES, 0.5), failed, done(VALUES, 0.77))
    lines = parallel_lines(search)
    assert [line.trial.number for line in lines] == [3, 1, 2, 4, 0]
    assert lines[0].places[-1] is None
    figure = parallel_figure(search)
    depths = [c.get_zorder() for c in figure.axes[0].collections[1:]]  # the first is the key
    assert depths == sorted(depths)
    colors = [color(c) for c in figure.axes[0].collections[1:]]
    assert colors[:2] == [WITHOUT_SCORE] * 2
    assert colors[-1] == BEST
    assert colors[2:4] == [hexes(search, 0.0), hexes(search, 0.675)], "0.77 of 0.5 to 0.9"


def test_a_smaller_loss_is_darker(tmp_path):
    for direction, end in (("min", 0.0), ("max", 1.0)):
        search = small(tmp_path / direction, done(VALUES, 0.5), direction=direction)
        brightness = {place: sum(color_of(search, place)[:3]) for place in (0.0, 1.0)}
        assert min(brightness, key=brightness.__getitem__) == end


def test_lines_of_many_trials_are_spread_over_the_ranking(tmp_path):
    search = read_search(random_search(tmp_path / "s", MOST_LINES + 50))
    lines = parallel_lines(search)
    assert len(lines) == MOST_LINES
    scores = [score_of(line.trial.values) for line in lines if line.places[-1] is not None]
    assert scores == sorted(scores)
    assert lines[-1].trial == search.best
    everything = sorted(trial.score for trial in search.trials if trial.score is not None)
    assert min(scores) < everything[5], "the worst are among them"


def test_the_words_of_a_figure_are_the_hyperparameters_and_their_values(tmp_path):
    search = read_search(write_search(tmp_path / "s", SPACE, random_trials(30)))
    words = re.findall(r"<text[^>]*>([^<]*)</text>", svg_text(parallel_figure(search)))
    for word in ("learning_rate", "0.001", "[128, 64]", "dropout", "0.5", "true", "val_accuracy"):
        assert word in words
    assert f"best: trial {search.best.number}" in words
    assert "trial without a score" not in words


def test_all_failed_trials_have_lines_but_no_score(tmp_path):
    trials = [Told(VALUES, state="failed"), Told(VALUES, state="diverged")]
    search = read_search(write_search(tmp_path / "s", SPACE, trials))
    words = re.findall(r"<text[^>]*>([^<]*)</text>", svg_text(parallel_figure(search)))
    assert "trial without a score" in words
    assert "val_accuracy" not in words


def test_scores_beyond_the_axis_are_told_of_at_its_end(tmp_path):
    others = [done(VALUES, 0.9 - n / 100) for n in range(1, 8)]
    search = small(tmp_path / "s", *others, done(VALUES, -100.0))
    assert parallel_lines(search)[0].places[-1] == 0.0
    words = re.findall(r"<text[^>]*>([^<]*)</text>", svg_text(parallel_figure(search)))
    assert any(word.startswith("≤ ") for word in words)


def test_a_figure_has_no_images_which_a_page_would_not_show(tmp_path):
    search = read_search(random_search(tmp_path / "s", 20))
    assert "<image" not in svg_text(parallel_figure(search))


def pieces_of(search) -> dict[str, list]:
    """Returns the pieces of each line by its color."""
    collections = parallel_figure(search).axes[0].collections[1:]
    return {color(c): [path.vertices for path in c.get_paths()] for c in collections}


def color(collection) -> str:
    return to_hex(collection.get_colors()[0])


def hexes(search, place: float) -> str:
    return to_hex(color_of(search, place))
