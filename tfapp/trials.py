"""A search on disk: which trials there are, and what each came to.

    runs/20261121-034500-digits-mlp/
        config.toml            what is searched, with its [tune] table
        tune/journal.jsonl     one line for everything that happened; nothing in it is ever changed
        tune/0000/             trial 0: a run directory; of a second execution tune/0000-2/

The journal is what counts: a search that is continued is made again from its lines.
"""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tfapp.errors import MissingError, UsageError
from tfapp.locks import is_held
from tfapp.runs import Run, open_run
from tfapp.space import Hyperparameter

FOLDER = "tune"
JOURNAL = "journal.jsonl"
FORMAT = 1

TrialState = Literal["running", "done", "failed", "diverged", "stopped"]
SearchState = Literal["running", "done", "out of time", "interrupted", "failed", "killed"]


@dataclass(frozen=True)
class Trial:
    """One choice of values, and what training with it came to.

    Attributes:
        number: Its place in the order of the search, from 0.
        values: Value of each hyperparameter that takes part in it, by config key.
        state: `running`; `done`; `failed`: it raised; `diverged`: it met NaN or Inf; `stopped`: it
            was not finished when the search ended, and starts anew when that goes on.
        scores: The best value of the objective in each execution.
        epochs: Where its last epoch is, of those its config asks for.
        first_epoch: Epochs that it has taken over from `parent`.
        best_epoch: The epoch of the first execution that reached its score; 0 if none was done.
        parent: Number of the trial that it goes on with (Hyperband).
        bracket: Bracket and round of Hyperband.
        seconds: Time from its begin to its end.
        worker: Who ran it.
        attempts: How often it was begun.
        reason: Why it has no score.
    """

    number: int
    values: Mapping[str, Any]
    state: TrialState = "running"
    scores: tuple[float, ...] = ()
    epochs: int = 0
    first_epoch: int = 0
    best_epoch: int = 0
    parent: int | None = None
    bracket: tuple[int, int] | None = None
    seconds: float = 0.0
    worker: str = ""
    attempts: int = 1
    reason: str = ""

    @property
    def name(self) -> str:
        """Name of its run directory in the search's folder; of the first execution."""
        return f"{self.number:04d}"

    @property
    def score(self) -> float | None:
        """Mean over its executions; `None` if it has none."""
        return statistics.fmean(self.scores) if self.scores else None

    @property
    def spread(self) -> float | None:
        """Standard deviation over its executions; `None` with fewer than two."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else None


@dataclass(frozen=True)
class Search:
    """A search and its trials.

    Attributes:
        path: The run directory that it belongs to.
        state: Where it stands; `killed`: it says running, but its process is gone.
        algorithm: `random`, `hyperband`, `bayesian` or `grid`.
        objective: Name of the value that is searched for, e.g. `val_accuracy`.
        direction: `min` or `max` of it.
        seed: Decides the trials.
        wanted: Most trials; `None` if the algorithm decides.
        executions: Trainings of a trial.
        space: What is varied, by config key.
        trials: In the order of their numbers.
        seconds: Time spent, over all sessions.
        reason: Why it ended, where that is not plain.
    """

    path: Path
    state: SearchState
    algorithm: str
    objective: str
    direction: Literal["min", "max"]
    seed: int
    wanted: int | None
    executions: int
    space: Mapping[str, Hyperparameter]
    trials: tuple[Trial, ...]
    seconds: float = 0.0
    reason: str = ""

    @property
    def run(self) -> Run:
        """The run directory that it belongs to."""
        return Run(self.path)

    @property
    def best(self) -> Trial | None:
        """The trial with the best score, the earlier of two equal ones; `None` without any."""
        scored = [trial for trial in self.trials if trial.score is not None]
        return max(scored, key=self._merit, default=None)

    def ranked(self) -> list[Trial]:
        """Returns the trials, the best first and those without a score last."""
        scored = [trial for trial in self.trials if trial.score is not None]
        others = [trial for trial in self.trials if trial.score is None]
        return sorted(scored, key=self._merit, reverse=True) + others

    def count(self, *states: TrialState) -> int:
        """Returns how many trials are in one of these states."""
        return sum(trial.state in states for trial in self.trials)

    def run_of(self, trial: Trial, execution: int = 0) -> Run:
        """Returns the run directory of a trial's execution, counted from 0."""
        suffix = f"-{execution + 1}" if execution else ""
        return Run(self.path / FOLDER / f"{trial.name}{suffix}")

    def _merit(self, trial: Trial) -> float:
        score = trial.score or 0.0
        return score if self.direction == "max" else -score


