"""A HyperModel of KerasTuner, as its guides write them: it need not know tfapp."""

import keras
import keras_tuner


class MyHyperModel(keras_tuner.HyperModel):
    """One to three dense layers; widths, dropout and learning rate can be searched."""

    def build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        """Returns a compiled classifier of ten classes."""
        model = keras.Sequential([keras.layers.Flatten()])
        for i in range(hp.Int("layers", 1, 3)):
            model.add(keras.layers.Dense(hp.Int(f"units_{i}", 32, 256, step=32), "relu"))
        model.add(keras.layers.Dropout(hp.Float("dropout", 0.0, 0.5)))
        model.add(keras.layers.Dense(10, "softmax"))
        rate = hp.Float("learning_rate", 1e-4, 1e-2, sampling="log")
        model.compile(
            keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
        )
        return model
