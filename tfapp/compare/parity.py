"""How far one trace is from another, worked out in NumPy.

    parity = compare_traces(steps_of_the_port, steps_of_the_original, Tolerance(1e-6, 1e-6, 1e-6))
    parity.inside, parity.gradients.largest

A difference is max|d| / max|a|. d is what is to be added to the reference at a step. For a loss, a
is the reference's at that step; for a gradient or a weight, all that the reference's tensor has
been up to that step: what a relu or rounding leaves does not shrink when a gradient goes towards
zero. Units in the last place are told of losses only: in a gradient that is nearly zero, millions
of them mean nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfapp.compare.trace import Array, Step


@dataclass(frozen=True)
class Tolerance:
    """How far an engine may be from the reference, as max|d| / max|a| of the module's docstring.

    Attributes:
        loss: Of the loss of a step.
        gradients: Of each gradient of a step.
        weights: Of each weight after a step.
        reason: Why it differs at all.
        bits: Whether every bit must be equal, so that even -0 is not 0.
    """

    loss: float
    gradients: float
    weights: float
    reason: str = ""
    bits: bool = False

    def __add__(self, other: Tolerance) -> Tolerance:
        """Returns how far two may be from each other that may each be so far from a third."""
        return Tolerance(
            self.loss + other.loss,
            self.gradients + other.gradients,
            self.weights + other.weights,
            " ".join(part for part in (self.reason, other.reason) if part),
            self.bits and other.bits,
        )


EXACT = Tolerance(0.0, 0.0, 0.0, "Every bit must be equal.", bits=True)


@dataclass(frozen=True)
class Difference:
    """One quantity of one step.

    Attributes:
        equal: Whether every bit is; any NaN equals any other at the same place.
        size: Largest max|d| / max|a|; infinite where only one side is NaN or infinite.
        tensor: Where that is.
    """

    equal: bool
    size: float
    tensor: str


@dataclass(frozen=True)
class StepDifference:
    """One step.

    Attributes:
        loss: Of the loss.
        gradients: Of all gradients.
        weights: Of all weights.
        ulps: Floats between the two losses; `None` if one of them is NaN and the other is not.
    """

    loss: Difference
    gradients: Difference
    weights: Difference
    ulps: int | None


@dataclass(frozen=True)
class Place:
    """A difference and where it is.

    Attributes:
        step: From 1 up.
        tensor: Its name.
        size: max|d| / max|a|.
    """

    step: int
    tensor: str
    size: float


@dataclass(frozen=True)
class Deviation:
    """One quantity over all steps.

    Attributes:
        first: The first step in which a bit differs.
        largest: Where the difference is largest; `None` if no value differs.
        outside: The first place that is beyond the tolerance.
    """

    first: int | None
    largest: Place | None
    outside: Place | None


@dataclass(frozen=True)
class Parity:
    """A whole trace beside a reference.

    Attributes:
        steps: How many were compared.
        loss: Of the losses.
        gradients: Of the gradients.
        weights: Of the weights.
        ulps: The most floats between two losses; `None` if a loss is NaN on one side only.
    """

    steps: int
    loss: Deviation
    gradients: Deviation
    weights: Deviation
    ulps: int | None

    @property
    def inside(self) -> bool:
        """Whether nothing is beyond the tolerance."""
        return all(d.outside is None for d in (self.loss, self.gradients, self.weights))

    @property
    def same_bits(self) -> bool:
        """Whether every bit is equal."""
        return all(d.first is None for d in (self.loss, self.gradients, self.weights))


def compare_traces(
    trace: Iterable[Step], reference: Iterable[Step], tolerance: Tolerance
) -> Parity:
    """Compares two traces.

    Args:
        trace: Step by step; read once.
        reference: As many steps.
        tolerance: How far `trace` may be from it.

    Raises:
        ValueError: Names, shapes or types do not match, or one trace is longer.
    """
    pairs = zip(trace, reference, strict=True)
    comparer = Comparer()
    return summarize([comparer.compare(step, expected) for step, expected in pairs], tolerance)


class Comparer:
    """Compares the steps of a trace with those of the reference, one by one and in their order."""

    def __init__(self) -> None:
        self._scales: dict[tuple[str, str], float] = {}

    def compare(self, step: Step, reference: Step) -> StepDifference:
        """Compares the next step.

        Raises:
            ValueError: Names, shapes or types do not match; the message names them.
        """
        return StepDifference(
            loss=self._difference("loss", {"loss": step.loss}, {"loss": reference.loss}),
            gradients=self._difference("gradients", step.gradients, reference.gradients),
            weights=self._difference("weights", step.weights, reference.weights),
            ulps=ulps_between(step.loss, reference.loss),
        )

    def _difference(
        self, what: str, found: Mapping[str, Any], expected: Mapping[str, Any]
    ) -> Difference:
        _check_names(what, found, expected)
        equal, largest, where = True, 0.0, ""
        for name in expected:
            value, reference = np.asarray(found[name]), np.asarray(expected[name])
            _check_form(f"{what} {name}" if what != name else what, value, reference)
            scale = magnitude(reference)
            if what != "loss":
                scale = self._scales[what, name] = max(self._scales.get((what, name), 0.0), scale)
            if same_bits(value, reference):
                continue
            size = relative_difference(value, reference, scale)
            if equal or size > largest:
                largest, where = size, name
            equal = False
        return Difference(equal, largest, where)


def summarize(differences: Sequence[StepDifference], tolerance: Tolerance) -> Parity:
    """Returns the first, the largest, and the first intolerable of all differences."""
    ulps = [step.ulps for step in differences]
    return Parity(
        steps=len(differences),
        loss=_deviation([d.loss for d in differences], tolerance.loss, tolerance.bits),
        gradients=_deviation(
            [d.gradients for d in differences], tolerance.gradients, tolerance.bits
        ),
        weights=_deviation([d.weights for d in differences], tolerance.weights, tolerance.bits),
        ulps=None if None in ulps else max((u for u in ulps if u is not None), default=0),
    )


def magnitude(array: Any) -> float:
    """Returns max|a| over the finite entries of an array; 0 if there are none."""
    values = np.abs(array)
    largest = float(np.max(values, initial=0.0))
    if math.isfinite(largest):
        return largest
    return float(np.max(values, where=np.isfinite(values), initial=0.0))


def relative_difference(value: Any, reference: Any, scale: float | None = None) -> float:
    """Returns max|d| / max|a| of two arrays of one shape.

    Equal entries, NaN and infinities among them, count as no difference. Where only one side is
    NaN or infinite, or the scale is 0 and there is a difference, the result is infinite.

    Args:
        value: What is judged.
        reference: What it should be.
        scale: max|a| if it is to be another than the reference's.
    """
    scale = magnitude(reference) if scale is None else scale
    with np.errstate(all="ignore"):
        largest = float(np.max(np.abs(np.subtract(value, reference)), initial=0.0))
    if math.isfinite(largest) and scale:
        return largest / scale
    # Something is not finite, or too large for the difference to be, or there is no scale.
    a, b = np.asarray(value, np.float64), np.asarray(reference, np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if bool(same.all()):
        return 0.0
    if not bool(np.isfinite(a[~same]).all() and np.isfinite(b[~same]).all()):
        return math.inf
    return float(np.max(np.abs(a[~same] - b[~same])) / scale) if scale else math.inf


def ulps_between(value: Any, reference: Any) -> int | None:
    """Returns how many floats two scalars of one type are apart; 0 from NaN to NaN.

    The zeros -0 and 0 are one float here. From NaN to a number there is no distance: `None`.
    """
    if np.isnan(value) or np.isnan(reference):
        return 0 if np.isnan(value) and np.isnan(reference) else None
    return abs(_rank(value) - _rank(reference))


def same_bits(value: Array, reference: Array) -> bool:
    """Tells whether two arrays of one type and shape are equal bit by bit, NaN to NaN aside."""
    bits = f"u{value.dtype.itemsize}"
    if np.array_equal(value.view(bits), reference.view(bits)):
        return True
    both_nan = np.isnan(value) & np.isnan(reference)
    signs = np.signbit(value) == np.signbit(reference)
    return bool((both_nan | ((value == reference) & signs)).all())


def _rank(value: Any) -> int:
    """Numbers the floats in their order, both zeros as 0."""
    value = np.asarray(value)
    kind = {4: np.int32, 8: np.int64}[value.dtype.itemsize]
    magnitude = int(np.abs(value).view(kind))
    return -magnitude if np.signbit(value) else magnitude


def _deviation(differences: Sequence[Difference], tolerance: float, bits: bool) -> Deviation:
    places = [Place(n, d.tensor, d.size) for n, d in enumerate(differences, 1) if not d.equal]
    beyond = (place for place in places if bits or place.size > tolerance)
    return Deviation(
        first=places[0].step if places else None,
        largest=max(places, key=lambda place: place.size, default=None),
        outside=next(beyond, None),
    )


def _check_names(what: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    if found.keys() == expected.keys():
        return
    missing = ", ".join(sorted(expected.keys() - found.keys())) or "none"
    extra = ", ".join(sorted(found.keys() - expected.keys())) or "none"
    raise ValueError(f"{what} do not match the reference's: missing {missing}; extra {extra}")


def _check_form(name: str, value: Array, reference: Array) -> None:
    if (value.shape, value.dtype) != (reference.shape, reference.dtype):
        raise ValueError(
            f"{name}: found {value.dtype} {list(value.shape)},"
            f" the reference has {reference.dtype} {list(reference.shape)}"
        )
