"""What a contender is: opened for a group of points, checked at each, then asked in slices."""

from __future__ import annotations

import abc
import json
import random
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfapp.bench.serving.clients import (
    Outcome,
    WrongAnswer,
    ask_by_grpc,
    ask_by_rest,
    http_request,
)
from tfapp.bench.serving.files import Array, Files, is_right
from tfapp.bench.serving.points import Point
from tfapp.bench.serving.results import Load, Started
from tfapp.bench.serving.server_process import ServerProcess

# Until somebody listens; importing TensorFlow from a slow disk takes a minute.
_START_SECONDS = 180.0
# Until what listens answers as it should.
_WRONG_SECONDS = 20.0
_LOOK_SECONDS = 0.05
_LOWEST_PORT, _GIVEN = 10_000, Path("/proc/sys/net/ipv4/ip_local_port_range")


class Contender(abc.ABC):
    """One way to have a model answer; made in a process of its own, which is the client too.

    Args:
        files: Models, requests and answers.
    """

    def __init__(self, files: Files) -> None:
        self.files = files

    @abc.abstractmethod
    def open(self, workload: str, first: Point) -> Started | None:
        """Gets ready for the points of a workload.

        Args:
            workload: Their group.
            first: One of them, which is answered at the end.
        """

    @abc.abstractmethod
    def ask(self, point: Point, seconds: float) -> Load:
        """Asks for about so many seconds, and compares answers.

        Raises:
            WrongAnswer: One is not that of the model.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Frees what `open` took."""

    def check(self, point: Point, answer: Array) -> None:
        """Compares an answer with what NumPy computes.

        Raises:
            WrongAnswer: It differs.
        """
        expected = self.files.answer(point.request)
        if not is_right(answer, expected):
            raise WrongAnswer(
                f"an answer of shape {answer.shape} begins with {_begin(answer)}; expected is"
                f" {expected.shape}, {_begin(expected)}"
            )


class Server(Contender):
    """A contender that is a process which listens.

    Args:
        files: Models, requests and answers.
    """

    def __init__(self, files: Files) -> None:
        super().__init__(files)
        self.rest_port, self.grpc_port = free_port(), free_port()
        self._process: ServerProcess | None = None
        self._requests: tuple[Point, list[bytes]] | None = None
        self._idle_since: tuple[float, float] | None = None

    @abc.abstractmethod
    def command(self, workload: str) -> Sequence[str]:
        """Returns the command that serves the models of a workload on the two ports."""

    def path(self, model: str) -> str:
        """Returns the path that predictions of a model are asked for at, by REST."""
        return f"/v1/models/{model}:predict"

    def rest_answer(self, body: bytes) -> Any:
        """Returns the predictions in an answer by REST, in lists."""
        return json.loads(body)["predictions"]

    def grpc_answer(self, point: Point, body: bytes) -> Array:
        """Returns the predictions in an answer by gRPC."""
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2

        (tensor,) = predict_pb2.PredictResponse.FromString(body).outputs.values()
        found: Array = tf.make_ndarray(tensor)
        return found

    def open(self, workload: str, first: Point) -> Started:
        """Starts the server, and returns once it has answered."""
        started = time.perf_counter()
        process = self._process = ServerProcess(self.command(workload))
        end = started + _START_SECONDS
        listens = False
        while True:
            try:
                self._ask(first, 0.0)
            except (OSError, WrongAnswer) as error:
                process.check()
                now = time.perf_counter()
                if now > end:
                    raise WrongAnswer(f"{error}; its log ends{process.last_words()}") from error
                if isinstance(error, WrongAnswer) and not listens:
                    listens, end = True, now + _WRONG_SECONDS
                time.sleep(_LOOK_SECONDS)
            else:
                return Started(time.perf_counter() - started, process.memory_mb())

    def ask(self, point: Point, seconds: float) -> Load:
        """Asks as many connections as the point has."""
        assert self._process is not None, "it was opened"
        before, began = self._process.cpu_seconds(), time.perf_counter()
        idle = 0.0
        if self._idle_since is not None:
            moment, cpu = self._idle_since
            idle = (before - cpu) / max(began - moment, 1e-9)
        outcome = self._ask(point, seconds)
        after = self._process.cpu_seconds()
        self._idle_since = time.perf_counter(), after
        for _, body in outcome.firsts:
            self.check(point, self._read(point, body))
        return Load(
            requests=len(outcome.latencies),
            seconds=outcome.seconds,
            p50_ms=outcome.quantile_ms(0.5),
            p99_ms=outcome.quantile_ms(0.99),
            client_cores=outcome.cores,
            server_us=(after - before) / outcome.answers * 1e6,
            idle_cores=idle,
        )

    def close(self) -> None:
        """Ends the server."""
        if self._process is not None:
            self._process.close()
        self._process = self._requests = self._idle_since = None

    def _ask(self, point: Point, seconds: float) -> Outcome:
        bodies = self._bodies(point)
        if point.kind == "grpc":
            return ask_by_grpc(self.grpc_port, bodies, point.connections, seconds)
        return ask_by_rest(self.rest_port, bodies, point.connections, seconds)

    def _bodies(self, point: Point) -> list[bytes]:
        if self._requests is None or self._requests[0] != point:
            body = self.files.request(point.request).read_bytes()
            names = [f"m{number}" for number in range(point.models)] or [point.model]
            self._requests = (
                point,
                [
                    body
                    if point.kind == "grpc"
                    else http_request(self.rest_port, self.path(name), body)
                    for name in names
                ],
            )
        return self._requests[1]

    def _read(self, point: Point, body: bytes) -> Array:
        if point.kind == "grpc":
            return self.grpc_answer(point, body)
        return np.array(self.rest_answer(body))


def free_port() -> int:
    """Returns a port that nobody listens on, and that the system gives to no client meanwhile."""
    highest = int(_GIVEN.read_text().split()[0]) if _GIVEN.exists() else 32_768
    while True:
        port = random.SystemRandom().randrange(_LOWEST_PORT, highest)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue


def _begin(array: Array) -> str:
    return ", ".join(f"{value:.6g}" for value in np.ravel(array)[:3])
