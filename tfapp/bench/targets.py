"""What tfapp is to reach, and whether it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tfapp.bench.results import Verdict, WorkloadResult
from tfapp.bench.roster import BEST_FIT, REFERENCE
from tfapp.timing.slices import paired_ratio

DENSE = ("mlp-sgd", "mlp-adam", "two-layer")
MLP = ("mlp-sgd", "mlp-adam")


@dataclass(frozen=True)
class Target:
    """A bound on how a contender's time compares with that of `tfapp`.

    Attributes:
        name: What is asked.
        workloads: Where.
        contender: Whose time is divided by tfapp's, round by round.
        bound: Whether the quotient has to be at least or at most the value.
        value: The bound.
    """

    name: str
    workloads: tuple[str, ...]
    contender: str
    bound: Literal["at least", "at most"]
    value: float


TARGETS: tuple[Target, ...] = (
    Target("times as fast as the best fit", MLP, BEST_FIT, "at least", 1.4),
    Target("times as fast as the best fit", ("two-layer",), BEST_FIT, "at least", 2.0),
    Target("times as fast as the best fit", ("quadratic",), BEST_FIT, "at least", 30.0),
    Target("times as fast as fit on arrays", DENSE, "fit", "at least", 2.5),
    Target("times as fast as fit on arrays", ("cnn",), "fit", "at least", 2.0),
    Target("times as fast as TF1 with feed_dict", DENSE, "tf1-feed", "at least", 1.8),
    Target("times as fast as TF1 with feed_dict", ("cnn",), "tf1-feed", "at least", 1.3),
    Target("times as fast as JAX", DENSE, "jax-scan", "at least", 1.0),
    Target("share of the speed of bare matrix products", MLP, "gemm", "at least", 0.6),
    Target("time of tfapp train against its loop", DENSE, "tfapp-train", "at most", 1.05),
)


def judge(
    results: Sequence[WorkloadResult], targets: Sequence[Target] = TARGETS
) -> tuple[Verdict, ...]:
    """Returns a verdict for each target on each workload that was run and has both contenders."""
    verdicts = []
    for target in targets:
        for result in results:
            if result.workload in target.workloads:
                verdict = _judge(target, result)
                if verdict is not None:
                    verdicts.append(verdict)
    return tuple(verdicts)


def _judge(target: Target, result: WorkloadResult) -> Verdict | None:
    other = result.best_fit if target.contender == BEST_FIT else target.contender
    ours = result.row(REFERENCE)
    theirs = None if other is None else result.row(other)
    if ours is None or theirs is None:
        return None
    measured = paired_ratio(theirs.times, ours.times)
    met = measured >= target.value if target.bound == "at least" else measured <= target.value
    return Verdict(
        target.name,
        result.workload,
        theirs.contender,
        measured,
        f"{target.bound} {target.value:g}",
        met,
    )
