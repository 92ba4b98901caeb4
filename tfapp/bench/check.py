"""Whether contenders do the same work: their first losses must be the same."""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tfapp.bench.contenders.base import Losses


@dataclass(frozen=True)
class Finding:
    """What came of comparing one contender's losses.

    Attributes:
        deviation: The largest relative one; `None` where nothing was compared.
        objection: Why it does other work than the rest; empty if it does not.
    """

    deviation: float | None = None
    objection: str = ""


def check_losses(
    told: Mapping[str, Sequence[Losses]],
    expected: Sequence[float] | None,
    *,
    steps: int,
    tolerance: float,
) -> dict[str, Finding]:
    """Compares the first losses of contenders with what they must be.

    Args:
        told: Losses by contender.
        expected: Loss of each step. Where nobody knows them, `None`: then the first contender that
            tells the loss of each step is what the others are compared with.
        steps: How many were asked for.
        tolerance: Largest relative deviation that is taken for rounding.

    Returns:
        A finding by contender. Of losses that cannot be compared it says why; of the contender
        that the others are compared with, and of all if there is none, it says nothing.
    """
    findings = {name: Finding(objection=_objection(losses, steps)) for name, losses in told.items()}
    sound = {name: losses for name, losses in told.items() if not findings[name].objection}
    if expected is None:
        first = next((name for name, losses in sound.items() if len(losses) == steps), None)
        if first is None:
            return findings
        expected = [loss.mean for loss in sound.pop(first)]
    return findings | {
        name: _compare(losses, expected, tolerance) for name, losses in sound.items()
    }


def _objection(losses: Sequence[Losses], steps: int) -> str:
    """Returns why losses cannot be compared with anything; empty if they can."""
    if not losses:
        return "it told no losses to check"
    if any(loss.steps < 1 for loss in losses):
        return "it told the mean loss of less than one step"
    total = sum(loss.steps for loss in losses)
    if total > steps:
        return f"it told losses of {total} steps, at most {steps} were asked for"
    step = 0
    for loss in losses:
        if not math.isfinite(loss.mean):
            return f"loss of {_which(step, loss.steps)} is {loss.mean}"
        step += loss.steps
    return ""


def _compare(losses: Sequence[Losses], expected: Sequence[float], tolerance: float) -> Finding:
    step, worst, where = 0, 0.0, ""
    for loss in losses:
        wanted = statistics.fmean(expected[step : step + loss.steps])
        deviation = abs(loss.mean - wanted) / max(abs(wanted), sys.float_info.min)
        if deviation > worst:
            which = _which(step, loss.steps)
            worst, where = deviation, f"loss of {which} is {loss.mean:.6g}, must be {wanted:.6g}"
        step += loss.steps
    return Finding(worst, where if worst > tolerance else "")


def _which(step: int, count: int) -> str:
    return f"steps {step + 1} to {step + count}" if count > 1 else f"step {step + 1}"
