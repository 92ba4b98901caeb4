"""Whether a classifier is right as often as it says: reliability and expected calibration error.

N is the number of examples, M that of the bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 15


@dataclass(frozen=True)
class Bin:
    """Examples whose confidence is in one range.

    Attributes:
        low: Lower bound, which does not belong to it, but for 0.
        high: Upper bound, which does.
        examples: How many there are.
        confidence: Their mean confidence; NaN without examples.
        accuracy: Share of them that is right; NaN without examples.
    """

    low: float
    high: float
    examples: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """How far confidence is from accuracy.

    Attributes:
        bins: Equally wide, from 0 to 1.
        error: Expected calibration error: mean of |accuracy - confidence| over the bins, each
            weighted by its share of the examples.
    """

    bins: tuple[Bin, ...]
    error: float


def calibrate(
    confidence: npt.NDArray[Any], right: npt.NDArray[Any], bins: int = BINS
) -> Calibration:
    """Compares the probability of the predicted class with how often it is right.

    Args:
        confidence: `[N]` probability of the predicted class, N at least 1.
        right: `[N]` bool, whether it is the true class.
        bins: M.

    Source: C. Guo, G. Pleiss, Y. Sun and K. Weinberger 2017, "On Calibration of Modern Neural
    Networks", section 2: bins are ((m-1)/M, m/M]; table 1 has M = 15.
    """
    edges = np.linspace(0.0, 1.0, bins + 1)
    # A float32 1 + 1e-7 belongs to the last bin, a 0 to the first.
    place = np.searchsorted(edges[1:-1], confidence, side="left")
    count = np.bincount(place, minlength=bins)
    sums = np.bincount(place, weights=confidence, minlength=bins)
    hits = np.bincount(place, weights=right, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0 / 0 where a bin is empty
        mean, accuracy = sums / count, hits / count
    gaps = np.abs(hits - sums) / len(confidence)
    found = zip(edges[:-1], edges[1:], count, mean, accuracy, strict=True)
    return Calibration(
        tuple(Bin(float(a), float(b), int(n), float(c), float(r)) for a, b, n, c, r in found),
        float(gaps.sum()),
    )
