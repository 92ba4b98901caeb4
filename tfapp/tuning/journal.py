"""Writes what `tfapp.trials` reads: one line for everything that happens in a search."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from tfapp.errors import storage_errors
from tfapp.runs import Run, write_whole
from tfapp.trials import FORMAT, Trial, journal_of, read_journal


class Journal:
    """The journal of a search; a line is on disk before anybody acts on it.

    Args:
        run: The run that the search belongs to. Where its journal ends in half a line, because its
            writer was killed, that half is dropped first.
    """

    def __init__(self, run: Run) -> None:
        self._path = journal_of(run)
        if self._path.exists():
            lines = "".join(json.dumps(line) + "\n" for line in read_journal(run))
            if self._path.read_text(encoding="utf-8", errors="replace") != lines:
                write_whole(self._path, lines)

    def search(self, **facts: Any) -> None:
        """Writes the first line: what is searched, and how."""
        self._write("search", format=FORMAT, **facts)

    def session(self, *, trials: int | None) -> None:
        """Writes that the search begins, or goes on, and how many trials it is to have."""
        self._write("session", trials=trials)

    def begin(self, trial: Trial) -> None:
        """Writes that a trial has been given to a worker."""
        self._write(
            "begin",
            trial=trial.number,
            values=dict(trial.values),
            epochs=trial.epochs,
            first_epoch=trial.first_epoch,
            parent=trial.parent,
            bracket=trial.bracket,
            worker=trial.worker,
            attempt=trial.attempts,
        )

    def end(self, trial: Trial) -> None:
        """Writes what a trial came to."""
        self._write(
            "end",
            trial=trial.number,
            state=trial.state,
            scores=list(trial.scores),
            best_epoch=trial.best_epoch,
            seconds=round(trial.seconds, 3),
            reason=trial.reason,
        )

    def over(self, state: str, reason: str) -> None:
        """Writes that this session of the search is over."""
        self._write("over", state=state, reason=reason)

    def _write(self, event: str, **facts: Any) -> None:
        line = json.dumps({"event": event, "at": round(time.time(), 3), **facts}) + "\n"
        with storage_errors(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
