"""What a server tells of its requests, batches and loads to whoever logs or counts them.

The records are plain data, so that a log and Prometheus are written from the same figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfapp.serving.status import Code


@dataclass(slots=True)
class RequestRecord:
    """What is known of a request; filled in on its way, told of when it is answered.

    Attributes:
        entrypoint: `REST` or `GRPC`.
        api: As TensorFlow Serving's metrics name it: `predict` by REST, `Predict` by gRPC; empty
            if the path of a request by REST was none.
        model: Name of the model asked for; empty if none was named.
        version: The version that answered, if one did.
        signature: The signature asked for; empty if none was named.
        rows: Rows or examples of the request; 0 if it was refused before they were counted.
        queue_seconds: How long it waited for a batch.
        run_seconds: How long the model ran, for all rows that ran with it.
        batch_rows: How many rows that were, its own and padding among them.
        seconds: From the arrival of its last byte to its answer.
        code: What it ended with.
        message: The error; empty if there was none.
        request_bytes: Size of its body.
        answer_bytes: Size of the answer's.
        deadline: By when it is to run, as `time.monotonic` tells it.
    """

    entrypoint: str
    api: str
    model: str = ""
    version: int | None = None
    signature: str = ""
    rows: int = 0
    queue_seconds: float = 0.0
    run_seconds: float = 0.0
    batch_rows: int = 0
    seconds: float = 0.0
    code: Code = Code.OK
    message: str = ""
    request_bytes: int = 0
    answer_bytes: int = 0
    deadline: float = math.inf


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """What is known of rows of several requests that ran as one batch.

    Attributes:
        model: Name of the model.
        thread_pool: Name of the threads it ran in.
        rows: Rows of each of its requests.
        queue_seconds: How long each of them waited.
        padded_rows: Rows of the batch that ran; those beyond the requests' are thrown away.
    """

    model: str
    thread_pool: str
    rows: Sequence[int]
    queue_seconds: Sequence[float]
    padded_rows: int


@dataclass(frozen=True, slots=True)
class LoadRecord:
    """What is known of a try to load a version.

    Attributes:
        path: Its folder.
        code: What it ended with.
        seconds: How long it took, its warm-up not counted.
    """

    path: Path
    code: Code
    seconds: float


@dataclass(frozen=True, slots=True)
class WarmupRecord:
    """What is known of a warm-up.

    Attributes:
        path: Folder of the version.
        code: What it ended with.
        seconds: How long it took.
        requests: How many requests were run.
    """

    path: Path
    code: Code
    seconds: float
    requests: int


class Observer:
    """Is told of everything, from any thread; a subclass overrides what it is interested in.

    The methods must be quick and must not raise: requests wait for them.
    """

    def request(self, record: RequestRecord) -> None:
        """Is told of a request that was answered."""

    def batch(self, record: BatchRecord) -> None:
        """Is told of a batch that ran."""

    def load(self, record: LoadRecord) -> None:
        """Is told of a try to load a version."""

    def warmup(self, record: WarmupRecord) -> None:
        """Is told of a warm-up."""


class Observers(Observer):
    """Tells several observers, in their order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def request(self, record: RequestRecord) -> None:
        """Tells them of a request."""
        for observer in self._observers:
            observer.request(record)

    def batch(self, record: BatchRecord) -> None:
        """Tells them of a batch."""
        for observer in self._observers:
            observer.batch(record)

    def load(self, record: LoadRecord) -> None:
        """Tells them of a load."""
        for observer in self._observers:
            observer.load(record)

    def warmup(self, record: WarmupRecord) -> None:
        """Tells them of a warm-up."""
        for observer in self._observers:
            observer.warmup(record)
