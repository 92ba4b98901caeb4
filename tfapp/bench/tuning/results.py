"""What a benchmark of searches comes to."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tfapp.bench.order import in_order
from tfapp.bench.tuning.task import SearchTask, Values
from tfapp.timing.machine import Machine
from tfapp.timing.slices import Spread, paired_ratio, spread

# `differs`: it trained something else than the others, so its time tells nothing.
Status = Literal["ok", "differs", "failed"]


@dataclass(frozen=True)
class TrainedTrial:
    """A trial, as the one who ran it tells.

    Attributes:
        values: What it was trained with.
        epochs: How long.
        accuracy: On the validation split after the last of them.
    """

    values: Values
    epochs: int
    accuracy: float


@dataclass(frozen=True)
class SearchRound:
    """One search.

    Attributes:
        seconds: Wall time of the whole.
        training_seconds: Of a trial, on average: what its epochs and validations take alone, in
            the same process right afterwards.
        trials: In order.
    """

    seconds: float
    training_seconds: float
    trials: tuple[TrainedTrial, ...]

    @property
    def trial_seconds(self) -> float:
        """Wall time of a trial, on average."""
        return self.seconds / len(self.trials)

    @property
    def overhead_seconds(self) -> float:
        """What a trial takes besides its training, on average."""
        return self.trial_seconds - self.training_seconds

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> SearchRound:
        """Returns the round that a contender's process has told."""
        trials = (
            TrainedTrial(Values(**trial["values"]), trial["epochs"], trial["accuracy"])
            for trial in content["trials"]
        )
        return cls(content["seconds"], content["training_seconds"], tuple(trials))


@dataclass(frozen=True)
class SearchRow:
    """One contender.

    Attributes:
        contender: Its name.
        status: Whether its times count, and if not, why.
        detail: A few words: what went wrong, or what it says of itself.
        rounds: Its searches, in order; empty if they do not count.
        seconds: Wall time of a search over the rounds.
        trial_seconds: Of a trial.
        training_seconds: Of the training alone of a trial.
        overhead_seconds: Of what a trial takes besides.
        ratio: Its time as a multiple of the reference's, the median over rounds.
        accuracy: Mean validation accuracy over all trials and rounds.
        idle_cores: Cores kept busy while it was not its turn.
    """

    contender: str
    status: Status
    detail: str = ""
    rounds: tuple[SearchRound, ...] = ()
    seconds: Spread | None = None
    trial_seconds: Spread | None = None
    training_seconds: Spread | None = None
    overhead_seconds: Spread | None = None
    ratio: float | None = None
    accuracy: float | None = None
    idle_cores: float | None = None

    @property
    def times(self) -> list[float]:
        """Seconds of the search in each round."""
        return [done.seconds for done in self.rounds]


@dataclass(frozen=True)
class TuningVerdict:
    """A target and what was measured.

    Attributes:
        target: What it is about.
        measured: In the unit of the target.
        wanted: `at least` or `at most` a number.
        met: Whether it is reached.
    """

    target: str
    measured: float
    wanted: str
    met: bool


@dataclass(frozen=True)
class TuningBench:
    """A whole benchmark of searches.

    Attributes:
        machine: What it ran on.
        source: Name of the data.
        task: Trials, epochs and batch size.
        rounds: Searches of each contender.
        networks: How many of the trials differ in more than the learning rate.
        seconds: What all of it took.
        reference: The contender that ratios refer to; `None` if no time counts.
        rows: Those whose times count, the fastest first, then the others.
        targets: What was to be reached.
    """

    machine: Machine
    source: str
    task: SearchTask
    rounds: int
    networks: int
    seconds: float
    reference: str | None
    rows: tuple[SearchRow, ...]
    targets: tuple[TuningVerdict, ...] = field(default=())


def mean_accuracy(rounds: Sequence[SearchRound]) -> float:
    """Returns the mean over all trials of all rounds."""
    return statistics.fmean(trial.accuracy for done in rounds for trial in done.trials)


def compare(rows: Sequence[SearchRow], reference: str) -> tuple[str | None, list[SearchRow]]:
    """Puts rows in order and compares them.

    Args:
        rows: As measured.
        reference: The contender that ratios refer to; if its times do not count, the fastest takes
            its place.

    Returns:
        The reference, and the rows.
    """
    base, timed = in_order(rows, reference)
    times = next((row.times for row in timed if row.contender == base), [])
    compared = [
        dataclasses.replace(
            row,
            seconds=spread(row.times),
            trial_seconds=spread([done.trial_seconds for done in row.rounds]),
            training_seconds=spread([done.training_seconds for done in row.rounds]),
            overhead_seconds=spread([done.overhead_seconds for done in row.rounds]),
            ratio=paired_ratio(row.times, times),
        )
        for row in timed
    ]
    return base, [*compared, *(row for row in rows if not row.rounds)]
