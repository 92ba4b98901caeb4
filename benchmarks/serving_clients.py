"""Clients of the programs that strain a server, which check every answer."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from serving_load import COLUMNS, Server, right
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

# gRPC answers so what it has not run because the server ends.
_NOT_RUN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


class Ended(Exception):
    """The server has said that it takes no more requests."""


@dataclass(frozen=True)
class Answer:
    """What a request was answered.

    Attributes:
        y: `[rows, COLUMNS]`.
        versions: The versions that the model said it was, one for each row.
    """

    y: np.ndarray
    versions: np.ndarray


class RestClient:
    """Asks by REST.

    Args:
        port: Of the server.
        model: Its name.
        rows: Whether to send `instances` instead of `inputs`.
        keep_alive: Whether all requests go by one connection.
    """

    def __init__(
        self, port: int, model: str, *, rows: bool = True, keep_alive: bool = True
    ) -> None:
        self._path = f"/v1/models/{model}:predict"
        self._rows, self._keep_alive = rows, keep_alive
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def ask(self, x: np.ndarray) -> Answer:
        """Sends one request.

        Raises:
            Ended: The connection was refused.
            Exception: Whatever else went wrong.
        """
        document = self._post({"instances" if self._rows else "inputs": x.tolist()})
        if self._rows:
            rows = document["predictions"]
            y, versions = [row["y"] for row in rows], [row["version"] for row in rows]
        else:
            y, versions = document["outputs"]["y"], document["outputs"]["version"]
        return Answer(np.array(y, np.float32), np.array(versions))

    def ask_slowly(self, x: np.ndarray, seconds: float) -> np.ndarray:
        """Sends a request that takes some seconds."""
        inputs = {"x": x.tolist(), "seconds": seconds}
        found = self._post({"signature_name": "slowly", "inputs": inputs})
        return np.array(found["outputs"], np.float32)

    def _post(self, document: Mapping[str, Any]) -> Any:
        connection = self._connection
        if connection.sock is None:
            try:
                connection.connect()
            except ConnectionRefusedError as error:
                raise Ended from error
        connection.request("POST", self._path, json.dumps(document))
        response = connection.getresponse()
        content = response.read()
        if response.status != 200:
            raise AssertionError(f"{response.status} {content[:200]!r}")
        if not self._keep_alive:
            connection.close()
        return json.loads(content)


class GrpcClient:
    """Asks by gRPC.

    Args:
        port: Of the server.
        model: Its name.
    """

    def __init__(self, port: int, model: str) -> None:
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._model = model

    def ask(self, x: np.ndarray) -> Answer:
        """Sends one request; raises as `RestClient.ask` does."""
        answer = self._predict("", x=x)
        versions = tf.make_ndarray(answer.outputs["version"])
        if set(versions.tolist()) != {answer.model_spec.version.value}:
            raise AssertionError(f"version {answer.model_spec.version.value} says it is {versions}")
        return Answer(tf.make_ndarray(answer.outputs["y"]), versions)

    def ask_slowly(self, x: np.ndarray, seconds: float) -> np.ndarray:
        """Sends a request that takes some seconds."""
        answer = self._predict("slowly", x=x, seconds=np.float64(seconds))
        return tf.make_ndarray(answer.outputs["y"])

    def _predict(self, signature: str, **inputs: Any) -> Any:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = self._model
        request.model_spec.signature_name = signature
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        try:
            return self._stub.Predict(request, timeout=60)
        except grpc.RpcError as error:
            if error.code() in _NOT_RUN:
                raise Ended from error
            raise


Client = RestClient | GrpcClient


def clients_of(server: Server, model: str, number: int) -> list[Client]:
    """Returns clients of three kinds in turn: rows by REST, columns by REST, gRPC."""
    makers: tuple[Callable[[], Client], ...] = (
        lambda: RestClient(server.rest, model),
        lambda: RestClient(server.rest, model, rows=False),
        lambda: GrpcClient(server.grpc, model),
    )
    return [makers[index % 3]() for index in range(number)]


class Asking(threading.Thread):
    """Asks one request after the other and checks each answer.

    Args:
        client: By whom.
        seed: Of the inputs; each client should have its own.
        factor: Of the model.
        allowed: Returns the versions that may answer now.
        limit: Requests to send; without an end if None.
    """

    def __init__(
        self,
        client: Client,
        seed: int,
        *,
        factor: float = 2.0,
        allowed: Callable[[], set[int]] = lambda: {1},
        limit: int | None = None,
    ) -> None:
        super().__init__(daemon=True)
        self._client, self._factor, self._allowed, self._limit = client, factor, allowed, limit
        self._random = np.random.default_rng(seed)
        self._told = threading.Event()
        self.answered = 0
        self.versions: set[int] = set()
        self.wrong: list[str] = []
        self.ended = False

    def run(self) -> None:
        """Asks until it is told to stop, the server ends, or the limit is reached."""
        while not self._told.is_set() and (self._limit is None or self.answered < self._limit):
            try:
                self._ask()
            except Ended:
                self.ended = True
                return
            except Exception as error:
                self.wrong.append(f"{type(self._client).__name__}: {error!r}"[:300])
                return
            self.answered += 1

    def stop(self) -> None:
        """Lets it end after the request under way."""
        self._told.set()
        self.join(90)

    def _ask(self) -> None:
        rows = int(self._random.integers(1, 5))
        x = self._random.integers(-(10**5), 10**5, (rows, COLUMNS)).astype(np.float32)
        allowed = self._allowed()
        answer = self._client.ask(x)
        allowed |= self._allowed()
        version = int(answer.versions[0])
        self.versions.add(version)
        if version not in allowed or not np.array_equal(answer.y, right(x, version, self._factor)):
            said = f"x {x.tolist()} was answered {answer.y.tolist()} by version {version}"
            raise AssertionError(said)
