"""Control flow in plain Python: one source for eager TensorFlow, AutoGraph and PyTorch.

What decides is an argument. If it is a tensor, AutoGraph makes operations of the statement; if it
is a number of Python, Python obeys the statement while the graph is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

POLYNOMIAL = (2.0, -3.0, 0.5, 4.0)  # 2 x^3 - 3 x^2 + 0.5 x + 4
TURNS = 10


def branch(x: Any) -> Any:
    """Returns x^2 where x > 0 and -3 x elsewhere."""
    if x > 0:  # noqa: SIM108  (a conditional expression would be converted in the same way)
        value = x**2
    else:
        value = -3 * x
    return value


def power(x: Any, times: Any) -> Any:
    """Returns x^times by multiplying."""
    done = 0
    product = 1.0
    while done < times:
        product = product * x
        done += 1
    return product


def polynomial(x: Any, coefficients: Any) -> Any:
    """Returns a polynomial by Horner's rule.

    Args:
        x: A scalar.
        coefficients: `[n]`, the highest power first.
    """
    value = 0.0
    for coefficient in coefficients:
        value = value * x + coefficient
    return value


def branch_by_hand(x: float) -> tuple[float, float]:
    """Returns the value of `branch` and its slope."""
    return (x**2, 2 * x) if x > 0 else (-3 * x, -3.0)


def power_by_hand(x: float) -> tuple[float, float]:
    """Returns x^10 and its slope, going back through the turns."""
    products = [1.0]
    for _ in range(TURNS):
        products.append(products[-1] * x)
    return products[-1], _back(x, products[:-1])


def polynomial_by_hand(x: float) -> tuple[float, float]:
    """Returns the polynomial and its slope, going back through the turns."""
    values = [0.0]
    for coefficient in POLYNOMIAL:
        values.append(values[-1] * x + coefficient)
    return values[-1], _back(x, values[:-1])


def _back(x: float, values: list[float]) -> float:
    """Returns the slope of a loop that replaces a value by itself times x, plus a constant."""
    slope, flowing = 0.0, 1.0
    for value in reversed(values):
        slope += flowing * value
        flowing *= x
    return slope


# What a construct takes besides x.
ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "branch": {},
    "power": {"times": np.int32(TURNS)},
    "polynomial": {"coefficients": np.array(POLYNOMIAL, np.float32)},
}
PYTHON: Mapping[str, Callable[..., Any]] = {
    "branch": branch,
    "power": power,
    "polynomial": polynomial,
}
BY_HAND: Mapping[str, Callable[[float], tuple[float, float]]] = {
    "branch": branch_by_hand,
    "power": power_by_hand,
    "polynomial": polynomial_by_hand,
}
