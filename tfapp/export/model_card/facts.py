"""What a card is written from."""

from __future__ import annotations

from dataclasses import dataclass

from tfapp.export.version import ExportedModel
from tfapp.training.restore import TrainedModel


@dataclass(frozen=True)
class Export:
    """A SavedModel that was written and read back, and the model that it was made from.

    Attributes:
        trained: The live model, its run and its checkpoint.
        model: What was written; its size is not known yet.
        tolerance: The largest difference that would have been accepted.
        intended_use: The owner's own words, in Markdown; empty where there are none.
    """

    trained: TrainedModel
    model: ExportedModel
    tolerance: float
    intended_use: str
