"""What an export for a GPU or TPU has besides: fixed batch sizes, and a proof that XLA takes them.

batching_params.pbtxt    read by TensorFlow Serving's --enable_per_model_batching_parameters
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfapp.errors import ExportError, UsageError, reason_of
from tfapp.export.signatures import ServingModule
from tfapp.export.verification import Check, refuse_differences, worst_difference
from tfapp.export.version import Platform

BATCHING = "batching_params.pbtxt"
# One row at a time, and a size that keeps a device busy; each is a program of its own there.
_DEFAULT_SIZES: dict[str, tuple[int, ...]] = {"cpu": (), "gpu": (1, 32), "tpu": (1, 32)}
# XLA rounds differently from TensorFlow's own kernels: reductions are split in another way.
_XLA_FACTOR = 10.0


def settle_batch_sizes(platform: Platform, wanted: Sequence[int]) -> tuple[int, ...]:
    """Returns the batch sizes to declare, ascending; none where any size will do.

    Args:
        platform: What the export is for.
        wanted: Those that were asked for; a platform's own if there are none.

    Raises:
        UsageError: A size is not positive.
    """
    if any(size < 1 for size in wanted):
        raise UsageError(f"batch size {min(wanted)}: a request has at least one row.")
    return tuple(sorted(set(wanted))) or _DEFAULT_SIZES[platform]


def write_batching(folder: Path, sizes: Sequence[int]) -> None:
    """Writes what makes TensorFlow Serving fill batches up to one of the sizes.

    Source: `BatchingParameters` in TensorFlow Serving's
    `servables/tensorflow/session_bundle_config.proto`.
    """
    lines = [f"max_batch_size {{ value: {max(sizes)} }}"]
    lines += [f"allowed_batch_sizes: {size}" for size in sizes]
    (folder / BATCHING).write_text("\n".join(lines) + "\n", encoding="utf-8")


def prove_compiles(
    module: ServingModule, sizes: Sequence[int], check: Check, tolerance: float
) -> None:
    """Has XLA compile the model for each batch size, and compares what it computes.

    Texts are looked up before, as they would be on the host of a TPU.

    Args:
        module: What is exported.
        sizes: Batch sizes.
        check: Real rows and the live model's answers.
        tolerance: What rounding may do without XLA.

    Raises:
        ExportError: XLA does not take the model, or computes something else.
    """
    compiled = tf.function(module.predictor.__call__, jit_compile=True)
    for size in sizes:
        rows = np.arange(size) % check.rows
        features = module.features(*(tf.constant(v[rows]) for v in check.inputs.values()))
        try:
            answers = compiled(features)
        except (tf.errors.OpError, ValueError, TypeError) as error:
            raise ExportError(
                f"XLA does not compile the model for batches of {size}, so a TPU cannot run it:"
                f" {reason_of(error)}. Nothing was written. Export it with --platform cpu or gpu."
            ) from error
        live = {name: values[rows] for name, values in check.outputs.items()}
        worst = worst_difference(live, answers)
        refuse_differences({f"XLA at batch size {size}": worst}, _XLA_FACTOR * tolerance)
