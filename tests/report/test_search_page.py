"""A search on a page, and as files."""

from __future__ import annotations

import pytest
from browser import PHONE, complaints, look, needs_browser
from searches import (
    DROPOUT,
    HIDDEN,
    LARGE,
    LEARNING_RATE,
    NORMALIZE,
    SPACE,
    TRIAL_SECONDS,
    Told,
    done,
    drawn,
    grid_search,
    hyperband_search,
    random_search,
    random_trials,
    score_of,
    write_search,
)

from tfapp.locks import hold
from tfapp.report.page import Columns, Page, Picture, Section, Table, Text, Verdict, render_page
from tfapp.report.search_page import draw_search, search_sections
from tfapp.report.search_tables import (
    rounds_table,
    show_seconds,
    space_table,
    summary_table,
    trials_table,
)
from tfapp.runs import Run
from tfapp.trials import Search, read_search, search_lock

TITLES = ["Search", "Progress of the search", "Hyperparameters", "Trials"]


def blocks(sections: list[Section], kind: type) -> list:
    """Returns the blocks of a kind, also of those that stand side by side."""
    found = [block for section in sections for block in section.blocks]
    columns = [block for block in found if isinstance(block, Columns)]
    found += [block for side_by_side in columns for block in side_by_side.blocks]
    return [block for block in found if isinstance(block, kind)]


def rows_of(table: Table) -> list[dict[str, str | Verdict]]:
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def told(search: Search) -> dict[str, str]:
    return {row["search"]: row["value"] for row in rows_of(summary_table(search))}


@pytest.fixture(scope="module")
def random_run(tmp_path_factory) -> Run:
    """30 trials, of which 4 and 11 failed and 7 diverged."""
    return random_search(tmp_path_factory.mktemp("runs") / "random", 30, wanted=30)


@pytest.fixture(scope="module")
def random_sections(random_run) -> list[Section]:
    return search_sections(read_search(random_run))


def test_a_search_has_a_section_for_each_question(random_sections):
    assert [section.title for section in random_sections] == TITLES
    assert random_sections[0].verdict == Verdict("done", "ok")


def test_the_summary_tells_what_the_search_came_to(random_run):
    search = read_search(random_run)
    scores = {n: score_of(drawn(n)) for n in range(30) if n not in (4, 7, 11)}
    best = max(scores, key=scores.__getitem__)
    assert told(search) == {
        "algorithm": "random",
        "objective": "val_accuracy, max",
        "trials": "27 done, 2 failed, 1 diverged, of at most 30",
        "best": f"val_accuracy {scores[best]:.5g} in epoch 9 of 10: trial {best}, tune/{best:04d}",
        "time": "3 min 45 s",  # 30 times 7.5 s
        "state": "done",
        "seed": "0",
    }
    space = {row["hyperparameter"]: row for row in rows_of(space_table(search))}
    assert space[LEARNING_RATE]["best"] == f"{drawn(best)[LEARNING_RATE]:.4g}"
    assert space[LEARNING_RATE]["searched"] == "float 0.0001 to 0.1, log"
    assert space[DROPOUT]["where"] == "model.options.hidden is [128, 64]"
    assert space[NORMALIZE]["best"] == str(drawn(best)[NORMALIZE]).lower()


def test_trials_are_ranked_and_those_without_a_score_come_last(random_run):
    rows = rows_of(trials_table(read_search(random_run)))
    ranked = sorted(
        (n for n in range(30) if n not in (4, 7, 11)), key=lambda n: -score_of(drawn(n))
    )
    assert [int(row["trial"]) for row in rows] == [*ranked, 4, 7, 11]
    assert [row["rank"] for row in rows] == [*map(str, range(1, 28)), "-", "-", "-"]
    first, *_, last = rows
    assert first["val_accuracy"] == f"{score_of(drawn(ranked[0])):.5g}"
    assert first["hidden"] == str(drawn(ranked[0])[HIDDEN])
    assert (first["best epoch"], first["epochs"], first["seconds"]) == ("9", "10", "7.5")
    assert (first["state"], first["reason"]) == ("done", "")
    assert last["state"] == Verdict("failed", "differs")
    assert last["reason"] == "TrainingError: out of memory while allocating [256]"
    assert (last["val_accuracy"], last["best epoch"]) == ("-", "-")
    without = next(row for row in rows if row["hidden"] != str(LARGE))
    assert without["dropout"] == "-"


