"""Rows in Keras: a network that the notes print wrong, its initializers, and one trained by fit."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfapp.compare.notes.checks import CLOSED_FORM, NUMPY, Record
from tfapp.compare.notes.numpy_programs import (
    dense_parameters,
    descend,
    forward,
    squared_error,
)

IMAGE = (128, 128, 3)
SMALL_IMAGE = (8, 8, 3)  # the whole network but for the height of its first kernel
HIDDEN = (1024, 512, 128, 32, 8, 3)


class NeuralNetwork(keras.Model):
    """Seven dense layers on a flattened image, the last with a sigmoid.

    Takes images `[B, H, W, C]` and returns probabilities `[B, 1]`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flatten = keras.layers.Flatten()
        self.hidden = [keras.layers.Dense(units, activation="relu") for units in HIDDEN]
        self.out = keras.layers.Dense(1, activation="sigmoid")

    def call(self, images: Any) -> Any:
        """Returns `[B, 1]` for images `[B, H, W, C]`."""
        x = self.flatten(images)
        for layer in self.hidden:
            x = layer(x)
        return self.out(x)


class PrintedNetwork(keras.Model):
    """The last layer under the name that the notes give it, which every Keras model has already."""

    def __init__(self) -> None:
        super().__init__()
        self.output = keras.layers.Dense(1, activation="sigmoid")


def neural_network(record: Record) -> None:
    """Row 4: as printed, and under another name."""
    record.fails(
        "NeuralNetwork()",
        "property 'output'",
        AttributeError,
        NeuralNetwork=PrintedNetwork,
    )
    found, shape = size_of_network(IMAGE)
    pixels = int(np.prod(IMAGE))
    record.exactly("parameters", dense_parameters((pixels, *HIDDEN, 1)), found)
    record.relation("outputs", "[None, 1]", shape, shape == [None, 1])
    model = NeuralNetwork()
    images = np.random.RandomState(0).rand(4, *SMALL_IMAGE).astype(np.float32)
    outputs = model(images)
    weights = [value.astype(np.float64) for value in model.get_weights()]
    _, logits = forward(images.reshape(4, -1).astype(np.float64), weights)
    expected = 1 / (1 + np.exp(-logits))
    name = f"outputs for images of {' x '.join(map(str, SMALL_IMAGE))}"
    record.close(name, expected, outputs, tolerance=1e-5, origin=NUMPY)


def initializer(record: Record) -> None:
    """Row 5: assigned before the layer is built, and after; and what the default is."""
    layer = keras.layers.Dense(300, activation="relu")
    default = type(layer.kernel_initializer).__name__
    record.relation("default with a ReLU", "GlorotUniform", default, default == "GlorotUniform")
    model = NeuralNetwork()
    default = type(model.out.kernel_initializer).__name__
    record.relation("default with a sigmoid", "GlorotUniform", default, default == "GlorotUniform")

    layer.build((None, 200))
    kernel = layer.kernel.numpy()
    limit = (6 / (200 + 300)) ** 0.5  # of Glorot; He's would be sqrt(6 / 200) = 0.173
    largest = np.abs(kernel).max()
    record.close("largest weight of 200 x 300", limit, largest, tolerance=0.01, origin=CLOSED_FORM)
    layer.kernel_initializer = keras.initializers.Ones()
    layer(np.ones((1, 200), np.float32))
    record.equal("kernel of a built layer, after an assignment", kernel, layer.kernel)

    model.out.kernel_initializer = keras.initializers.Ones()
    model(np.zeros((1, *SMALL_IMAGE), np.float32))
    record.equal("kernel of a layer built after an assignment", np.ones((3, 1)), model.out.kernel)


def sequential(record: Record) -> None:
    """Row 16: dense 100 with a ReLU and dense 1000, at the rate of the notes and at 1e-2."""
    record.fails("SGD(lr=1e-5)", "'lr'", ValueError, SGD=keras.optimizers.SGD)
    line = "tf.keras.losses.mean_squared_error"
    record.fails(line, "mean_squared_error", AttributeError, tf=tf)
    random = np.random.RandomState(0)
    x, y = random.randn(64, 1000), random.randn(64, 1000)
    model = build_sequential()
    start = model.get_weights()
    for rate, least, most in ((1e-5, 1e-5, 4e-5), (1e-2, 1e-2, 4e-2)):
        model.set_weights(start)
        losses = fit(model, x, y, rate)
        found = descend(lambda step, w: squared_error(x, y, w, y.size), start, rate, 50)
        name = f"loss of every epoch at {rate:g}"
        record.close(name, [loss for loss, _ in found], losses, tolerance=1e-5, origin=NUMPY)
        record.between(f"fall in 50 epochs at {rate:g}", least, losses[0] - losses[-1], most)
    # Targets have a variance of 1; a kernel of Glorot's adds 2 fan_in / (fan_in + fan_out), and
    # the ReLU lets half of it through.
    expected = 1 + (2000 / 1100 / 2) * (200 / 1100)
    record.close("loss before training", expected, losses[0], tolerance=0.01, origin=CLOSED_FORM)


def size_of_network(image: tuple[int, ...]) -> tuple[int, list[int | None]]:
    """Returns the number of parameters and the shape of the outputs, for images of this shape.

    The network is built in a graph, which describes its variables and gives them no memory: the
    kernels of row 4 would take 200 MB.
    """
    with tf.Graph().as_default():
        model = NeuralNetwork()
        outputs = model(tf.compat.v1.placeholder(tf.float32, (None, *image)))
        return model.count_params(), outputs.shape.as_list()


def build_sequential() -> keras.Sequential:
    """Builds 1000-100-1000 with a ReLU, from Glorot's initializer with fixed seeds."""
    first, second = (keras.initializers.GlorotUniform(seed) for seed in (0, 1))
    model = keras.Sequential(
        [
            keras.Input((1000,)),
            keras.layers.Dense(100, activation="relu", kernel_initializer=first),
            keras.layers.Dense(1000, kernel_initializer=second),
        ]
    )
    model.compile(optimizer=keras.optimizers.SGD(), loss="mean_squared_error")
    return model


def fit(model: keras.Sequential, x: Any, y: Any, rate: float) -> list[float]:
    """Trains 50 epochs of one batch; returns the loss of each.

    Args:
        model: Compiled with an optimizer.
        x: `[B, in]`.
        y: `[B, out]`.
        rate: Of gradient descent.
    """
    model.optimizer.learning_rate = rate
    # `fit` makes an iterator in every epoch, and that of a data set with one element takes a
    # quarter of the time of that of two arrays.
    batch = tf.data.Dataset.from_tensors((x.astype(np.float32), y.astype(np.float32)))
    losses: list[float] = model.fit(batch, epochs=50, shuffle=False, verbose=0).history["loss"]
    return losses
