"""The layers that the networks for images are made of."""

from __future__ import annotations

from typing import Any

import keras

from tfapp.models.normalization import FusedBatchNormalization


def conv3x3(width: int, stride: int = 1, *, name: str, dtype: Any) -> keras.layers.Layer:
    """Returns a convolution without bias: batch normalization after it takes constants out."""
    return keras.layers.Conv2D(
        width,
        3,
        stride,
        "same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
        dtype=dtype,
    )


def norm(*, name: str, dtype: Any) -> keras.layers.Layer:
    """Returns batch normalization whose averages follow within tens of steps, not hundreds.

    Keras's momentum of 0.99 lags hundreds of steps, and digits has about 20 an epoch. On several
    replicas the statistics are the global batch's, so that a model trains as on one.
    """
    return FusedBatchNormalization(momentum=0.9, synchronized=True, name=name, dtype=dtype)
