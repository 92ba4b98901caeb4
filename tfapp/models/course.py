"""The deep network that the course notes write once in PyTorch and once in Keras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import keras

from tfapp.models.catalogue import OutputKind
from tfapp.models.checks import positive_sizes


@keras.saving.register_keras_serializable(package="tfapp")
class Course(keras.Model):
    """The course's NeuralNetwork: six relu layers and a sigmoid unit.

    Flattens, then six relu layers, then one sigmoid unit: a probability, not a logit. On images
    of 128 x 128 x 3 it has 50,927,559 parameters. The notes call the last layer `output`, which
    Keras reserves, and set its initializer after construction, which changes nothing once the
    layer is built: here it is called `probability`, and GlorotUniform is given where it is made.

    Args:
        sizes: Widths of the relu layers.
        name: First part of the variables' paths.
        dtype: Keras dtype policy; the global one when omitted.

    Source: deeplearning.ai course notes, framework comparison.
    """

    output_kind: ClassVar[OutputKind] = "probabilities"

    def __init__(
        self,
        sizes: Sequence[int] = (1024, 512, 128, 32, 8, 3),
        *,
        name: str = "course",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.sizes = positive_sizes("sizes", sizes)
        self.flatten = keras.layers.Flatten(name="flatten", dtype=self.dtype_policy)
        self.hidden = [
            keras.layers.Dense(size, "relu", name=f"hidden_{i}", dtype=self.dtype_policy)
            for i, size in enumerate(self.sizes)
        ]
        self.probability = keras.layers.Dense(
            1,
            "sigmoid",
            kernel_initializer="glorot_uniform",
            name="probability",
            dtype=self.variable_dtype,  # float32 probabilities under mixed precision
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds the layers one after another."""
        shape = self.flatten.compute_output_shape(input_shape)
        for layer in [*self.hidden, self.probability]:
            layer.build(shape)
            shape = layer.compute_output_shape(shape)

    def call(self, x: Any, training: bool = False) -> Any:
        """Returns the probability `[batch, 1]` of class 1 for features `[batch, ...]`."""
        x = self.flatten(x)
        for layer in self.hidden:
            x = layer(x)
        return self.probability(x)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"sizes": list(self.sizes), "name": self.name, "dtype": self.dtype_policy.name}
