"""The model to try first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tfapp.models.checks import fraction, positive_sizes
from tfapp.models.dropout import Dropout
from tfapp.models.trunk import TrunkAndHead


@keras.saving.register_keras_serializable(package="tfapp")
class MLP(TrunkAndHead):
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
        super().__init__(outputs, name=name, dtype=dtype)
        self.hidden = positive_sizes("hidden", hidden)
        self.dropout = fraction("dropout", dropout)
        self.activation = keras.activations.get(activation)
        policy = self.dtype_policy
        trunk = [keras.layers.Flatten(name="flatten", dtype=policy)]
        for i, width in enumerate(self.hidden):
            trunk += [
                keras.layers.Dense(width, self.activation, name=f"hidden_{i}", dtype=policy),
                Dropout(self.dropout, name=f"dropout_{i}", dtype=policy),
            ]
        self.compose(trunk)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "hidden": list(self.hidden),
            "dropout": self.dropout,
            "activation": keras.activations.serialize(self.activation),
        }
