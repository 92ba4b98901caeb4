"""Models as users write them, whose rows stand alone."""

from __future__ import annotations

import time

import keras
import models_for_tests as written
import numpy as np
import other_models_for_tests as others
import pytest
from keras import layers

from tfapp.serving.independence import independent_signatures
from tfapp.serving.mixing import join, split
from tfapp.serving.row_wise import obstacle
from tfapp.serving.servable import load_servable


def transformer(inputs):
    x = layers.MultiHeadAttention(2, 4)(inputs, inputs)
    x = layers.LayerNormalization()(x + inputs)
    x = layers.Dense(8, activation="gelu")(x)
    return layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling1D()(x))


def in_turn(*steps):
    def apply(x):
        for step in steps:
            x = step(x)
        return x

    return apply


def convolutional():
    return in_turn(
        layers.Rescaling(1 / 255.0), layers.ZeroPadding2D(1), layers.Conv2D(4, 3, dilation_rate=2),
        layers.BatchNormalization(), layers.ReLU(6), layers.SpatialDropout2D(0.2),
        layers.DepthwiseConv2D(3), layers.SeparableConv2D(4, 3), layers.Conv2DTranspose(3, 3, 2),
        layers.UpSampling2D(2), layers.Cropping2D(1), layers.MaxPooling2D(2), layers.Flatten(),
        layers.Dense(3),
    )  # fmt: skip


KERAS = {
    "dense": ((8,), lambda: in_turn(layers.Dense(4, "relu"), layers.Dropout(0.5), layers.Dense(2))),
    "norms": ((8,), lambda: in_turn(
        layers.Normalization(mean=1.0, variance=2.0), layers.BatchNormalization(),
        layers.LayerNormalization(), layers.UnitNormalization(), layers.Dense(3, "swish"))),
    "sequence": ((5, 8), lambda: in_turn(layers.Dense(4, "relu"), layers.Flatten())),
    "any-sequence": ((None, 8), lambda: transformer),
    "transformer": ((5, 8), lambda: transformer),
    "convolutional": ((14, 14, 3), convolutional),
    "causal": ((20, 8), lambda: in_turn(
        layers.Conv1D(4, 3, padding="causal", dilation_rate=2), layers.GlobalMaxPooling1D())),
    "reshaped": ((8,), lambda: in_turn(
        layers.Reshape((4, -1)), layers.Permute((2, 1)), layers.Reshape((8,)),
        layers.RepeatVector(3), layers.Dense(2))),
}  # fmt: skip


@pytest.mark.parametrize("name", KERAS)
def test_exports_of_keras_are_proven_and_compute_the_same_together(tmp_path, name):
    shape, layer = KERAS[name]
    inputs = keras.Input(shape)
    keras.Model(inputs, layer()(inputs)).export(tmp_path / "1", verbose=False)
    servable = load_servable("model", 1, tmp_path / "1")

    assert "serving_default" in independent_signatures(servable, {})
    call = servable.signature_call(servable.signatures["serving_default"])
    random = np.random.default_rng(0)
    sizes = [size or 5 for size in shape]
    parts = [[random.normal(size=(rows, *sizes)).astype(np.float32)] for rows in (1, 3, 2)]
    parts[1][0][1] = np.nan
    parts[2][0][0] = 1e6
    for part, (found,) in zip(parts, split(call.execute(*join(parts)), [1, 3, 2]), strict=True):
        np.testing.assert_allclose(found, call.execute(*part)[0], rtol=1e-4, atol=1e-4)
    servable.close()


@pytest.mark.parametrize(
    "write",
    [
        written.write_half_plus_two, written.write_saved_module, written.write_table_v1,
        written.write_table_v2, written.write_example_classifier, others.v1_simple_save,
        others.keras_export_two, others.keras_export_words, others.saved_keras_words,
        others.module_without_signatures,
    ],
    ids=lambda write: write.__name__,
)  # fmt: skip
def test_all_signatures_are_proven(tmp_path, write):
    write(tmp_path / "1")
    servable = load_servable("model", 1, tmp_path / "1")

    signatures = {name for name in servable.signatures if not name.startswith("__")}
    assert independent_signatures(servable, {}) == signatures
    servable.close()


def test_a_model_of_some_thousand_operations_is_proven_in_less_than_a_second(tmp_path):
    model = keras.applications.ResNet50(input_shape=(32, 32, 3), weights=None, classes=10)
    model.export(tmp_path / "1", verbose=False)
    servable = load_servable("model", 1, tmp_path / "1")
    graph = servable.graph.as_graph_def()
    began = time.process_time()

    assert obstacle(graph, servable.signatures["serving_default"]) is None
    assert time.process_time() - began < 1.0
    servable.close()
