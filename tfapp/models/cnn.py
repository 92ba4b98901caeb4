"""A convolutional network that is small enough for a laptop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tfapp.models.checks import check_images, fraction, positive_size, positive_sizes
from tfapp.models.convolution import conv3x3, norm
from tfapp.models.dropout import Dropout
from tfapp.models.trunk import TrunkAndHead


@keras.saving.register_keras_serializable(package="tfapp")
class CNN(TrunkAndHead):
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
        super().__init__(outputs, name=name, dtype=dtype)
        self.filters = positive_sizes("filters", filters)
        self.dense = positive_size("dense", dense)
        self.dropout = fraction("dropout", dropout)
        policy = self.dtype_policy
        self.compose(
            [
                *(
                    layer
                    for i, width in enumerate(self.filters)
                    for layer in _block(i, width, policy)
                ),
                keras.layers.Flatten(name="flatten", dtype=policy),
                Dropout(self.dropout, name="dropout", dtype=policy),
                keras.layers.Dense(self.dense, "relu", name="dense", dtype=policy),
            ]
        )

    def check_features(self, feature_shape: tuple[int | None, ...]) -> None:
        """Refuses examples that are no images."""
        check_images("cnn", feature_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "filters": list(self.filters),
            "dense": self.dense,
            "dropout": self.dropout,
        }


def _block(index: int, width: int, policy: Any) -> list[keras.layers.Layer]:
    """Returns convolution, normalization, relu and pooling; halves height and width."""
    return [
        conv3x3(width, name=f"conv_{index}", dtype=policy),
        norm(name=f"norm_{index}", dtype=policy),
        keras.layers.Activation("relu", name=f"relu_{index}", dtype=policy),
        keras.layers.MaxPooling2D(2, padding="same", name=f"pool_{index}", dtype=policy),
    ]
