"""What every engine gives, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Step:
    """One update.

    Attributes:
        loss: Scalar, before the update.
        gradients: By name, as they were applied.
        weights: By name, after the update.
    """

    loss: Any
    gradients: Mapping[str, Any]
    weights: Mapping[str, Any]
