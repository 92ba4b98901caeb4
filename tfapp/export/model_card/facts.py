"""What a card is written from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tfapp.training.restore import TrainedModel


@dataclass(frozen=True)
class Export:
    """A SavedModel that was written and read back, and the model that it was made from.

    Attributes:
        trained: The live model, its run and its checkpoint.
        name: Name of the model: the folder of its versions.
        version: Number of the version.
        inputs: Shape and type of each input of the signatures.
        outputs: The same of each output.
        examples: Real examples that live and reloaded outputs were compared on.
        max_difference: Largest difference between them, relative to the largest output or to 1.
        tolerance: The largest that would have been accepted.
        intended_use: The owner's own words, in Markdown; empty where there are none.
    """

    trained: TrainedModel
    name: str
    version: int
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    examples: int
    max_difference: float
    tolerance: float
    intended_use: str
