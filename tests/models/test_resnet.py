from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tfapp.errors import ModelMismatch
from tfapp.models.resnet import ResidualBlock, ResNet


@pytest.mark.parametrize(("depth", "trainable"), [(20, 269_722), (56, 853_018)])
def test_size_of_the_paper(depth: int, trainable: int):
    # The paper's table 6 has 0.27 M and 0.85 M.
    model = ResNet(10, depth=depth)
    model.build((None, 32, 32, 3))
    assert sum(np.prod(w.shape) for w in model.trainable_weights) == trainable


def test_depth_counts_the_layers_with_weights():
    model = ResNet(10, depth=14)
    model.build((None, 8, 8, 1))
    assert sum(weight.path.endswith("kernel") for weight in model.weights) == 14


def test_second_and_third_stage_halve_the_image():
    model = ResNet(10, depth=14, width=4)
    shape, shapes = (None, 32, 32, 3), []
    for layer in model.trunk:
        shape = layer.compute_output_shape(shape)
        if isinstance(layer, ResidualBlock):
            shapes.append(shape[1:])
    assert shapes == [(32, 32, 4)] * 2 + [(16, 16, 8)] * 2 + [(8, 8, 16)] * 2


def test_block_without_residual_passes_the_shortcut():
    block = ResidualBlock(5, stride=2)
    x = np.random.default_rng(0).normal(size=(2, 7, 8, 3)).astype(np.float32)
    block.build(x.shape)
    block.residual[-1].gamma.assign(tf.zeros([5]))
    expected = np.zeros((2, 4, 4, 5), np.float32)
    expected[..., :3] = np.maximum(x[:, ::2, ::2], 0)
    np.testing.assert_array_equal(block(x), expected)
    assert block.compute_output_shape(x.shape) == expected.shape


def test_residual_is_added_to_the_shortcut():
    block = ResidualBlock(3)
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
    residual = x
    block.build(x.shape)
    for layer in block.residual:
        residual = layer(residual, training=False)
    np.testing.assert_allclose(block(x), np.maximum(x + residual, 0), atol=1e-6)


@pytest.mark.parametrize("depth", [2, 9, 18, 51])
def test_other_depths_are_refused(depth: int):
    with pytest.raises(ValueError, match=r"`depth` must be 6 n \+ 2: 8, 14, 20"):
        ResNet(10, depth=depth)


def test_table_rows_are_refused():
    with pytest.raises(ModelMismatch, match=r"'resnet' needs images .* shape \[30\].*--model mlp"):
        ResNet(2)(tf.zeros([2, 30]))
