"""A model with every kind of state that a layer may keep between steps."""

from __future__ import annotations

import keras


class EveryState(keras.Model):
    """Weights, moving averages of a normalization, and generators of noise and dropout."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.stack = [
            keras.layers.GaussianNoise(0.1),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(outputs),
        ]

    def call(self, x: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Returns logits `[batch, outputs]`."""
        for layer in self.stack:
            x = layer(x, training=training)
        return x
