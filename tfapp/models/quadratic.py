"""The smallest thing that trains: one weight, one cost."""

from __future__ import annotations

from typing import Any, ClassVar

import keras

from tfapp.models.catalogue import OutputKind
from tfapp.models.checks import check_coefficients


@keras.saving.register_keras_serializable(package="tfapp")
class Quadratic(keras.Model):
    """The course's cost c0 w^2 + c1 w + c2 of one weight w.

    Its output is what is minimized (loss `model_output`); there is nothing to predict. With
    coefficients 1, -10, 25 gradient descent at rate 0.01 takes w from 0 to 5 (1 - 0.98^n) after
    n steps. w is computed with in the precision of variables under every policy: 8 bits of
    bfloat16 cannot hold the steps.

    Args:
        name: First part of the variables' paths.
        dtype: Keras dtype policy; the global one when omitted.

    Source: deeplearning.ai course 2 week 3 lecture 3.11, which feeds the coefficients at run time.
    """

    output_kind: ClassVar[OutputKind] = "objective"
    # The coefficients are the function itself: scaled ones would be another function.
    takes_raw_features: ClassVar[bool] = True

    def __init__(self, *, name: str = "quadratic", dtype: str | None = None) -> None:
        super().__init__(name=name, dtype=dtype, autocast=False)
        self.w = self.add_weight(shape=(), initializer="zeros", name="w", autocast=False)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Checks that one example is `[3]`; w is there from the start."""
        check_coefficients("quadratic", input_shape[1:])

    def call(self, x: Any, training: bool = False) -> Any:
        """Returns the cost `[batch, 1]` for coefficients `[batch, 3]`."""
        return x[:, 0:1] * self.w**2 + x[:, 1:2] * self.w + x[:, 2:3]

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {"name": self.name, "dtype": self.dtype_policy.name}
