"""Where a training stands, as writers and actions see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """A moment between two steps.

    Attributes:
        step: Updates done since the run began.
        total_steps: Updates of the whole run.
        steps_per_epoch: Updates of one pass over the training split.
        epochs: Passes of the whole run.
        examples_per_second: Speed of the last trip of the loop; 0 before the first.
        seconds: Time spent training, over all sessions of the run.
        train: Mean loss and metrics since the epoch began.
        validation: Loss and metrics after the last whole epoch; empty before.
        improved: Whether that epoch was the best so far; false between ends of epochs.
        finished: Whether this is the last moment of the run.
    """

    step: int
    total_steps: int
    steps_per_epoch: int
    epochs: int
    examples_per_second: float = 0.0
    seconds: float = 0.0
    train: Mapping[str, float] = field(default_factory=dict)
    validation: Mapping[str, float] = field(default_factory=dict)
    improved: bool = False
    finished: bool = False

    @property
    def epoch(self) -> int:
        """Whole epochs done."""
        return self.step // self.steps_per_epoch

    @property
    def at_epoch_end(self) -> bool:
        """Whether the last step closed an epoch."""
        return self.step % self.steps_per_epoch == 0
