"""What the networks for classes and numbers share: a trunk of layers and a dense head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras

from tfapp.models.catalogue import OutputKind
from tfapp.models.checks import positive_size


class TrunkAndHead(keras.Model):
    """Layers one after another, then one dense layer to the outputs.

    A subclass makes its layers in the constructor and hands them to `compose`.

    Args:
        outputs: Width of the output.
        name: First part of the variables' paths.
        dtype: Keras dtype policy; the global one when omitted.
    """

    output_kind: ClassVar[OutputKind] = "logits"

    def __init__(self, outputs: int, *, name: str, dtype: str | None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.outputs = positive_size("outputs", outputs)

    def compose(self, trunk: Sequence[keras.layers.Layer]) -> None:
        """Takes the layers between features and head, in order."""
        self.trunk = list(trunk)
        # The type of the variables: float32 logits, and so a float32 loss, under mixed precision.
        self.head = keras.layers.Dense(self.outputs, name="head", dtype=self.variable_dtype)

    def check_features(self, feature_shape: tuple[int | None, ...]) -> None:
        """Refuses examples that the layers cannot take; any shape will do unless overridden."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds the layers one after another.

        Raises:
            ModelMismatch: Examples do not have the shape that the model needs.
        """
        self.check_features(input_shape[1:])
        shape = input_shape
        for layer in [*self.trunk, self.head]:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def call(self, x: Any, training: bool = False) -> Any:
        """Returns logits `[batch, outputs]` for features `[batch, *feature_shape]`."""
        for layer in self.trunk:
            x = layer(x, training=training)
        return self.head(x)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"outputs": self.outputs, "name": self.name, "dtype": self.dtype_policy.name}