def test_many_trials_are_cut_with_a_sentence_that_says_so(tmp_path):
    trials = random_trials(70) + [Told(drawn(0), state="failed")] * 15
    table = trials_table(read_search(write_search(tmp_path / "s", SPACE, trials)))
    assert [row[0] for row in table.rows] == [*map(str, range(1, 41)), *["-"] * 10]
    assert table.notes == [
        "Left out: ranks 41 to 70 and 5 more without a score."
        " tune/journal.jsonl in the run's folder has them all."
    ]


def test_several_executions_have_a_spread(tmp_path):
    trials = [done(drawn(n), 0.5, scores=(0.5, 0.6, 0.7)) for n in range(3)]
    search = read_search(write_search(tmp_path / "s", SPACE, trials, executions=3))
    # The standard deviation of 5, 6, 7 is 1.
    assert rows_of(trials_table(search))[0]["val_accuracy"] == "0.6 ± 0.1"
    assert told(search)["objective"] == "val_accuracy, max, means of 3 executions"
    captions = [picture.caption for picture in blocks(search_sections(search), Picture)]
    assert any("first execution" in caption for caption in captions)


def test_hyperband_has_its_rounds(tmp_path):
    search = read_search(hyperband_search(tmp_path / "s"))
    table = rounds_table(search)
    assert [tuple(row[:-1]) for row in table.rows] == [
        ("2", "1", "1", "9", "3"),  # bracket, round, epochs, trials, of which went on
        ("2", "2", "2 to 3", "3", "1"),
        ("2", "3", "4 to 9", "1", "0"),
        ("1", "1", "3", "5", "2"),
        ("1", "2", "4 to 9", "2", "0"),
        ("0", "1", "9", "3", "0"),
    ]
    for row in table.rows:
        bracket = int(row[0]), int(row[1]) - 1
        best = max(trial.score for trial in search.trials if trial.bracket == bracket)
        assert row[-1] == f"{best:.5g}"


def test_a_trial_that_goes_on_tells_with_which(tmp_path):
    search = read_search(hyperband_search(tmp_path / "s"))
    rows = {int(row["trial"]): row for row in rows_of(trials_table(search))}
    for trial in search.trials:
        parent = "-" if trial.parent is None else str(trial.parent)
        assert rows[trial.number]["goes on with"] == parent
    grid = trials_table(read_search(grid_search(tmp_path / "grid")))
    assert "goes on with" not in grid.columns


def test_importance_is_shown_with_what_it_rests_on(random_sections, tmp_path):
    (picture,) = [p for p in blocks(random_sections, Picture) if "Shares" in p.alt]
    assert picture.alt.index(LEARNING_RATE) < picture.alt.index("data.batch_size")
    assert "27 trials" in picture.caption
    assert "out-of-bag R²" in picture.caption
    few = search_sections(read_search(grid_search(tmp_path / "g")))
    assert not [p for p in blocks(few, Picture) if "Shares" in p.alt]
    assert "there are 6" in blocks(few, Text)[0].text


@pytest.mark.parametrize("state", ["interrupted", "failed", "done"])
def test_why_it_ended_is_told(tmp_path, state):
    run = write_search(
        tmp_path / "s", SPACE, random_trials(1), state=state, reason="because of this"
    )
    search = read_search(run)
    assert told(search)["state"] == f"{state}: because of this"
    sections = search_sections(search)
    kinds = {"done": "ok", "failed": "differs"}
    assert sections[0].verdict == Verdict(state, kinds.get(state, "missing"))


