"""What an exported version is to be, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Platform = Literal["cpu", "gpu", "tpu"]
Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]


@dataclass(frozen=True)
class ExportOptions:
    """What a version is to be.

    Attributes:
        platform: `gpu` declares batch sizes; `tpu` also proves that XLA compiles each of them, and
            adds the tags `serve,tpu`.
        precision: Keras dtype policy that layers compute in; the run's own when omitted.
        batch_sizes: The sizes that requests are filled up to; the platform's own when empty.
        formats: Others beside the SavedModel, of `formats.FORMATS`.
    """

    platform: Platform = "cpu"
    precision: Precision | None = None
    batch_sizes: tuple[int, ...] = ()
    formats: tuple[str, ...] = ()


@dataclass(frozen=True)
class ExportedModel:
    """A SavedModel that was written, read back, and found to compute the same.

    Attributes:
        path: Directory of the version.
        name: Name of the model: the folder above.
        version: Number of the version.
        step: Step of the checkpoint it holds.
        platform: What it was made for.
        precision: Keras dtype policy that its layers compute in.
        signatures: Names of the signatures.
        inputs: Shape and type of each input of `serving_default`, e.g. `[?, 8, 8, 1] uint8`.
        outputs: The same of each output.
        batch_sizes: Declared sizes; empty where any will do.
        warmup_requests: How many requests it is warmed up with.
        examples: Real examples it was compared on.
        max_difference: Largest difference between live and reloaded outputs on them, in a process
            of its own, over all signatures, relative to the largest output or to 1.
        precision_difference: Largest difference that another precision than the run's own makes.
        formats: Largest difference from the live model of each other format.
        size_bytes: Size of all files.
    """

    path: Path
    name: str
    version: int
    step: int
    platform: Platform
    precision: str
    signatures: tuple[str, ...]
    inputs: dict[str, str]
    outputs: dict[str, str]
    batch_sizes: tuple[int, ...]
    warmup_requests: int
    examples: int
    max_difference: float
    precision_difference: float
    formats: dict[str, float]
    size_bytes: int
