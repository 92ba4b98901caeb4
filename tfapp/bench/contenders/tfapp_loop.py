"""tfapp's own loops, put together by the same functions as `tfapp train`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tfapp.bench.contenders.base import Contender, Losses, Task, one_by_one
from tfapp.bench.examples import initial_weights
from tfapp.bench.workloads import ADAM, Workload
from tfapp.config import Config
from tfapp.data.pipeline import epoch_order
from tfapp.training.assembly import assemble
from tfapp.training.calibration import choose_loop
from tfapp.training.loops import Loop, build_loop
from tfapp.training.tape import TapeStep

_LOSSES = {
    "squared_error": "mean_squared_error",
    "cross_entropy": "sparse_categorical_crossentropy",
    "output": "model_output",
}
# `auto` looks at the length of a run: one that is long enough for any loop to pay.
_EPOCHS = 100_000
_SEED = 0


class TfappLoop(Contender):
    """One named loop over a step with scaling, finite check, loss and metrics."""

    loop_name: ClassVar[str]

    def __init__(self, task: Task) -> None:
        keras.utils.set_random_seed(_SEED)
        source = in_stored_order(task)
        self._parts = assemble(config_of(task.workload, source), data_dir=task.folder)
        set_weights(self._parts.predictor.model, task.workload)
        parts = self._parts
        self._step = TapeStep(parts.predictor, parts.loss, parts.optimizer, parts.metrics)
        self._loop = self._make_loop()
        self._loop.start(0)

    def first_losses(self, steps: int) -> Sequence[Losses]:
        """Trains on the first batches of the stored order and returns their losses."""
        return one_by_one(self._next_loss() for _ in range(steps))

    def run(self, steps: int) -> None:
        """Trains `steps` steps more.

        Raises:
            RuntimeError: One of them was not finite; the loop ends there, so the rest was not done.
        """
        if not self._loop.run(steps).finite:
            raise RuntimeError("a step was not finite")

    def loss(self) -> float:
        """Returns the newest loss."""
        value = self._parts.metrics.result()["loss"]
        self._parts.metrics.reset()
        return value

    def _make_loop(self) -> Loop:
        config = self._parts.config
        return build_loop(
            self.loop_name,
            self._step,
            self._parts.splits.train,
            batch_size=config.data.batch_size,
            seed=config.seed,
        )

    def _next_loss(self) -> float:
        self._parts.metrics.reset()
        self.run(1)
        return self.loss()


class Resident(TfappLoop):
    """Data on the device, XLA compiles the whole loop."""

    loop_name = "resident"


class Streaming(TfappLoop):
    """Data from a `tf.data` iterator, TensorFlow's own kernels."""

    loop_name = "streaming"


class StreamingXla(TfappLoop):
    """Data from a `tf.data` iterator, XLA compiles the step."""

    loop_name = "streaming_xla"


class Eager(TfappLoop):
    """Step by step in Python."""

    loop_name = "eager"


class Auto(TfappLoop):
    """The loop that `tfapp train` finds by trying; finding it counts as compiling."""

    def _make_loop(self) -> Loop:
        self._choice = choose_loop(self._parts, self._step)
        return self._choice.loop

    def remarks(self) -> str:
        """Returns the name of the loop."""
        return self._choice.name


def config_of(workload: Workload, source: Path) -> Config:
    """Returns what a user would configure to train `workload` on the file `source`."""
    return Config.model_validate(
        {
            "seed": _SEED,
            "data": {
                "source": str(source),
                "batch_size": workload.batch_size,
                "task": "regression" if workload.loss == "output" else "classification",
            },
            "model": {"name": workload.architecture, "options": options_of(workload)},
            "train": {
                "epochs": _EPOCHS,
                "loss": _LOSSES[workload.loss],
                "optimizer": {
                    "name": workload.optimizer,
                    "learning_rate": workload.learning_rate,
                    **(ADAM if workload.optimizer == "adam" else {}),
                },
            },
        }
    )


def in_stored_order(task: Task, *, copies: int = 1) -> Path:
    """Writes the examples so that the shuffled first epoch visits them in the order of the source.

    tfapp shuffles every epoch. The checked losses are those of the stored order, so the stored
    order is turned back by what the first shuffle will do.

    Args:
        task: Tells where the source is and whether anything will be checked.
        copies: How often the training split is written, one copy after another.
    """
    if not task.checked:
        return task.source
    path = task.folder / "examples.npz"
    with np.load(task.source) as file:
        arrays = dict(file)
    size = copies * task.workload.examples
    order = epoch_order(size, tf.constant(_SEED, tf.int64), tf.constant(0, tf.int64)).numpy()
    for name in ("x_train", "y_train"):
        stored = np.concatenate([arrays[name]] * copies)
        arrays[name] = np.empty_like(stored)
        arrays[name][order] = stored
    np.savez(path, **arrays)
    return path


def set_weights(model: Any, workload: Workload) -> None:
    """Gives a built model the weights that every contender starts from."""
    for variable, weight in zip(model.trainable_variables, initial_weights(workload), strict=True):
        variable.assign(weight)


def options_of(workload: Workload) -> dict[str, Any]:
    """Returns the options of the registered model that make it the network of `workload`."""
    match workload.architecture:
        case "mlp":
            return {"hidden": list(workload.hidden)}
        case "two_layer":
            return {"hidden": workload.hidden[0]}
        case "cnn":
            # Random numbers are no part of what is compared: no two frameworks draw the same.
            *filters, dense = workload.hidden
            return {"filters": filters, "dense": dense, "dropout": 0.0}
    return {}
