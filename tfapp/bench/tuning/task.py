"""What is searched: the trials that every contender runs, from one space and one seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tfapp.config import Config

SOURCE = "digits"
SEED = 20_261_121
# At neither end does a trial fail to learn, or learn by luck: accuracies can be compared.
LEARNING_RATES = (3e-4, 3e-2)
UNITS = (64, 128, 256)
DROPOUTS = (0.0, 0.25)


@dataclass(frozen=True)
class Values:
    """The values of one trial.

    Attributes:
        learning_rate: Of Adam.
        units: Width of the first hidden layer; the second has half.
        dropout: Share of the outputs of each hidden layer that is dropped in training.
    """

    learning_rate: float
    units: int
    dropout: float

    @property
    def network(self) -> tuple[int, float]:
        """What has to be compiled for itself."""
        return self.units, self.dropout

    @property
    def hidden(self) -> tuple[int, int]:
        """Widths of the hidden layers."""
        return hidden_of(self.units)


@dataclass(frozen=True)
class SearchTask:
    """How much of it.

    Attributes:
        trials: Trainings with values of their own.
        epochs: Passes over the training split, each followed by a validation.
        batch_size: Examples of one step.
    """

    trials: int = 20
    epochs: int = 10
    batch_size: int = 64

    def config(self, trials: int | None = None) -> Config:
        """Returns what a user of `tfapp tune` would write.

        Args:
            trials: Only so many of the first trials.
        """
        return Config.model_validate(
            {
                "seed": SEED,
                "data": {"source": SOURCE, "batch_size": self.batch_size},
                "model": {"name": "mlp"},
                "train": {"epochs": self.epochs},
                "tune": {
                    "algorithm": "random",
                    "trials": trials or self.trials,
                    "space": {
                        "train.optimizer.learning_rate": {"float": LEARNING_RATES, "log": True},
                        "model.options.hidden": {"choice": [list(hidden_of(u)) for u in UNITS]},
                        "model.options.dropout": {"choice": list(DROPOUTS)},
                    },
                },
            }
        )


def hidden_of(units: int) -> tuple[int, int]:
    """Returns the widths of the hidden layers, the first given."""
    return units, units // 2


def values_of(values: Mapping[str, Any]) -> Values:
    """Returns the values of a trial of `tfapp tune`, which has them by config key."""
    return Values(
        learning_rate=values["train.optimizer.learning_rate"],
        units=values["model.options.hidden"][0],
        dropout=values["model.options.dropout"],
    )
