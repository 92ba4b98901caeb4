"""What every engine gives: its steps to be compared, and updates to be timed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]
# Makes so many updates more and returns the newest loss. Every loss is read, as a program that
# watches its training does; gradients and weights stay where they are.
Train = Callable[[int], float]


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


def step_by_step(step: Callable[[int], Any]) -> Train:
    """Returns updates made one by one.

    Args:
        step: Makes the update of a number, from 0 up, and returns its loss as a scalar.
    """
    numbers = count()

    def train(steps: int) -> float:
        loss = float("nan")
        for _ in range(steps):
            loss = float(step(next(numbers)))
        return loss

    return train
