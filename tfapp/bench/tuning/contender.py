"""What a contender is: given values and data, it searches, and then tells what it trained."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfapp.bench.tuning.results import TrainedTrial
from tfapp.bench.tuning.task import SEED, SearchTask, Values, values_of
from tfapp.data import load_splits
from tfapp.data.splits import Splits
from tfapp.settings import data_folder
from tfapp.tuning.oracles import Algorithm


@dataclass(frozen=True)
class Given:
    """What every contender is given.

    Attributes:
        task: Epochs and batch size.
        values: Of each trial, in order.
        splits: The examples, cut as `tfapp tune` cuts them.
    """

    task: SearchTask
    values: tuple[Values, ...]
    splits: Splits


class SearchContender(abc.ABC):
    """One way to run the trials of a search; made in a process of its own.

    Args:
        given: What to search.
    """

    def __init__(self, given: Given) -> None:
        self.given = given

    @abc.abstractmethod
    def search(self, folder: Path, trials: int) -> None:
        """Runs the first `trials` trials from the beginning, with all that a user would have.

        Args:
            folder: Empty; for whatever a search leaves behind.
            trials: How many.
        """

    @abc.abstractmethod
    def told(self) -> Sequence[TrainedTrial]:
        """Returns what the newest search trained, in order."""

    @abc.abstractmethod
    def train_alone(self, number: int) -> float:
        """Trains a trial of the newest search once more, outside of any search.

        Args:
            number: Of the trial, counted from 0.

        Returns:
            Seconds of its epochs and their validations, with everything compiled before.
        """

    def remarks(self) -> str:
        """Returns what a reader of the table should know besides, in a few words."""
        return ""


def give(task: SearchTask) -> Given:
    """Returns values and data; the same in every process."""
    config = task.config()
    assert config.tune is not None
    algorithm = Algorithm(config.tune, direction="max", seed=SEED, epochs=task.epochs)
    drawn = (algorithm.propose().values for _ in range(task.trials))
    return Given(
        task,
        tuple(values_of(values or {}) for values in drawn),
        load_splits(config.data, data_dir=data_folder()),
    )
