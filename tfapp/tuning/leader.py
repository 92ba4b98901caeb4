"""Who decides: hands out trials, takes their results, and writes everything down.

There is one leader of a search and any number of workers, in its own process or in others. A worker
asks for a trial, runs it, and hands in what it came to; one that is lost has its trial given to
another. Whatever happens to the leader, the journal says where the search stands, and a new leader
goes on from there: the algorithm is asked and told again everything that it was asked and told.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from tfapp.config import Config
from tfapp.errors import TfappError, reason_of
from tfapp.runs import Run
from tfapp.space import seconds_of
from tfapp.trials import Search, SearchState, Trial, TrialState, read_journal, read_search
from tfapp.tuning.journal import Journal
from tfapp.tuning.oracles import Algorithm, Proposal, count_trials

# How often a trial is begun whose process dies; then it is the trial that kills it.
MOST_ATTEMPTS = 3
# So many trials that raise, and none that gets through, are not bad luck.
MOST_FAILED_AT_FIRST = 5


@dataclass(frozen=True)
class Assignment:
    """A trial that is to be run.

    Attributes:
        number: The trial.
        attempt: How often it has been begun, this time included; what an earlier one hands in does
            not count any more.
        values: Of the hyperparameters, by config key.
        root: The trial whose first weights it has; another one in Hyperband's later rounds.
        until: Epoch after which it pauses; `None` to train as long as the config says.
        parent: Number of the trial that it goes on with.
    """

    number: int
    attempt: int
    values: Mapping[str, Any]
    root: int
    until: int | None
    parent: int | None


@dataclass(frozen=True)
class Outcome:
    """What a trial came to.

    Attributes:
        state: `done`, `failed`, `diverged` or `stopped`.
        scores: Of its executions.
        best_epoch: The epoch of the first execution that reached its score.
        reason: Why it has no score.
    """

    state: TrialState
    scores: tuple[float, ...] = ()
    best_epoch: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Moment:
    """Where a search stands, for those who watch.

    Attributes:
        search: With all its trials.
        trial: The one that something has happened to; `None` when the search itself has.
        total: How many trials there will be; `None` if that is not known.
        seconds_left: An estimate; `None` before there is one.
    """

    search: Search
    trial: Trial | None
    total: int | None
    seconds_left: float | None


Watch = Callable[[Moment], None]


@dataclass
class _Open:
    """A trial that somebody runs."""

    trial: Trial
    began: float = field(default_factory=time.monotonic)


class Leader:
    """Leads a search that has a journal.

    All methods may be called from any thread.

    Args:
        run: The run that the search belongs to.
        config: What is searched, with its `tune` table.
        workers: How many run trials at once, for the estimate of the time left.
        grace: Seconds in which a worker may claim the trial that an earlier leader gave it.
        watch: Is told whenever something has happened.
    """

    def __init__(
        self,
        run: Run,
        config: Config,
        *,
        workers: int = 1,
        grace: float = 0.0,
        watch: Watch = lambda moment: None,
    ) -> None:
        tune = config.tune
        assert tune is not None
        self._journal = Journal(run)
        self._search = read_search(run)
        self._trials = {trial.number: trial for trial in self._search.trials}
        self._epochs = config.train.epochs
        self._limit = tune.most_trials
        self._total = count_trials(tune, epochs=self._epochs, seed=self._search.seed)
        self._workers = workers
        self._grace = grace
        self._inherited = {n for n, trial in self._trials.items() if trial.state == "running"}
        self._watch = watch
        self._lock = threading.RLock()
        self._open: dict[int, _Open] = {}
        self._begun: Counter[int] = Counter()  # by trial, since it was last asked to stop
        self._begun_at: dict[int, float] = {}
        self._began = time.monotonic()
        self._budget = seconds_of(tune.budget) if tune.budget else None
        self._ended: tuple[SearchState, str] | None = None
        self._exhausted = False
        self._algorithm = Algorithm(
            tune,
            direction=self._search.direction,
            seed=self._search.seed,
            epochs=self._epochs,
            known={number: trial.values for number, trial in self._trials.items()},
        )
        self._replay(run)
        self._journal.session(trials=self._limit)
        self._search = replace(self._search, state="running", reason="", wanted=self._limit)

    def next(self, worker: str) -> Assignment | Literal["wait", "stop"]:
        """Returns the next trial, or whether to ask again a little later, or to end.

        Args:
            worker: Who asks; it has ended whatever it was given before.
        """
        with self._lock:
            self._release(worker, "it asked for another trial")
            if self.is_over():
                return "stop"
            if (again := self._waiting()) is not None:
                return self._begin(replace(again, worker=worker, attempts=again.attempts + 1))
            if self._limit is not None and len(self._trials) >= self._limit:
                return self._none_left()
            if self._exhausted:
                return self._none_left()
            proposal = self._algorithm.propose()
            if proposal.status == "run":
                return self._begin(self._made(proposal, worker))
            if self._algorithm.error is not None:
                self._end("failed", f"the algorithm failed: {reason_of(self._algorithm.error)}")
                return "stop"
            self._exhausted = proposal.status == "end"
            return self._none_left()

    def finish(self, number: int, attempt: int, outcome: Outcome) -> bool:
        """Takes what a trial came to; false if it had been given to another meanwhile."""
        with self._lock:
            trial = self._trials.get(number)
            if trial is None or trial.attempts != attempt or trial.state != "running":
                return False
            began = self._open.pop(number, _Open(trial)).began
            self._finished(
                replace(
                    trial,
                    state=outcome.state,
                    scores=outcome.scores,
                    best_epoch=outcome.best_epoch,
                    reason=outcome.reason,
                    seconds=time.monotonic() - began,
                )
            )
            return True

    def release(self, worker: str, reason: str) -> None:
        """Takes the trial of a worker that is gone; another will have it.

        Args:
            worker: Who is gone.
            reason: What happened to it.
        """
        with self._lock:
            self._release(worker, reason)

    def claim(self, worker: str, number: int, attempt: int) -> bool:
        """Tells whether a worker still has a trial, also one from before this leader was there."""
        with self._lock:
            trial = self._trials.get(number)
            if trial is None or (trial.worker, trial.attempts) != (worker, attempt):
                return False
            if trial.state != "running":
                return False
            ago = max(0.0, time.time() - self._begun_at[number])
            self._open.setdefault(number, _Open(trial, time.monotonic() - ago))
            return True

    def end(self, state: SearchState, reason: str = "") -> None:
        """Ends the search for this session, unless it has ended."""
        with self._lock:
            self._end(state, reason)

    def is_over(self) -> bool:
        """Tells whether no trial goes on; ends the search when its time is up."""
        with self._lock:
            if self._budget is not None and self._spent() > self._budget:
                self._end("out of time", f"its budget of {self._budget:g} s is used up")
            return self._ended is not None

    @property
    def search(self) -> Search:
        """The search as it stands."""
        with self._lock:
            ordered = tuple(self._trials[number] for number in sorted(self._trials))
            state, reason = self._ended or (self._search.state, self._search.reason)
            return replace(
                self._search, trials=ordered, seconds=self._spent(), state=state, reason=reason
            )

    def trial(self, number: int) -> Trial:
        """Returns a trial by its number."""
        with self._lock:
            return self._trials[number]

    def _replay(self, run: Run) -> None:
        """Brings the algorithm to where the journal ends."""
        proposed = 0
        for line in read_journal(run):
            number = line.get("trial", -1)
            if line["event"] == "begin":
                self._begun[number] += 1
                self._begun_at[number] = line["at"]
            elif line["event"] == "end" and line["state"] == "stopped":
                self._begun[number] = 0
            if line["event"] == "begin" and number == proposed:
                proposed += 1
                values = self._algorithm.propose().values
                if values != line["values"]:
                    raise TfappError(
                        f"the search of {run.path} cannot go on: its trial {number} has"
                        f" {line['values']}, and the algorithm would now make it {values}. Install"
                        " the versions that it was begun with, or begin a new search."
                    )
            elif line["event"] == "end" and line["state"] != "stopped":
                scores = line["scores"]
                self._algorithm.tell(number, statistics.fmean(scores) if scores else None)

    def _made(self, proposal: Proposal, worker: str) -> Trial:
        return Trial(
            number=len(self._trials),
            values=proposal.values or {},
            epochs=proposal.epochs or self._epochs,
            first_epoch=proposal.first_epoch,
            parent=proposal.parent,
            bracket=proposal.bracket,
            worker=worker,
        )

    def _begin(self, trial: Trial) -> Assignment:
        trial = replace(trial, state="running", reason="", scores=())
        self._journal.begin(trial)
        self._begun[trial.number] += 1
        self._trials[trial.number] = trial
        self._open[trial.number] = _Open(trial)
        self._begun_at[trial.number] = time.time()
        self._tell(trial)
        return Assignment(
            number=trial.number,
            attempt=trial.attempts,
            values=trial.values,
            root=self._root_of(trial),
            until=None if trial.bracket is None else trial.epochs,
            parent=trial.parent,
        )

    def _finished(self, trial: Trial) -> None:
        self._journal.end(trial)
        self._trials[trial.number] = trial
        if trial.state == "stopped":  # so it is not to blame, and the algorithm still waits
            self._begun[trial.number] = 0
        else:
            self._algorithm.tell(trial.number, trial.score)
        self._tell(trial)
        if self._is_complete():
            self._end("done", "")
        failed = [t for t in self._trials.values() if t.state == "failed"]
        if len(failed) >= MOST_FAILED_AT_FIRST and not any(t.scores for t in self._trials.values()):
            self._end(
                "failed", f"its first trials all failed, the last one because: {trial.reason}"
            )

    def _release(self, worker: str, reason: str) -> None:
        for number, running in list(self._open.items()):
            if running.trial.worker != worker:
                continue
            del self._open[number]
            if self._begun[number] >= MOST_ATTEMPTS:
                seconds = time.monotonic() - running.began
                self._finished(
                    replace(
                        running.trial,
                        state="failed",
                        seconds=seconds,
                        reason=f"begun {MOST_ATTEMPTS} times, and each time its process was lost,"
                        f" at last because {reason}; it may need more memory than there is",
                    )
                )

    def _waiting(self) -> Trial | None:
        """Returns the first trial that was begun and that nobody runs."""
        for number in sorted(self._trials):
            trial = self._trials[number]
            if trial.state == "stopped":
                return trial
            if trial.state == "running" and number not in self._open:
                if number in self._inherited and time.monotonic() - self._began < self._grace:
                    continue
                if self._begun[number] < MOST_ATTEMPTS:
                    return trial
                lost = f"begun {MOST_ATTEMPTS} times, and each time its process was lost"
                self._finished(replace(trial, state="failed", reason=lost))
        return None

    def _none_left(self) -> Literal["wait", "stop"]:
        if any(trial.state == "running" for trial in self._trials.values()):
            return "wait"
        self._end("done", "")
        return "stop"

    def _is_complete(self) -> bool:
        """Whether there are all trials, ended, so that nobody has to ask for another one."""
        if self._total is None or len(self._trials) < self._total:
            return False
        return not any(t.state in ("running", "stopped") for t in self._trials.values())

    def _end(self, state: SearchState, reason: str) -> None:
        if self._ended is not None:
            return
        self._ended = (state, reason)
        for number, running in list(self._open.items()):
            del self._open[number]
            seconds = time.monotonic() - running.began
            stopped = replace(running.trial, state="stopped", seconds=seconds)
            self._finished(replace(stopped, reason=reason or "the search was stopped"))
        self._journal.over(state, reason)
        self._tell(None)

    def _root_of(self, trial: Trial) -> int:
        while trial.parent is not None:
            trial = self._trials[trial.parent]
        return trial.number

    def _spent(self) -> float:
        return self._search.seconds + time.monotonic() - self._began

    def _tell(self, trial: Trial | None) -> None:
        self._watch(Moment(self.search, trial, self._total, self._left()))

    def _left(self) -> float | None:
        budget = None if self._budget is None else max(0.0, self._budget - self._spent())
        ended = [t for t in self._trials.values() if t.state not in ("running", "stopped")]
        if self._total is None or not ended:
            return budget
        rest = max(0, self._total - len(ended))
        # Trials of later rounds of Hyperband are longer; the mean of all is what is known.
        # A chief cannot know how many machines there are before they run trials.
        workers = max(self._workers, len(self._open))
        left = statistics.fmean(t.seconds for t in ended) * rest / workers
        return left if budget is None else min(left, budget)
