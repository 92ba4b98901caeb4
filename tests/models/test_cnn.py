from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfapp.errors import ExitCode, ModelMismatch
from tfapp.models.cnn import CNN


@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (7, 9, 3)])
def test_takes_images_of_any_size(shape: tuple[int, ...]):
    assert CNN(10)(tf.zeros([2, *shape])).shape == (2, 10)


def test_convolutions_before_normalization_have_no_bias():
    model = CNN(10)
    model.build((None, 8, 8, 1))
    paths = [weight.path for weight in model.weights]
    assert "cnn/conv_0/kernel" in paths
    assert "cnn/conv_0/bias" not in paths


def test_training_moves_the_averages_of_batch_normalization():
    model = CNN(10)
    model.build((None, 8, 8, 1))
    mean = next(w for w in model.non_trainable_weights if w.path == "cnn/norm_0/moving_mean")
    model(5 + tf.random.normal([16, 8, 8, 1]), training=True)
    assert np.abs(mean.numpy()).max() > 0


def test_learns_to_tell_bars_apart():
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, 64)
    images = random.normal(0, 0.3, (64, 8, 8, 1)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        image[3, :, 0] += label
        image[:, 3, 0] += 1 - label
    model, optimizer = CNN(2, filters=[8, 8], dense=16), keras.optimizers.Adam(0.01)
    for _ in range(20):
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
    assert np.mean(np.argmax(model(images), axis=1) == labels) == 1.0


def test_table_rows_are_refused_with_models_that_take_them():
    with pytest.raises(ModelMismatch) as caught:
        CNN(3)(tf.zeros([2, 4]))
    assert str(caught.value) == (
        "model 'cnn' needs images [height, width, channels], but one example here has shape [4]."
        " Models that take it: course, mlp, parallel_block, raw_mlp, two_layer; e.g. --model mlp."
    )
    assert caught.value.exit_code == ExitCode.USAGE
