"""Runs with a search, in lists, reports and comparisons."""

from __future__ import annotations

import pytest
from journals import ended, make_search

from tfapp.config import Config
from tfapp.errors import UsageError
from tfapp.locks import hold
from tfapp.overview import compare_runs, list_runs, show_run
from tfapp.runs import Run, claim_run
from tfapp.trials import search_lock

RATE = "train.optimizer.learning_rate"
TRIALS = [ended({RATE: 0.1}, 0.5, 0.7), ended({RATE: 0.01}, 0.9, 0.8), ended({RATE: 0.001})]


def row(runs, name):
    (found,) = [run for run in list_runs(runs) if run.name == name]
    return found


def test_a_search_is_listed_with_its_best_score_and_its_trials(tmp_path):
    make_search(tmp_path, "mine", TRIALS, executions=2)
    found = row(tmp_path, "mine")
    assert (found.state, found.monitor, found.trials) == ("searched", "val_accuracy", 2)
    assert found.best == pytest.approx(0.85)
    assert found.seconds == 7.0, "from the first line of the journal to the last"
    assert (found.step, found.epoch) == (0, 0)


def test_the_best_score_of_a_loss_is_the_lowest(tmp_path):
    make_search(tmp_path, "mine", TRIALS, objective="val_loss", direction="min")
    assert row(tmp_path, "mine").best == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("over", "state"),
    [
        ("done", "searched"),
        ("out of time", "searched"),
        ("interrupted", "interrupted"),
        ("failed", "failed"),
        (None, "killed"),
    ],
)
def test_the_state_of_a_search_is_told(tmp_path, over, state):
    make_search(tmp_path, "mine", TRIALS, over=over)
    assert row(tmp_path, "mine").state == state


def test_a_search_that_goes_on_is_told_so(tmp_path):
    run = make_search(tmp_path, "mine", [*TRIALS, {"values": {RATE: 0.2}}], over=None)
    with hold(search_lock(run)):
        assert row(tmp_path, "mine").state == "searching"
    assert row(tmp_path, "mine").trials == 2


def test_a_search_of_no_trials_yet_has_no_score(tmp_path):
    make_search(tmp_path, "mine", over=None)
    found = row(tmp_path, "mine")
    assert (found.best, found.trials) == (None, 0)


def test_a_training_in_the_run_of_a_search_is_what_counts(tmp_path):
    run = make_search(tmp_path, "mine", TRIALS)
    run.write_json("status.json", {"state": "done", "step": 8, "best": {"value": 0.95}})
    found = row(tmp_path, "mine")
    assert (found.state, found.best, found.step, found.trials) == ("done", 0.95, 8, 2)


def test_a_run_without_a_search_has_no_trials(tmp_path):
    claim_run(tmp_path, Config(), name="mine")
    assert row(tmp_path, "mine").trials is None
    assert show_run(Run(tmp_path / "mine")).search is None


@pytest.mark.parametrize("text", ["", "nonsense", '{"event": "search", "format": 1}\n', "[1]\n"])
def test_a_damaged_journal_does_not_hide_other_runs(tmp_path, text):
    damaged = make_search(tmp_path, "damaged", TRIALS)
    (damaged.path / "tune" / "journal.jsonl").write_text(text)
    make_search(tmp_path, "whole", TRIALS)
    assert {run.name: run.state for run in list_runs(tmp_path)} == {
        "damaged": "damaged",
        "whole": "searched",
    }


def test_damaged_numbers_do_not_hide_other_runs(tmp_path):
    claim_run(tmp_path, Config(), name="odd").write_json("status.json", {"step": None})
    claim_run(tmp_path, Config(), name="whole")
    assert {run.name: run.state for run in list_runs(tmp_path)} == {
        "odd": "damaged",
        "whole": "failed",
    }


def test_a_report_holds_the_search(tmp_path):
    run = make_search(tmp_path, "mine", TRIALS)
    report = show_run(run)
    assert report.summary == row(tmp_path, "mine")
    assert report.search is not None
    assert [trial.number for trial in report.search.ranked()] == [1, 0, 2]


def test_searches_and_trials_are_compared(tmp_path):
    run = make_search(tmp_path, "mine", TRIALS)
    trials = [
        claim_run(run.path / "tune", Config(train={"optimizer": {"learning_rate": rate}}), name=n)
        for n, rate in (("0000", 0.1), ("0001", 0.01))
    ]
    comparison = compare_runs([run, *trials])
    assert [each.state for each in comparison.runs] == ["searched", "failed", "failed"]
    assert comparison.differences == {RATE: (None, 0.1, 0.01)}


def test_a_report_of_a_damaged_search_says_which_file(tmp_path):
    run = make_search(tmp_path, "mine", TRIALS)
    (run.path / "tune" / "journal.jsonl").write_text("nonsense")
    with pytest.raises(UsageError, match=r"journal\.jsonl is no journal"):
        show_run(run)
