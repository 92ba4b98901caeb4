"""How requests are batched: `--batching_parameters_file` and `batching_params.pbtxt`.

max_batch_size { value: 128 }
batch_timeout_micros { value: 1000 }
num_batch_threads { value: 4 }
allowed_batch_sizes: 32
allowed_batch_sizes: 128
"""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from tfapp.cores import usable_cores
from tfapp.serving.status import Code, ServingError
from tfapp.serving.text_protos import new_message, read_text_proto

# In the folder of a version, for --enable_per_model_batching_parameters.
PER_MODEL_FILE = "batching_params.pbtxt"


@dataclass(frozen=True)
class BatchingOptions:
    """How requests are batched.

    Attributes:
        max_batch_size: Rows that a batch, and a request, may have.
        timeout_seconds: How long the first request may wait for others; 0 for no longer than until
            a thread is free.
        max_enqueued_batches: How many batches of one signature may wait.
        threads: How many batches run at a time, of all models together.
        pool_name: What these threads are called in metrics.
        allowed_sizes: Rows that a batch is filled up to, ascending; any number if empty.
        pad: Whether rows of unequal shape are filled up to the largest.
        split: Whether a request of more rows than a batch may run has its rows in several.
        max_execution_size: Rows that a batch may run, if requests are split.

    Source: `BatchingParameters` in TensorFlow Serving's `session_bundle_config.proto`; the defaults
    are those of TensorFlow's `shared_batch_scheduler.h`.
    """

    max_batch_size: int = 1000
    timeout_seconds: float = 0.0
    max_enqueued_batches: int = 10
    threads: int = field(default_factory=usable_cores)
    pool_name: str = "batch_threads"
    allowed_sizes: tuple[int, ...] = ()
    pad: bool = False
    split: bool = False
    max_execution_size: int = 1000

    def padded(self, rows: int) -> int:
        """Returns how many rows a batch of so many is filled up to."""
        return next((size for size in self.allowed_sizes if size >= rows), rows)


def read_batching(
    file: Path, defaults: BatchingOptions | None = None, *, flag: str
) -> BatchingOptions:
    """Reads a file of `BatchingParameters`.

    Args:
        file: A text file.
        defaults: Whose threads are used, since there is one pool for all models; the file's if
            None.
        flag: The flag that made it be read, for messages.

    Raises:
        ServingError: `INVALID_ARGUMENT`: it cannot be read, has a mistake or contradicts itself.
    """
    message = read_text_proto(
        file,
        new_message("BatchingParameters"),
        what="batching parameters file",
        flag=flag,
        holds="max_batch_size { value: 128 } and the like",
    )
    options = _options(message)
    if defaults is not None:
        options = dataclasses.replace(
            options, threads=defaults.threads, pool_name=defaults.pool_name
        )
    _check(options, file)
    return options


def _options(message: Any) -> BatchingOptions:
    given: dict[str, Any] = {
        name: getattr(message, key).value
        for name, key in {
            "max_batch_size": "max_batch_size",
            "timeout_seconds": "batch_timeout_micros",
            "max_enqueued_batches": "max_enqueued_batches",
            "threads": "num_batch_threads",
            "pool_name": "thread_pool_name",
            "split": "enable_large_batch_splitting",
            "max_execution_size": "max_execution_batch_size",
        }.items()
        if message.HasField(key)
    }
    if "timeout_seconds" in given:
        given["timeout_seconds"] = min(given["timeout_seconds"] / 1e6, threading.TIMEOUT_MAX)
    most = given.get("max_batch_size", BatchingOptions.max_batch_size)
    if not given.get("split"):
        given["max_execution_size"] = most
    else:
        given.setdefault("max_execution_size", most)
    return BatchingOptions(
        **given,
        allowed_sizes=tuple(message.allowed_batch_sizes),
        pad=message.pad_variable_length_inputs,
    )


def _check(options: BatchingOptions, file: Path) -> None:
    for name, value, least in (
        ("max_batch_size", options.max_batch_size, 1),
        ("batch_timeout_micros", options.timeout_seconds, 0),
        ("max_enqueued_batches", options.max_enqueued_batches, 1),
        ("num_batch_threads", options.threads, 1),
        ("max_execution_batch_size", options.max_execution_size, 1),
    ):
        if value < least:
            raise _wrong(file, f"{name} must be {least} or more; was {value:g}")
    if options.max_execution_size > options.max_batch_size:
        raise _wrong(
            file,
            "max_execution_batch_size must not be larger than max_batch_size; was"
            f" {options.max_execution_size}, expected at most {options.max_batch_size}",
        )
    sizes = options.allowed_sizes
    if any(after <= before for before, after in pairwise((0, *sizes))):
        raise _wrong(
            file,
            "allowed_batch_sizes entries must be monotonically increasing and positive; they are"
            f" {', '.join(map(str, sizes))}",
        )
    expected = options.max_execution_size
    if sizes and sizes[-1] != expected:
        name = "max_execution_batch_size" if options.split else "max_batch_size"
        raise _wrong(
            file,
            f"Last entry in allowed_batch_sizes must match {name}; last entry was"
            f" {sizes[-1]}; expected {expected}",
        )


def _wrong(file: Path, message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, f"{message}. See {file}.")
