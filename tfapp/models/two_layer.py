"""The two-layer network of the frameworks lecture."""

from __future__ import annotations

from typing import Any, ClassVar

import keras

from tfapp.models.catalogue import OutputKind
from tfapp.models.checks import positive_size


@keras.saving.register_keras_serializable(package="tfapp")
class TwoLayer(keras.Model):
    """One hidden layer, two weight matrices, no biases.

    h = max(x w1, 0), y = h w2. The maximum is written as in the lecture: its gradient where
    x w1 is exactly 0 is 1, where `relu` has 0. The lecture draws both matrices from the unit
    normal, which makes outputs of 1000 inputs about 220 wide and trains only at tiny rates; here
    w1 is He normal and w2 Glorot uniform.

    Args:
        outputs: Width of the output.
        hidden: Width of h; 100 in the lecture, with batches of 64 and 1000 inputs.
        name: First part of the variables' paths.
        dtype: Keras dtype policy; the global one when omitted.

    Source: Stanford CS231n lecture 8 (N, D, H = 64, 1000, 100).
    """

    output_kind: ClassVar[OutputKind] = "logits"

    def __init__(
        self, outputs: int, *, hidden: int = 100, name: str = "two_layer", dtype: str | None = None
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.outputs = positive_size("outputs", outputs)
        self.hidden = positive_size("hidden", hidden)
        self.flatten = keras.layers.Flatten(name="flatten", dtype=self.dtype_policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes w1 `[features, hidden]` and w2 `[hidden, outputs]`."""
        features = self.flatten.compute_output_shape(input_shape)[-1]
        self.w1 = self.add_weight((features, self.hidden), "he_normal", name="w1")
        # The last product stays in float32 under mixed precision, and the loss with it.
        self.w2 = self.add_weight(
            (self.hidden, self.outputs), "glorot_uniform", name="w2", autocast=False
        )

    def call(self, x: Any, training: bool = False) -> Any:
        """Returns logits `[batch, outputs]` for features `[batch, ...]`."""
        h = keras.ops.maximum(keras.ops.matmul(self.flatten(x), self.w1), 0.0)  # [batch, hidden]
        return keras.ops.matmul(keras.ops.cast(h, self.variable_dtype), self.w2)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "outputs": self.outputs,
            "hidden": self.hidden,
            "name": self.name,
            "dtype": self.dtype_policy.name,
        }
