"""Blocks of two parallel linear maps: what a framework's own modules are for."""

from __future__ import annotations

from typing import Any, ClassVar

import keras

from tfapp.models.catalogue import OutputKind
from tfapp.models.checks import positive_size


@keras.saving.register_keras_serializable(package="tfapp")
class ParallelBlock(keras.layers.Layer):
    """relu(left(x) * right(x)), both linear with bias.

    Args:
        width: Width of both maps.
        **kwargs: `name` and `dtype`, as in every Keras layer.
    """

    def __init__(self, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.width = width
        self.left = keras.layers.Dense(width, name="left", dtype=self.dtype_policy)
        self.right = keras.layers.Dense(width, name="right", dtype=self.dtype_policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Builds both maps."""
        self.left.build(input_shape)
        self.right.build(input_shape)

    def call(self, x: Any) -> Any:
        """Returns `[batch, width]` for `[batch, features]`."""
        return keras.ops.relu(self.left(x) * self.right(x))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns `[batch, width]`."""
        return (*input_shape[:-1], self.width)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable(package="tfapp")
class ParallelBlocks(keras.Model):
    """Two linear maps multiplied, then rectified, block after block.

    relu(linear(x) * linear(x)) for each block, then one linear layer. With 1000 inputs, 100
    hidden, 2 blocks and 10 outputs it has 221,410 parameters. Examples of any shape are flattened.

    Args:
        outputs: Width of the output.
        hidden: Width of every block.
        blocks: Number of blocks.
        name: First part of the variables' paths.
        dtype: Keras dtype policy; the global one when omitted.

    Source: Stanford CS231n lecture 8, the module ParallelBlock.
    """

    output_kind: ClassVar[OutputKind] = "logits"

    def __init__(
        self,
        outputs: int,
        *,
        hidden: int = 100,
        blocks: int = 2,
        name: str = "parallel_block",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.outputs = positive_size("outputs", outputs)
        self.hidden = positive_size("hidden", hidden)
        self.blocks = positive_size("blocks", blocks)
        policy = self.dtype_policy
        self.trunk = [
            keras.layers.Flatten(name="flatten", dtype=policy),
            *(
                ParallelBlock(self.hidden, name=f"block_{i}", dtype=policy)
                for i in range(self.blocks)
            ),
        ]
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
        for layer in [*self.trunk, self.head]:
            x = layer(x)
        return x

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "outputs": self.outputs,
            "hidden": self.hidden,
            "blocks": self.blocks,
            "name": self.name,
            "dtype": self.dtype_policy.name,
        }
