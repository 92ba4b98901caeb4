"""The same perceptron without Keras: every variable and every product by hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import keras
import tensorflow as tf

from tfapp.models.catalogue import OutputKind
from tfapp.models.checks import positive_size, positive_sizes


class RawMLP(tf.Module):
    """A multilayer perceptron whose weights and biases are made by hand.

    The notes' 784-256-128-10 network for any sizes: weights truncated normal of deviation 0.1,
    biases 0, relu, relu, linear. The notes' formula puts a relu on the output, their code does
    not; neither does this one. A plain `tf.Module`: Keras optimizers take its variables, but a
    `keras.Model` that holds it does not see them.

    Args:
        feature_shape: Shape of one example, needed because the variables are made at once.
        outputs: Width of the output.
        hidden: Widths of the hidden layers.
        seed: Decides the weights alone; when omitted they follow `keras.utils.set_random_seed`.
        name: Name of the module.
        dtype: Keras dtype policy; the global one when omitted. Hidden layers compute in its
            compute type, variables and the last layer are in its variable type.

    Source: the course notes' raw-variable MNIST program (batch 200, rate 0.001).
    """

    output_kind: ClassVar[OutputKind] = "logits"

    def __init__(
        self,
        feature_shape: Sequence[int],
        outputs: int,
        *,
        hidden: Sequence[int] = (256, 128),
        seed: int | None = None,
        name: str = "raw_mlp",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.feature_shape = tuple(int(size) for size in feature_shape)
        self.outputs = positive_size("outputs", outputs)
        self.hidden = positive_sizes("hidden", hidden)
        self.seed = seed
        self.policy = keras.dtype_policies.get(dtype or keras.config.dtype_policy())
        widths = [math.prod(self.feature_shape), *self.hidden, self.outputs]
        with self.name_scope:
            self.weights = [
                tf.Variable(self._draw(layer, shape), name=f"w{layer}")
                for layer, shape in enumerate(itertools.pairwise(widths))
            ]
            self.biases = [
                tf.Variable(tf.zeros([width], self.policy.variable_dtype), name=f"b{layer}")
                for layer, width in enumerate(widths[1:])
            ]

    def _draw(self, layer: int, shape: tuple[int, ...]) -> tf.Tensor:
        dtype = self.policy.variable_dtype
        if self.seed is None:
            return tf.random.truncated_normal(shape, stddev=0.1, dtype=dtype)
        return tf.random.stateless_truncated_normal(
            shape, seed=[self.seed, layer], stddev=0.1, dtype=dtype
        )

    def __call__(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns logits `[batch, outputs]` for features `[batch, *feature_shape]`."""
        compute = self.policy.compute_dtype
        h = tf.reshape(tf.cast(x, compute), [-1, self.weights[0].shape[0]])
        for w, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            h = tf.nn.relu(h @ tf.cast(w, compute) + tf.cast(b, compute))
        return tf.cast(h, self.policy.variable_dtype) @ self.weights[-1] + self.biases[-1]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            "feature_shape": list(self.feature_shape),
            "outputs": self.outputs,
            "hidden": list(self.hidden),
            "seed": self.seed,
            "name": self.name,
            "dtype": self.policy.name,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> RawMLP:
        """Returns a new model made with the arguments of `config`."""
        return cls(**config)
