"""Counts what the server does, as Prometheus reads it, under TensorFlow Serving's names.

`Metrics` is told of everything as an `Observer` and writes a page of it. What TensorFlow Serving
does not count is below `:tfapp:serving:`. Times are in microseconds.

Source: TensorFlow Serving, `util/prometheus_exporter.cc`, `servables/tensorflow/util.cc`,
`batching/batching_session.cc` and `batching/batching_util.h`; TensorFlow,
`cc/saved_model/loader.cc`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tfapp.serving.models import State, VersionStatus
from tfapp.serving.observing import (
    BatchRecord,
    LoadRecord,
    Observer,
    RequestRecord,
    WarmupRecord,
)
from tfapp.serving.prometheus import Cell, Family, exponential, page
from tfapp.serving.status import Code, ServingError

# By each api that is counted, what TensorFlow Serving calls it where it does not tell REST and gRPC
# apart. Questions about status and metadata are not counted.
_APIS = {
    "predict": "Predict",
    "classify": "Classify",
    "regress": "Regress",
    "Predict": "Predict",
    "Classify": "Classify",
    "Regress": "Regress",
    "MultiInference": "MultiInference",
}
# Names in requests are for anybody to choose: so many that no model has get cells of their own.
_STRANGERS = 100
_MICROSECONDS = 1e6


class ListedModels(Protocol):
    """Models whose versions can be counted."""

    def names(self) -> Sequence[str]:
        """Returns the names of the models that are to be served."""

    def statuses(self, name: str, version: int | None = None) -> Sequence[VersionStatus]:
        """Returns the states of the versions of a model."""


_LATENCIES = exponential(10, 1.8, 33)
_WAITS = exponential(100, 1.2, 52)
_SIZES = exponential(1, 2, 14)
_EXAMPLES = exponential(1, 2, 15)

# Labels, and limits of the buckets of histograms; what has none is a counter.
_BATCHING = ":tensorflow:serving:batching_session"
_METRICS: Mapping[str, tuple[tuple[str, ...], tuple[float, ...]]] = {
    ":tensorflow:cc:saved_model:load_attempt_count": (("model_path", "status"), ()),
    ":tensorflow:cc:saved_model:load_latency": (("model_path",), ()),
    f"{_BATCHING}:input_batch_size": ((), _SIZES),
    f"{_BATCHING}:padding_size": (("execution_batch_size",), _SIZES),
    f"{_BATCHING}:processed_batch_size": ((), _SIZES),
    f"{_BATCHING}:queuing_latency": (("thread_pool_name",), _WAITS),
    f"{_BATCHING}:wrapped_run_count": ((), ()),
    ":tensorflow:serving:model_warmup_latency": (("model_path", "status"), _LATENCIES),
    ":tensorflow:serving:model_warmup_records_read": (("model_path", "status"), ()),
    ":tensorflow:serving:request_count": (("model_name", "status"), ()),
    ":tensorflow:serving:request_example_count_total": (("model",), ()),
    ":tensorflow:serving:request_example_counts": (("model",), _EXAMPLES),
    ":tensorflow:serving:request_latency": (("model_name", "API", "entrypoint"), _LATENCIES),
    ":tensorflow:serving:runtime_latency": (("model_name", "API", "runtime"), _LATENCIES),
    ":tfapp:serving:answer_bytes_total": (("model_name",), ()),
    ":tfapp:serving:batch_rows": (("model_name",), _SIZES),
    ":tfapp:serving:queuing_latency": (("model_name",), _WAITS),
    ":tfapp:serving:request_bytes_total": (("model_name",), ()),
    ":tfapp:serving:rows_total": (("model_name",), ()),
}


@dataclass(frozen=True, slots=True)
class _Route:
    """The cells that requests of one kind are counted in; None for those that do not count it."""

    count: Cell
    received: Cell
    sent: Cell
    latency: Cell | None = None
    runtime: Cell | None = None
    rows: Cell | None = None
    examples: tuple[Cell, ...] = ()


class Metrics(Observer):
    """Counts, and writes what was counted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # of all that follows
        self._families = {
            name: Family("histogram" if limits else "counter", labels, limits)
            for name, (labels, limits) in _METRICS.items()
        }
        self._routes: dict[tuple[str, str, str, Code, bool], _Route] = {}
        self._names: set[str] = set()
        self._strangers: set[str] = set()

    def request(self, record: RequestRecord) -> None:
        """Counts a request, if it asked for a computation."""
        known = record.version is not None
        key = (record.model, record.api, record.entrypoint, record.code, known)
        with self._lock:
            route = self._routes.get(key)
            if route is None:
                if record.api not in _APIS:
                    return
                route = self._route(record)
                if known or record.model in self._names or record.model in self._strangers:
                    self._routes[key] = route
            route.count.add(1)
            route.received.add(record.request_bytes)
            route.sent.add(record.answer_bytes)
            if route.latency is not None and route.rows is not None:
                route.latency.add(record.seconds * _MICROSECONDS)
                route.rows.add(record.rows)
            if route.runtime is not None and record.run_seconds:
                route.runtime.add(record.run_seconds * _MICROSECONDS)
            for cell in route.examples:
                cell.add(record.rows)

    def batch(self, record: BatchRecord) -> None:
        """Counts a batch."""
        rows, padded = sum(record.rows), record.padded_rows
        with self._lock:
            self._cell(f"{_BATCHING}:wrapped_run_count").add(1)
            self._cell(f"{_BATCHING}:processed_batch_size").add(padded)
            self._cell(f"{_BATCHING}:padding_size", str(padded)).add(padded - rows)
            self._cell(":tfapp:serving:batch_rows", record.model).add(rows)
            sizes = self._cell(f"{_BATCHING}:input_batch_size")
            for size in record.rows:
                sizes.add(size)
            by_pool = self._cell(f"{_BATCHING}:queuing_latency", record.thread_pool)
            by_model = self._cell(":tfapp:serving:queuing_latency", record.model)
            for seconds in record.queue_seconds:
                by_pool.add(seconds * _MICROSECONDS)
                by_model.add(seconds * _MICROSECONDS)

    def load(self, record: LoadRecord) -> None:
        """Counts a try to load a version."""
        path, status = str(record.path), "success" if record.code is Code.OK else "fail"
        with self._lock:
            self._cell(":tensorflow:cc:saved_model:load_attempt_count", path, status).add(1)
            self._cell(":tensorflow:cc:saved_model:load_latency", path).add(
                round(record.seconds * _MICROSECONDS)
            )

    def warmup(self, record: WarmupRecord) -> None:
        """Counts a warm-up."""
        values = str(record.path), record.code.name
        with self._lock:
            self._cell(":tensorflow:serving:model_warmup_latency", *values).add(
                record.seconds * _MICROSECONDS
            )
            self._cell(":tensorflow:serving:model_warmup_records_read", *values).add(
                record.requests
            )

    def exposition(self, models: ListedModels | None = None) -> bytes:
        """Returns everything in the text format of Prometheus, metrics in the order of their names.

        As in TensorFlow Serving there are lines for types, none for help; a metric has lines for
        the labels that have been seen.

        Args:
            models: Whose versions are counted, too.
        """
        with self._lock:
            families = {name: family.copy() for name, family in self._families.items()}
        return page(families | _versions(models))

    def _cell(self, name: str, *values: str) -> Cell:
        return self._families[name].cell(*values)

    def _route(self, record: RequestRecord) -> _Route:
        model = self._label(record)
        count = self._cell(":tensorflow:serving:request_count", model, record.code.name)
        received = self._cell(":tfapp:serving:request_bytes_total", model)
        sent = self._cell(":tfapp:serving:answer_bytes_total", model)
        if record.code is not Code.OK:
            return _Route(count, received, sent)
        api = _APIS[record.api]
        latency = self._cell(
            ":tensorflow:serving:request_latency", model, record.api, record.entrypoint
        )
        # TensorFlow Serving's name for models that run in a session.
        runtime = self._cell(":tensorflow:serving:runtime_latency", model, api, "TF1")
        rows = self._cell(":tfapp:serving:rows_total", model)
        if api == "Predict":
            return _Route(count, received, sent, latency, runtime, rows)
        examples = (
            self._cell(":tensorflow:serving:request_example_counts", model),
            self._cell(":tensorflow:serving:request_example_count_total", model),
        )
        return _Route(count, received, sent, latency, runtime, rows, examples)

    def _label(self, record: RequestRecord) -> str:
        """Returns what a model is counted as: its name, or nothing for one name too many."""
        if record.version is not None:
            self._names.add(record.model)
        elif record.model not in self._names and record.model not in self._strangers:
            if len(self._strangers) >= _STRANGERS:
                return ""
            self._strangers.add(record.model)
        return record.model


def _versions(models: ListedModels | None) -> dict[str, Family]:
    counts = Family("gauge", ("model_name", "state"))
    latest = Family("gauge", ("model_name",))
    for name in models.names() if models else ():
        try:
            versions = models.statuses(name) if models else ()
        except ServingError:  # none has been found yet
            versions = ()
        for state in list(State)[1:]:  # without UNKNOWN
            number = sum(version.state is state for version in versions)
            counts.cell(name, state.name).add(number)
        available = [v.version for v in versions if v.state is State.AVAILABLE]
        if available:
            latest.cell(name).add(max(available))
    return {":tfapp:serving:latest_version": latest, ":tfapp:serving:versions": counts}
