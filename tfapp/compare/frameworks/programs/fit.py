"""Keras: layers, loss and optimizer are named, and `fit` does the rest."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

Arrays = dict[str, Any]

NAMES = ("w1", "b1", "w2", "b2", "w3", "b3")


def forward() -> Any:
    """Returns layers of 256, 128 and 10 units."""
    return keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(10),
        ]
    )


def load(model: Any, weights: Arrays) -> None:
    """Puts kernels `[inputs, outputs]` and biases `[outputs]` in place of those drawn by Keras."""
    model.set_weights([weights[name] for name in NAMES])


class Trainer:
    """Trains batch after batch, in the order of the rows and again from the start."""

    def __init__(
        self, images: Any, labels: Any, weights: Arrays, learning_rate: float, batch_size: int
    ) -> None:
        self._model = forward()
        load(self._model, weights)
        self._model.compile(
            optimizer=keras.optimizers.SGD(learning_rate), loss="mean_squared_error"
        )
        rows = tf.data.Dataset.from_tensor_slices((images, tf.one_hot(labels, 10)))
        self._batches = rows.batch(batch_size)
        self._done = 0

    def run(self, steps: int) -> float:
        """Trains `steps` steps more and returns what fit tells: the mean loss of all their rows."""
        start = self._done % len(self._batches)
        batches = self._batches.repeat().skip(start).take(steps)
        history = self._model.fit(batches, shuffle=False, verbose=0)
        self._done += steps
        return float(history.history["loss"][-1])

    def weights(self) -> Arrays:
        """Returns the weights as they are now."""
        return dict(zip(NAMES, self._model.get_weights(), strict=True))
