"""A model of one's own: any `keras.Model` subclass will do, and it need not know tfapp."""

import keras


class Mine(keras.Model):
    """Two dense layers around a skip connection; `outputs` is filled in from the data."""

    def __init__(self, outputs: int, width: int = 64) -> None:
        super().__init__()
        self.flatten = keras.layers.Flatten()
        self.first = keras.layers.Dense(width, activation="relu")
        self.second = keras.layers.Dense(width, activation="relu")
        self.head = keras.layers.Dense(outputs, dtype="float32")

    def call(self, x: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Returns logits `[batch, outputs]`."""
        x = self.first(self.flatten(x))
        return self.head(x + self.second(x))
