"""The model to try first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras

from tfapp.models.catalogue import OutputKind
from tfapp.models.checks import fraction, positive_size, positive_sizes


@keras.saving.register_keras_serializable(package="tfapp")
class MLP(keras.Model):
    """A multilayer perceptron: dense layers with dropout.

    Takes examples of any shape and flattens them. Without hidden layers it is a linear model.

    Args:
        outputs: Width of the output.
        hidden: Widths of the hidden layers.
        dropout: Share of each hidden layer's outputs that is dropped in training, in [0, 1).
        activation: Keras activation of the hidden layers, by name.
        name: First part of the variables' paths.
        dtype: Keras dtype policy; the global one when omitted.
    """

    output_kind: ClassVar[OutputKind] = "logits"

    def __init__(
        self,
        outputs: int,
        *,
        hidden: Sequence[int] = (256, 128),
        dropout: float = 0.0,
        activation: str = "relu",
        name: str = "mlp",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.outputs = positive_size("outputs", outputs)
        self.hidden = positive_sizes("hidden", hidden)
        self.dropout = fraction("dropout", dropout)
        self.activation = keras.activations.get(activation)
        policy = self.dtype_policy
        trunk = [keras.layers.Flatten(name="flatten", dtype=policy)]
        for i, width in enumerate(self.hidden):
            trunk += [
                keras.layers.Dense(width, self.activation, name=f"hidden_{i}", dtype=policy),
                keras.layers.Dropout(self.dropout, name=f"dropout_{i}", dtype=policy),
            ]
        self.trunk = trunk
        # The type of the variables: float32 logits, and so a float32 loss, under mixed precision.
        self.head = keras.layers.Dense(self.outputs, name="head", dtype=self.variable_dtype)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds the layers one after another."""
        shape = input_shape
        for layer in [*self.trunk, self.head]:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def call(self, x: Any, training: bool = False) -> Any:
        """Returns logits `[batch, outputs]` for features `[batch, ...]`."""
        for layer in self.trunk:
            x = layer(x, training=training)
        return self.head(x)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "outputs": self.outputs,
            "hidden": list(self.hidden),
            "dropout": self.dropout,
            "activation": keras.activations.serialize(self.activation),
            "name": self.name,
            "dtype": self.dtype_policy.name,
        }
