"""A convolutional network that is small enough for a laptop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras

from tfapp.models.catalogue import OutputKind
from tfapp.models.checks import check_images, fraction, positive_size, positive_sizes


@keras.saving.register_keras_serializable(package="tfapp")
class CNN(keras.Model):
    """A small convolutional network with batch normalization.

    For each entry of `filters`: convolution 3 x 3, batch normalization, relu, pooling by 2; then
    dropout, one dense relu layer, and the output. Takes images from 8 x 8 x 1 up.

    Args:
        outputs: Width of the output.
        filters: Channels of each convolution.
        dense: Width of the dense layer.
        dropout: Share of the last image's values dropped in training, in [0, 1).
        name: First part of the variables' paths.
        dtype: Keras dtype policy; the global one when omitted.
    """

    output_kind: ClassVar[OutputKind] = "logits"

    def __init__(
        self,
        outputs: int,
        *,
        filters: Sequence[int] = (32, 64),
        dense: int = 128,
        dropout: float = 0.25,
        name: str = "cnn",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.outputs = positive_size("outputs", outputs)
        self.filters = positive_sizes("filters", filters)
        self.dense = positive_size("dense", dense)
        self.dropout = fraction("dropout", dropout)
        policy = self.dtype_policy
        self.trunk = [
            *(layer for i, width in enumerate(self.filters) for layer in _block(i, width, policy)),
            keras.layers.Flatten(name="flatten", dtype=policy),
            keras.layers.Dropout(self.dropout, name="dropout", dtype=policy),
            keras.layers.Dense(self.dense, "relu", name="dense", dtype=policy),
        ]
        # The type of the variables: float32 logits, and so a float32 loss, under mixed precision.
        self.head = keras.layers.Dense(self.outputs, name="head", dtype=self.variable_dtype)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds the layers one after another.

        Raises:
            ModelMismatch: Examples are not images.
        """
        check_images("cnn", input_shape[1:])
        shape = input_shape
        for layer in [*self.trunk, self.head]:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def call(self, x: Any, training: bool = False) -> Any:
        """Returns logits `[batch, outputs]` for images `[batch, height, width, channels]`."""
        for layer in self.trunk:
            x = layer(x, training=training)
        return self.head(x)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "outputs": self.outputs,
            "filters": list(self.filters),
            "dense": self.dense,
            "dropout": self.dropout,
            "name": self.name,
            "dtype": self.dtype_policy.name,
        }


def _block(index: int, width: int, policy: Any) -> list[keras.layers.Layer]:
    """Returns convolution, normalization, relu and pooling; halves height and width."""
    return [
        # No bias: batch normalization takes every constant out again.
        keras.layers.Conv2D(
            width,
            3,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"conv_{index}",
            dtype=policy,
        ),
        # Momentum 0.9: Keras's 0.99 lags hundreds of steps, and digits has about 20 an epoch.
        keras.layers.BatchNormalization(momentum=0.9, name=f"norm_{index}", dtype=policy),
        keras.layers.Activation("relu", name=f"relu_{index}", dtype=policy),
        keras.layers.MaxPooling2D(2, padding="same", name=f"pool_{index}", dtype=policy),
    ]
