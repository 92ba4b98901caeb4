"""A search in tables: what it came to, its space, its trials, the rounds of Hyperband."""

from __future__ import annotations

from tfapp.report.page import Table, Verdict
from tfapp.report.search_progress import bracket_of
from tfapp.report.search_scales import scored, short_names, show_score, show_value
from tfapp.trials import FOLDER, JOURNAL, Search, Trial, TrialState

MOST_SCORED = 40
MOST_OTHERS = 10
_STATES: tuple[TrialState, ...] = ("done", "failed", "diverged", "stopped", "running")


def summary_table(search: Search) -> Table:
    """Returns what was searched, and what it came to."""
    several = f", means of {search.executions} executions" if search.executions > 1 else ""
    rows = {
        "algorithm": search.algorithm,
        "objective": f"{search.objective}, {search.direction}{several}",
        "trials": _counts(search),
        "best": "no trial has a score" if search.best is None else _told(search, search.best),
        "time": show_seconds(search.seconds),
        "state": search.state + (f": {search.reason}" if search.reason else ""),
        "seed": str(search.seed),
    }
    return Table(("search", "value"), [*map(list, rows.items())], "What the search came to")


def space_table(search: Search) -> Table:
    """Returns the space, with the values of the best trial if there is one."""
    best = search.best
    conditional = any(hyperparameter.when for hyperparameter in search.space.values())
    columns = ["hyperparameter", "best" if best else "", "searched", "where" if conditional else ""]
    rows = [
        [
            key,
            "" if best is None else show_value(best.values.get(key)),
            hyperparameter.describe(),
            " and ".join(
                f"{parent} is {' or '.join(map(show_value, values))}"
                for parent, values in hyperparameter.when.items()
            ),
        ]
        for key, hyperparameter in search.space.items()
    ]
    kept = [place for place, column in enumerate(columns) if column]
    caption = "The space" if best is None else f"The space, and the values of trial {best.number}"
    shown = [[row[place] for place in kept] for row in [columns, *rows]]
    return Table(shown[0], shown[1:], caption)


def trials_table(search: Search) -> Table:
    """Returns the trials, the best first and those without a score last.

    Of many trials the end of the ranking is left out, which a note tells.
    """
    ranked = search.ranked()
    count = sum(trial.score is not None for trial in ranked)
    places = [*range(min(count, MOST_SCORED)), *range(count, len(ranked))[:MOST_OTHERS]]
    going_on = any(trial.parent is not None for trial in search.trials)
    before, after = ["rank", "trial"], ["best epoch", "epochs", "seconds", "state", "reason"]
    if going_on:
        after.insert(2, "goes on with")
    names = short_names([*search.space, *before, *after])  # `epochs` can be that of a config, too
    columns = [*before, *(names[key] for key in search.space), search.objective, *after]
    rows: list[list[str | Verdict]] = []
    for place in places:
        trial = ranked[place]
        rows.append(
            [
                str(place + 1) if place < count else "-",
                str(trial.number),
                *(show_value(trial.values.get(key)) for key in search.space),
                show_score(trial.score, trial.spread),
                str(trial.best_epoch or "-"),
                show_epochs(trial),
                *([show_value(trial.parent)] if going_on else []),
                f"{trial.seconds:.1f}" if trial.seconds else "-",
                _state(trial),
                trial.reason,
            ]
        )
    notes = [_left_out(search, count)] if len(rows) < len(ranked) else []
    return Table(columns, rows, "Trials, the best first", columns[:-2], notes)


def rounds_table(search: Search) -> Table:
    """Returns what each round of each bracket of Hyperband came to."""
    rounds: dict[tuple[int, int], list[Trial]] = {}
    for trial in search.trials:
        if trial.bracket is not None:
            rounds.setdefault((bracket_of(search, trial), trial.bracket[1]), []).append(trial)
    parents = {trial.parent for trial in search.trials}
    scores = {trial.number: score for trial, score in scored(search)}
    better = max if search.direction == "max" else min
    rows = []
    for bracket, number in sorted(rounds, key=lambda key: (-key[0], key[1])):
        trials = rounds[bracket, number]
        found = [scores[trial.number] for trial in trials if trial.number in scores]
        rows.append(
            [
                str(bracket),
                str(number + 1),
                " or ".join(sorted({show_epochs(trial) for trial in trials})),
                str(len(trials)),
                str(sum(trial.number in parents for trial in trials)),
                show_score(better(found)) if found else "-",
            ]
        )
    columns = ("bracket", "round", "epochs", "trials", "went on", "best")
    return Table(columns, rows, f"Rounds, with their {search.objective}", columns)


def show_epochs(trial: Trial) -> str:
    """Returns which epochs a trial trained: `10`, or `4 to 10` if it took over the first three."""
    return f"{trial.first_epoch + 1} to {trial.epochs}" if trial.first_epoch else str(trial.epochs)


def show_seconds(seconds: float) -> str:
    """Returns a time as it is read: `41.2 s`, `12 min 5 s`, `3 h 20 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = int(seconds) // 60
    if minutes < 60:
        return f"{minutes} min {int(seconds) % 60} s"
    return f"{minutes // 60} h {minutes % 60} min"


def _counts(search: Search) -> str:
    begun = [f"{search.count(state)} {state}" for state in _STATES if search.count(state)]
    most = "" if search.wanted is None else f", of at most {search.wanted}"
    return (", ".join(begun) or "none") + most


def _told(search: Search, best: Trial) -> str:
    score = show_score(best.score, best.spread)
    return (
        f"{search.objective} {score} in epoch {best.best_epoch} of {best.epochs}: trial"
        f" {best.number}, {FOLDER}/{best.name}"
    )


def _state(trial: Trial) -> str | Verdict:
    if trial.state in ("failed", "diverged"):
        return Verdict(trial.state, "differs")
    return "done" if trial.state == "done" else Verdict(trial.state, "missing")


def _left_out(search: Search, ranked: int) -> str:
    parts = []
    if ranked > MOST_SCORED:
        parts.append(f"ranks {MOST_SCORED + 1} to {ranked}")
    others = len(search.trials) - ranked - MOST_OTHERS
    if others > 0:
        parts.append(f"{others} more without a score")
    return f"Left out: {' and '.join(parts)}. {FOLDER}/{JOURNAL} in the run's folder has them all."
