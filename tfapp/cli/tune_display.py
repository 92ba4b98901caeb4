"""How a search is shown: one moving line on a terminal, a line a trial in a pipe; then a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from tfapp.cli.console import format_value, print_json, print_pairs, print_table, say
from tfapp.trials import Search, Trial, TrialState

if TYPE_CHECKING:  # it needs TensorFlow, which a display does not
    from tfapp.tuning.leader import Moment

_SHOWN = 10
_ENDED: tuple[TrialState, ...] = ("done", "failed", "diverged")
_STATES: tuple[TrialState, ...] = (*_ENDED, "stopped", "running")


class Watcher:
    """Shows nothing."""

    def __call__(self, moment: Moment) -> None:
        """Is told that something has happened."""

    def note(self, text: str) -> None:
        """Shows a line."""

    def close(self) -> None:
        """Leaves everything as it stands."""


class PlainLines(Watcher):
    """One line for each trial that has ended."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._console.soft_wrap = True

    def __call__(self, moment: Moment) -> None:
        """Prints a line when a trial has ended: what it came to, and where the search stands."""
        if moment.trial is not None and moment.trial.state != "running":
            parts = (_trial_line(moment), _standing(moment), _left(moment), _best(moment.search))
            self._console.print("  ".join(part for part in parts if part))

    def note(self, text: str) -> None:
        """Prints a line."""
        self._console.print(text)


class MovingLine(Watcher):
    """Trials done, running and failed, the best so far and the time left; ended trials above."""

    def __init__(self, console: Console) -> None:
        whole = Column(no_wrap=True)
        self._bar = Progress(
            TextColumn("{task.fields[standing]}", table_column=whole),
            BarColumn(bar_width=16, table_column=whole),
            TextColumn(
                "{task.fields[rest]}",
                table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
            ),
            console=console,
            expand=True,
        )
        self._task = self._bar.add_task("search", total=None, standing="", rest="")

    def __call__(self, moment: Moment) -> None:
        """Moves the line; the first time it is drawn."""
        self._bar.start()
        if moment.trial is not None and moment.trial.state != "running":
            self._bar.console.print(_trial_line(moment), soft_wrap=True)
        parts = (_left(moment), _best(moment.search, values=True))
        self._bar.update(
            self._task,
            total=moment.total,
            completed=moment.search.count(*_ENDED),
            standing=_standing(moment),
            rest="  ".join(part for part in parts if part),
        )

    def note(self, text: str) -> None:
        """Prints a line above it."""
        self._bar.console.print(text)

    def close(self) -> None:
        """Leaves the line as it stands."""
        self._bar.stop()


@contextmanager
def search_watcher(*, quiet: bool) -> Iterator[Watcher]:
    """Gives the watcher that suits where stderr goes.

    Args:
        quiet: Show nothing at all.
    """
    console = Console(stderr=True, highlight=False, markup=False)
    watcher: Watcher = Watcher()
    if not quiet:
        watcher = MovingLine(console) if console.is_terminal else PlainLines(console)
    try:
        yield watcher
    finally:
        watcher.close()


def show_search(search: Search, *, as_json: bool, quiet: bool) -> None:
    """Prints what a search has found: its best trials as a table, and what to do next."""
    if as_json:
        print_json(search_json(search))
        return
    best = search.best
    print_pairs(
        [
            ("run", search.path),
            ("search", f"{search.algorithm}, {search.state}{_because(search)}"),
            ("trials", _counts(search)),
            ("time", f"{search.seconds:.1f} s"),
            (f"best {search.objective}", None if best is None else _score(best)),
            *(() if best is None else ((key, value) for key, value in best.values.items())),
        ]
    )
    if not quiet:
        print_table(*trials_table(search, most=_SHOWN), title=f"\nthe best of {len(search.trials)}")
    path = search.path
    say(f"next: tfapp train --tune --resume {path}   or: tfapp report {path}", quiet=quiet)


def trials_table(search: Search, *, most: int) -> tuple[list[str], list[list[Any]]]:
    """Returns headings and rows of the best trials.

    Args:
        search: Its trials.
        most: So many rows.
    """
    keys = list(search.space)
    short = [key.rpartition(".")[2] for key in keys]
    shown = [key if short.count(name) > 1 else name for key, name in zip(keys, short, strict=True)]
    rows = [
        [
            trial.name,
            _score(trial) if trial.scores else f"{trial.state}: {_cut(trial.reason)}",
            trial.epochs,
            round(trial.seconds, 1),
            *(trial.values.get(key) for key in keys),
        ]
        for trial in search.ranked()[:most]
    ]
    return ["trial", search.objective, "epochs", "seconds", *shown], rows


def search_json(search: Search) -> dict[str, Any]:
    """Returns a search as JSON shows it."""
    best = search.best
    return {
        **{
            key: value
            for key, value in vars(search).items()
            if key not in ("path", "space", "trials")
        },
        "path": str(search.path),
        "space": {key: value.model_dump(mode="json") for key, value in search.space.items()},
        "best": None if best is None else trial_json(best),
        "trials": [trial_json(trial) for trial in search.trials],
    }


def trial_json(trial: Trial) -> dict[str, Any]:
    """Returns a trial as JSON shows it."""
    return {**vars(trial), "name": trial.name, "score": trial.score, "spread": trial.spread}


def format_time(seconds: float) -> str:
    """Returns a time for people: `12 s`, `3 min`, `2.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _trial_line(moment: Moment) -> str:
    trial, search = moment.trial, moment.search
    assert trial is not None
    what = f"{search.objective} {_score(trial)}" if trial.scores else _cut(trial.reason)
    return (
        f"trial {trial.name} {trial.state}  {what}  {trial.seconds:.1f} s  {_values(trial.values)}"
    )


def _standing(moment: Moment) -> str:
    search = moment.search
    of = "" if moment.total is None else f"/{moment.total}"
    parts = [f"{search.count(*_ENDED)}{of} trials", f"{search.count('running')} running"]
    if failed := search.count("failed", "diverged"):
        parts.append(f"{failed} failed")
    return ", ".join(parts)


def _left(moment: Moment) -> str:
    return "" if moment.seconds_left is None else f"{format_time(moment.seconds_left)} left"


def _best(search: Search, *, values: bool = False) -> str:
    if (best := search.best) is None:
        return ""
    which = f"trial {best.name}" + (f": {_values(best.values)}" if values else "")
    return f"best {search.objective} {_score(best)} ({which})"


def _counts(search: Search) -> str:
    counted = [(state, search.count(state)) for state in _STATES]
    return ", ".join(f"{count} {state}" for state, count in counted if count)


def _because(search: Search) -> str:
    return f": {search.reason}" if search.reason else ""


def _score(trial: Trial) -> str:
    spread = "" if trial.spread is None else f" ± {trial.spread:.2g}"
    return f"{format_value(trial.score)}{spread}"


def _values(values: Mapping[str, Any]) -> str:
    shown = (f"{key.rpartition('.')[2]}={_short(value)}" for key, value in values.items())
    return " ".join(shown)


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace(" ", "")


def _cut(reason: str) -> str:
    return reason if len(reason) <= 120 else f"{reason[:117]}..."