def test_a_search_in_which_everything_failed_shows_why(tmp_path):
    trials = [Told(drawn(n), state="failed", reason=f"reason {n}") for n in range(6)]
    search = read_search(write_search(tmp_path / "s", SPACE, trials))
    sections = search_sections(search)
    assert sections[0].verdict == Verdict("done", "differs")
    assert told(search)["best"] == "no trial has a score"
    reasons = [row["reason"] for row in rows_of(trials_table(search))]
    assert reasons == [f"reason {number}" for number in range(6)]
    assert [path.name for path in draw_search(search)] == ["tune-parallel.svg"]


def test_a_search_that_is_still_running_can_be_looked_at(tmp_path):
    trials = [*random_trials(3), Told(drawn(3), state="running", curve=[0.5, 0.6])]
    run = write_search(tmp_path / "s", SPACE, trials, state="running", wanted=30)
    with hold(search_lock(run)):
        search = read_search(run)
    assert search_sections(search)[0].verdict == Verdict("running", "missing")
    assert told(search)["trials"] == "3 done, 1 running, of at most 30"
    assert rows_of(trials_table(search))[-1]["state"] == Verdict("running", "missing")
    assert told(read_search(run))["state"] == "killed", "its process is gone"


def test_before_the_first_trial_there_is_only_the_space(tmp_path):
    run = write_search(tmp_path / "s", SPACE, [], state="running")
    (section,) = search_sections(read_search(run))
    assert section.blocks[-1] == Text("No trial has begun.")
    assert not draw_search(read_search(run))


def test_one_trial_is_enough_for_a_page(tmp_path):
    sections = search_sections(read_search(random_search(tmp_path / "s", 1)))
    assert [section.title for section in sections] == TITLES
    assert len(blocks(sections, Picture)) == 3 + len(SPACE)


def test_a_hyperparameter_may_be_called_as_a_column_is(tmp_path):
    space = {"train.epochs": {"int": [1, 5]}}
    trials = [done({"train.epochs": n}, n / 10, epochs=n) for n in (2, 4)]
    first = rows_of(trials_table(read_search(write_search(tmp_path / "s", space, trials))))[0]
    assert (first["train.epochs"], first["epochs"]) == ("4", "4")


def test_figures_are_files_of_the_run(tmp_path):
    search = read_search(hyperband_search(tmp_path / "s"))
    paths = draw_search(search)
    names = ["parallel", "importance", *(f"against-{key.split('.')[-1]}" for key in SPACE)]
    names += ["best", "curves", "rounds"]
    assert paths == [tmp_path / "s" / "plots" / f"tune-{name}.svg" for name in names]
    assert all(path.read_text().startswith("<?xml") for path in paths)
    pictures = blocks(search_sections(search), Picture)
    assert len(pictures) == len(paths), "the page shows the same"


def test_a_page_of_a_search_needs_no_other_file(random_run, random_sections):
    page = render_page(Page("run", random_sections))
    assert "<image" not in page
    assert "http://" not in page
    assert "https://" not in page
    assert page == render_page(Page("run", search_sections(read_search(random_run))))


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.04, "0.0 s"),
        (41.23, "41.2 s"),
        (725.0, "12 min 5 s"),
        (119.7, "1 min 59 s"),
        (12000, "3 h 20 min"),
    ],
)
def test_times_are_shown_as_they_are_read(seconds, shown):
    assert show_seconds(seconds) == shown


def test_the_journal_of_the_tests_is_one_that_is_read(tmp_path):
    """What the other tests rest on: `searches` writes what `tfapp.trials` reads."""
    search = read_search(hyperband_search(tmp_path / "s"))
    assert (search.state, search.algorithm, search.direction) == ("done", "hyperband", "max")
    assert search.seconds == pytest.approx(23 * TRIAL_SECONDS)
    assert [trial.number for trial in search.trials] == list(range(23))
    assert dict(search.space) == dict(search.run.config().tune.space)


@needs_browser
@pytest.mark.parametrize("width", [PHONE, 1200])
def test_a_page_of_a_search_is_as_wide_as_the_window(tmp_path, width):
    search = read_search(hyperband_search(tmp_path / "s"))
    page = render_page(Page("run", search_sections(search)))
    assert complaints(look(page, tmp_path, width)) == []
