"""Counts what the server does, as Prometheus reads it, under TensorFlow Serving's names.

`Metrics` is told of everything as an `Observer` and writes a page of it. What TensorFlow Serving
does not count is below `:tfapp:serving:`. Times are in microseconds.

Source: TensorFlow Serving, `util/prometheus_exporter.cc`, `servables/tensorflow/util.cc`,
`batching/batching_session.cc` and `batching/batching_util.h`; TensorFlow,
`cc/saved_model/loader.cc`.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tfapp.serving.models import State, VersionStatus
from tfapp.serving.observing import (
    BatchRecord,
    LoadRecord,
    Observer,
    RequestRecord,
    WarmupRecord,
)
from tfapp.serving.status import Code, ServingError

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

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


@dataclass(slots=True)
class _Counter:
    value: float = 0

    def add(self, value: float) -> None:
        self.value += value

    def copy(self) -> _Counter:
        return _Counter(self.value)


class _Histogram:
    __slots__ = ("counts", "limits", "total")

    def __init__(self, limits: Sequence[float], counts: Sequence[int] | None = None) -> None:
        self.limits = limits
        self.counts = list(counts or [0] * (len(limits) + 1))
        self.total = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.limits, value)] += 1
        self.total += value

    def copy(self) -> _Histogram:
        same = _Histogram(self.limits, self.counts)
        same.total = self.total
        return same


@dataclass
class _Family:
    """All cells of one metric: by the values of its labels."""

    kind: str
    labels: tuple[str, ...]
    limits: tuple[float, ...] = ()
    cells: dict[tuple[str, ...], _Counter | _Histogram] = field(default_factory=dict)

    def cell(self, *values: str) -> _Counter | _Histogram:
        found = self.cells.get(values)
        if found is None:
            found = _Histogram(self.limits) if self.limits else _Counter()
            self.cells[values] = found
        return found


def _exponential(first: float, factor: float, number: int) -> tuple[float, ...]:
    limits = [first]
    while len(limits) < number:
        limits.append(limits[-1] * factor)
    return tuple(limits)


_LATENCIES = _exponential(10, 1.8, 33)
_WAITS = _exponential(100, 1.2, 52)
_SIZES = _exponential(1, 2, 14)
_EXAMPLES = _exponential(1, 2, 15)


def _families() -> dict[str, _Family]:
    model = ("model_name",)
    return {
        ":tensorflow:cc:saved_model:load_attempt_count": _Family(
            "counter", ("model_path", "status")
        ),
        ":tensorflow:cc:saved_model:load_latency": _Family("counter", ("model_path",)),
        ":tensorflow:serving:batching_session:input_batch_size": _Family("histogram", (), _SIZES),
        ":tensorflow:serving:batching_session:padding_size": _Family(
            "histogram", ("execution_batch_size",), _SIZES
        ),
        ":tensorflow:serving:batching_session:processed_batch_size": _Family(
            "histogram", (), _SIZES
        ),
        ":tensorflow:serving:batching_session:queuing_latency": _Family(
            "histogram", ("thread_pool_name",), _WAITS
        ),
        ":tensorflow:serving:batching_session:wrapped_run_count": _Family("counter", ()),
        ":tensorflow:serving:model_warmup_latency": _Family(
            "histogram", ("model_path", "status"), _LATENCIES
        ),
        ":tensorflow:serving:model_warmup_records_read": _Family(
            "counter", ("model_path", "status")
        ),
        ":tensorflow:serving:request_count": _Family("counter", ("model_name", "status")),
        ":tensorflow:serving:request_example_count_total": _Family("counter", ("model",)),
        ":tensorflow:serving:request_example_counts": _Family("histogram", ("model",), _EXAMPLES),
        ":tensorflow:serving:request_latency": _Family(
            "histogram", ("model_name", "API", "entrypoint"), _LATENCIES
        ),
        ":tensorflow:serving:runtime_latency": _Family(
            "histogram", ("model_name", "API", "runtime"), _LATENCIES
        ),
        ":tfapp:serving:answer_bytes_total": _Family("counter", model),
        ":tfapp:serving:batch_rows": _Family("histogram", model, _SIZES),
        ":tfapp:serving:queuing_latency": _Family("histogram", model, _WAITS),
        ":tfapp:serving:request_bytes_total": _Family("counter", model),
        ":tfapp:serving:rows_total": _Family("counter", model),
    }


@dataclass(frozen=True, slots=True)
class _Route:
    """The cells that requests of one kind are counted in; None for those that do not count it."""

    count: _Counter | _Histogram
    received: _Counter | _Histogram
    sent: _Counter | _Histogram
    latency: _Counter | _Histogram | None = None
    runtime: _Counter | _Histogram | None = None
    rows: _Counter | _Histogram | None = None
    examples: tuple[_Counter | _Histogram, ...] = ()


class Metrics(Observer):
    """Counts, and writes what was counted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # of all that follows
        self._families = _families()
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
        rows = sum(record.rows)
        with self._lock:
            self._cell(":tensorflow:serving:batching_session:wrapped_run_count").add(1)
            self._cell(":tensorflow:serving:batching_session:processed_batch_size").add(
                record.padded_rows
            )
            self._cell(
                ":tensorflow:serving:batching_session:padding_size", str(record.padded_rows)
            ).add(record.padded_rows - rows)
            self._cell(":tfapp:serving:batch_rows", record.model).add(rows)
            sizes = self._cell(":tensorflow:serving:batching_session:input_batch_size")
            for size in record.rows:
                sizes.add(size)
            waits = (
                self._cell(
                    ":tensorflow:serving:batching_session:queuing_latency", record.thread_pool
                ),
                self._cell(":tfapp:serving:queuing_latency", record.model),
            )
            for seconds in record.queue_seconds:
                for wait in waits:
                    wait.add(seconds * _MICROSECONDS)

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
            families = {
                name: _Family(
                    family.kind,
                    family.labels,
                    family.limits,
                    {values: cell.copy() for values, cell in family.cells.items()},
                )
                for name, family in self._families.items()
            }
        families |= _versions(models)
        lines: list[str] = []
        for name in sorted(families):
            lines += _written(name, families[name])
        return "\n".join([*lines, ""]).encode()

    def _cell(self, name: str, *values: str) -> _Counter | _Histogram:
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


def _versions(models: ListedModels | None) -> dict[str, _Family]:
    counts = _Family("gauge", ("model_name", "state"))
    latest = _Family("gauge", ("model_name",))
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


def _written(name: str, family: _Family) -> list[str]:
    lines = [f"# TYPE {name} {family.kind}"]
    for values, cell in family.cells.items():
        pairs = zip(family.labels, values, strict=True)
        labels = ",".join(f'{label}="{_escaped(value)}"' for label, value in pairs)
        if isinstance(cell, _Counter):
            lines.append(f"{name}{{{labels}}} {_number(cell.value)}")
            continue
        before, below = f"{name}_bucket{{{labels}{',' if labels else ''}", 0
        for limit, count in zip(cell.limits, cell.counts, strict=False):
            below += count
            lines.append(f'{before}le="{limit:g}"}} {below}')
        everything = below + cell.counts[-1]
        lines.append(f'{before}le="+Inf"}} {everything}')
        lines.append(f"{name}_sum{{{labels}}} {_number(cell.total)}")
        lines.append(f"{name}_count{{{labels}}} {everything}")
    return lines


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
