"""Blocks of two parallel linear maps: what a framework's own modules are for."""

from __future__ import annotations

from typing import Any

import keras

from tfapp.models.checks import positive_size
from tfapp.models.trunk import TrunkAndHead


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
class ParallelBlocks(TrunkAndHead):
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

    def __init__(
        self,
        outputs: int,
        *,
        hidden: int = 100,
        blocks: int = 2,
        name: str = "parallel_block",
        dtype: str | None = None,
    ) -> None:
        super().__init__(outputs, name=name, dtype=dtype)
        self.hidden = positive_size("hidden", hidden)
        self.blocks = positive_size("blocks", blocks)
        policy = self.dtype_policy
        self.compose(
            [
                keras.layers.Flatten(name="flatten", dtype=policy),
                *(
                    ParallelBlock(self.hidden, name=f"block_{i}", dtype=policy)
                    for i in range(self.blocks)
                ),
            ]
        )

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "hidden": self.hidden,
            "blocks": self.blocks,
        }