def journal_of(run: Run) -> Path:
    """Returns the file that tells of the search of a run."""
    return run.path / FOLDER / JOURNAL


def config_file(run: Run) -> Path:
    """Returns the config that a run's search varies.

    The run's own `config.toml` becomes that of the best trial once it is trained.
    """
    return run.path / FOLDER / "config.toml"


def has_search(run: Run) -> bool:
    """Tells whether a run has a search."""
    return journal_of(run).exists()


def read_search(run: Run | str | Path) -> Search:
    """Reads the search of a run; it may still be going on.

    Args:
        run: The run, or its path or name.

    Raises:
        MissingError: The run has none.
        UsageError: What is there was not written by tfapp, or by a later version.
    """
    run = open_run(run)
    lines = read_journal(run)
    trials: dict[int, Trial] = {}
    try:
        search = _opened(run, lines[0])
        for before, line in itertools.pairwise(lines):
            if line["event"] != "session":  # between sessions no time was spent
                search = replace(search, seconds=search.seconds + line["at"] - before["at"])
            search = _told(search, trials, line)
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(run, f"a line lacks what belongs there, {error!r}") from error
    if search.state == "running" and not is_held(search_lock(run)):
        search = replace(search, state="killed")
    return replace(search, trials=tuple(trials[number] for number in sorted(trials)))


def search_lock(run: Run) -> Path:
    """Returns the file whose lock is held by the process that leads the search."""
    return run.path / FOLDER / ".lock"


def read_journal(run: Run) -> list[dict[str, Any]]:
    """Returns the lines of the journal; a last one cut short by a kill is left out.

    Raises:
        MissingError: There is none.
        UsageError: It was not written by tfapp, or by a later version.
    """
    path = journal_of(run)
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise MissingError(
            f"run {run.name} has no search: there is no {path}. Make one with tfapp tune, or with"
            " tfapp train --tune."
        ) from error
    lines: list[dict[str, Any]] = []
    rows = text.rstrip("\n").split("\n")
    for number, row in enumerate(rows, start=1):
        if (line := _parsed(row)) is not None:
            lines.append(line)
        elif number < len(rows):
            raise _unreadable(run, f"line {number} is damaged")
    if not lines or lines[0].get("event") != "search" or lines[0].get("format") != FORMAT:
        raise _unreadable(run, "it does not begin as this version's do")
    return lines


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        parsed = json.loads(line)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None


def _unreadable(run: Run, why: str) -> UsageError:
    return UsageError(
        f"{journal_of(run)} is no journal of a search that this version of tfapp can read: {why}."
        " Restore it from a copy, or search into another folder, with --run NAME."
    )


def _opened(run: Run, line: Mapping[str, Any]) -> Search:
    return Search(
        path=run.path,
        state="running",
        algorithm=line["algorithm"],
        objective=line["objective"],
        direction=line["direction"],
        seed=line["seed"],
        wanted=line["trials"],
        executions=line["executions"],
        space={key: Hyperparameter.model_validate(value) for key, value in line["space"].items()},
        trials=(),
    )


def _told(search: Search, trials: dict[int, Trial], line: Mapping[str, Any]) -> Search:
    """Returns the search after one more line; `trials` are changed in place."""
    number = line.get("trial", -1)
    match line["event"]:
        case "session":
            return replace(search, state="running", wanted=line["trials"], reason="")
        case "begin":
            parent, bracket = line["parent"], line["bracket"]
            trials[number] = Trial(
                number=number,
                values=line["values"],
                epochs=line["epochs"],
                first_epoch=line["first_epoch"],
                parent=parent,
                bracket=tuple(bracket) if bracket else None,
                worker=line["worker"],
                attempts=line["attempt"],
            )
        case "end":
            trials[number] = replace(
                trials[number],
                state=line["state"],
                scores=tuple(line["scores"]),
                best_epoch=line["best_epoch"],
                seconds=line["seconds"],
                reason=line["reason"],
            )
        case "over":
            return replace(search, state=line["state"], reason=line["reason"])
    return search
