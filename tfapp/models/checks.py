"""What the models refuse, said once: sizes that are no sizes, examples of the wrong shape."""

from __future__ import annotations

from collections.abc import Sequence

from tfapp.errors import ModelMismatch
from tfapp.models.catalogue import ANY, list_models


def positive_size(name: str, value: int) -> int:
    """Returns `value`, the argument called `name`.

    Raises:
        ValueError: It is not a whole number above 0.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"`{name}` must be a whole number above 0, found {value!r}")
    return value


def positive_sizes(name: str, values: Sequence[int]) -> tuple[int, ...]:
    """Returns `values`, the argument called `name`, as a tuple.

    Raises:
        ValueError: It is not a list of whole numbers above 0.
    """
    sizes = tuple(values) if isinstance(values, Sequence) and not isinstance(values, str) else None
    if sizes is None or any(isinstance(v, bool) or not isinstance(v, int) or v < 1 for v in sizes):
        raise ValueError(
            f"`{name}` must be a list of whole numbers above 0, e.g. [64, 32], found {values!r}"
        )
    return sizes


def fraction(name: str, value: float) -> float:
    """Returns `value`, the argument called `name`.

    Raises:
        ValueError: It is not a number in [0, 1).
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ValueError(f"`{name}` must be a number from 0 to below 1, found {value!r}")
    return float(value)


def check_images(model: str, feature_shape: Sequence[int | None]) -> None:
    """Refuses examples that are not `[height, width, channels]`.

    Raises:
        ModelMismatch: Naming the models that take what came.
    """
    if len(feature_shape) != 3:
        others = [other.name for other in list_models() if other.inputs == ANY]
        raise ModelMismatch(
            f"model {model!r} needs images [height, width, channels], but one example here has"
            f" shape {list(feature_shape)}. Models that take it: {', '.join(others)};"
            " e.g. --model mlp."
        )


def check_coefficients(model: str, feature_shape: Sequence[int | None]) -> None:
    """Refuses examples that are not three coefficients.

    Raises:
        ModelMismatch: Naming the data that has them, and a model that takes what came.
    """
    if tuple(feature_shape) != (3,):
        raise ModelMismatch(
            f"model {model!r} needs three coefficients [3], but one example here has shape"
            f" {list(feature_shape)}. Use --data synthetic/coefficients, or for this data a model"
            " that takes any shape: --model mlp."
        )
