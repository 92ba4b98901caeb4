"""KerasTuner as documented: a function of hyperparameters to a compiled model, then `search`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import keras
import keras_tuner

from tfapp.bench.tuning.contender import Given, SearchContender
from tfapp.bench.tuning.results import TrainedTrial
from tfapp.bench.tuning.task import (
    DROPOUTS,
    LEARNING_RATES,
    SEED,
    UNITS,
    Values,
    hidden_of,
)
from tfapp.data import fit_preprocess, steps_per_epoch
from tfapp.data.splits import ArraySplit, Split


class KerasTunerSearch(SearchContender):
    """Its `Tuner` with `fit` on arrays, each trial compiled and saved the way it does by itself.

    The features are scaled before any clock runs; tfapp scales them in every step.

    Args:
        given: Which trials, on which data.
    """

    whole_epochs: ClassVar[bool] = False

    def __init__(self, given: Given) -> None:
        super().__init__(given)
        scale = fit_preprocess(given.splits, "standard")

        def arrays(split: Split) -> tuple[Any, Any]:
            assert isinstance(split, ArraySplit)
            return scale(split.features).numpy(), split.labels

        self._training, self._validation = (
            arrays(given.splits.train),
            arrays(given.splits.validation),
        )
        steps = steps_per_epoch(given.splits.train.size, given.task.batch_size)
        self._model = TunedNetwork(
            self._training[0].shape[1:],
            len(given.splits.info.classes),
            steps_per_execution=steps if self.whole_epochs else 1,
        )

    def search(self, folder: Path, trials: int) -> None:
        """Makes a tuner for the first `trials` trials and has it search."""
        keras.utils.set_random_seed(SEED)
        self._model.trained.clear()
        tuner = keras_tuner.Tuner(
            oracle=GivenTrials(self.given.values[:trials]),
            hypermodel=self._model,
            directory=str(folder),
            project_name="search",
        )
        tuner.search(*self._training, **self._fit_options(self.given.task.epochs))

    def told(self) -> Sequence[TrainedTrial]:
        """Returns what `fit` said of each trial."""
        return tuple(self._model.trained)

    def train_alone(self, number: int) -> float:
        """Calls `fit` on a model that has been fitted before, so that nothing is traced."""
        parameters = keras_tuner.HyperParameters()
        parameters.values = asdict(self.given.values[number])
        model = self._model.build(parameters)
        model.fit(*self._training, **self._fit_options(1))
        started = time.perf_counter()
        model.fit(*self._training, **self._fit_options(self.given.task.epochs))
        return time.perf_counter() - started

    def _fit_options(self, epochs: int) -> dict[str, Any]:
        return {
            "validation_data": self._validation,
            "epochs": epochs,
            "batch_size": self.given.task.batch_size,
            "verbose": 0,
        }


class EpochAnExecution(KerasTunerSearch):
    """The same, with all steps of an epoch in one execution: the fastest `fit` for small steps."""

    whole_epochs = True


class TunedNetwork(keras_tuner.HyperModel):
    """tfapp's `mlp` in Keras's own layers, compiled.

    Args:
        feature_shape: Shape of one example.
        classes: Width of the last layer.
        steps_per_execution: As `compile` takes it.
    """

    def __init__(
        self, feature_shape: tuple[int, ...], classes: int, *, steps_per_execution: int
    ) -> None:
        super().__init__()
        self._feature_shape = feature_shape
        self._classes = classes
        self._steps_per_execution = steps_per_execution
        self.trained: list[TrainedTrial] = []

    def build(self, hp: Any) -> keras.Model:
        """Returns the model of a trial."""
        dropout = hp.Choice("dropout", list(DROPOUTS))
        layers: list[Any] = [keras.Input(self._feature_shape), keras.layers.Flatten()]
        for width in hidden_of(hp.Choice("units", list(UNITS))):
            layers += [keras.layers.Dense(width, "relu"), keras.layers.Dropout(dropout)]
        model = keras.Sequential([*layers, keras.layers.Dense(self._classes)])
        model.compile(
            keras.optimizers.Adam(hp.Float("learning_rate", *LEARNING_RATES, sampling="log")),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            steps_per_execution=self._steps_per_execution,
        )
        return model

    def fit(self, hp: Any, model: keras.Model, *args: Any, **named: Any) -> Any:
        """Fits it, and notes what came of it."""
        history = model.fit(*args, **named)
        accuracies = history.history["val_accuracy"]
        values = Values(hp.get("learning_rate"), hp.get("units"), hp.get("dropout"))
        self.trained.append(TrainedTrial(values, len(accuracies), accuracies[-1]))
        return history


class GivenTrials(keras_tuner.Oracle):
    """An algorithm that draws nothing: the trials are given.

    Args:
        trials: Their values, in order.
    """

    def __init__(self, trials: Sequence[Values]) -> None:
        super().__init__(objective="val_accuracy", max_trials=len(trials))
        self._given = [asdict(values) for values in trials]

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the values of the next trial."""
        return {"status": "RUNNING", "values": dict(self._given[int(trial_id)])}
