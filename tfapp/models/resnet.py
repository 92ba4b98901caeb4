"""The residual network of He and others, in the form they used on CIFAR."""

from __future__ import annotations

from typing import Any

import keras

from tfapp.models.checks import check_images, positive_size
from tfapp.models.convolution import conv3x3, norm
from tfapp.models.trunk import TrunkAndHead


@keras.saving.register_keras_serializable(package="tfapp")
class ResidualBlock(keras.layers.Layer):
    """relu(x + norm(conv(relu(norm(conv(x)))))), convolutions 3 x 3.

    Where the block halves the image or widens it, the shortcut takes every second pixel and
    fills new channels with zeros, so that it has no parameters.

    Args:
        width: Channels of the output; at least those of the input.
        stride: 1, or 2 to halve height and width.
        **kwargs: `name` and `dtype`, as in every Keras layer.

    Source: arXiv 1512.03385, section 4.2 and option A of section 4.1.
    """

    def __init__(self, width: int, stride: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.stride = stride
        policy = self.dtype_policy
        self.residual = [
            conv3x3(width, stride, name="conv_0", dtype=policy),
            norm(name="norm_0", dtype=policy),
            keras.layers.Activation("relu", name="relu_0", dtype=policy),
            conv3x3(width, 1, name="conv_1", dtype=policy),
            norm(name="norm_1", dtype=policy),
        ]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds the layers one after another."""
        shape = input_shape
        for layer in self.residual:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def call(self, x: Any, training: bool = False) -> Any:
        """Returns `[batch, height / stride, width / stride, width]`, rounded up."""
        shortcut = x[:, :: self.stride, :: self.stride, :]
        added = self.width - x.shape[-1]
        if added:
            shortcut = keras.ops.pad(shortcut, [(0, 0), (0, 0), (0, 0), (0, added)])
        for layer in self.residual:
            x = layer(x, training=training)
        return keras.ops.relu(x + shortcut)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape of what `call` gives."""
        return self.residual[0].compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "width": self.width, "stride": self.stride}


@keras.saving.register_keras_serializable(package="tfapp")
class ResNet(TrunkAndHead):
    """A residual network for small images.

    One convolution, then three stages of (depth - 2) / 6 blocks with `width`, 2 `width` and
    4 `width` channels, each stage after the first at half the resolution; then the mean over
    the image and the output. Takes images from 8 x 8 up.

    Args:
        outputs: Width of the output.
        depth: Layers with weights: 8, 14, 20, 26, ...; 20 is the paper's smallest.
        width: Channels of the first stage.
        name: First part of the variables' paths.
        dtype: Keras dtype policy; the global one when omitted.

    Source: arXiv 1512.03385 (He et al. 2015), section 4.2; ResNet-20 has 0.27 million parameters.
    """

    def __init__(
        self,
        outputs: int,
        *,
        depth: int = 20,
        width: int = 16,
        name: str = "resnet",
        dtype: str | None = None,
    ) -> None:
        super().__init__(outputs, name=name, dtype=dtype)
        self.depth = positive_size("depth", depth)
        self.width = positive_size("width", width)
        if depth < 8 or depth % 6 != 2:
            raise ValueError(f"`depth` must be 6 n + 2: 8, 14, 20, 26, ..., found {depth}")
        policy = self.dtype_policy
        self.compose(
            [
                conv3x3(width, 1, name="conv", dtype=policy),
                norm(name="norm", dtype=policy),
                keras.layers.Activation("relu", name="relu", dtype=policy),
                *_stages(width, (depth - 2) // 6, policy),
                keras.layers.GlobalAveragePooling2D(name="mean", dtype=policy),
            ]
        )

    def check_features(self, feature_shape: tuple[int | None, ...]) -> None:
        """Refuses examples that are no images."""
        check_images("resnet", feature_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "depth": self.depth,
            "width": self.width,
        }


def _stages(width: int, blocks: int, policy: Any) -> list[ResidualBlock]:
    return [
        ResidualBlock(
            width * 2**stage,
            stride=2 if stage and not block else 1,
            name=f"stage_{stage}_block_{block}",
            dtype=policy,
        )
        for stage in range(3)
        for block in range(blocks)
    ]
