"""A server of gRPC with models that are always there, and clients of the published stubs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import models_for_tests as written
import pytest
import tensorflow as tf
from tensorflow_serving.apis import model_service_pb2_grpc, predict_pb2, prediction_service_pb2_grpc

from tfapp.serving.models import ModelSpec, State, VersionStatus
from tfapp.serving.observing import Observer
from tfapp.serving.rpc import RpcOptions, add_services, make_server
from tfapp.serving.servable import Servable, load_servable
from tfapp.serving.status import Code, ServingError

INVALID = grpc.StatusCode.INVALID_ARGUMENT


class LoadedModels:
    """Models that are always there; of each only the versions it was given."""

    def __init__(self) -> None:
        self.servables: dict[tuple[str, int], Servable] = {}
        self.labels: dict[str, int] = {"stable": 1}
        self.specs: list[ModelSpec] = []
        self.gate = threading.Event()
        self.gate.set()

    @contextmanager
    def use(self, spec: ModelSpec) -> Iterator[Servable]:
        self.specs.append(spec)
        self.gate.wait(20)
        if spec.label is not None and spec.label not in self.labels:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {spec.label}"
            )
        version = self.labels[spec.label] if spec.label else spec.version
        versions = [key[1] for key in self.servables if key[0] == spec.name]
        wanted = max(versions, default=0) if version is None else version
        if wanted not in versions:
            request = f"Latest({spec.name})" if version is None else f"Specific({spec.name}, 7)"
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {request}")
        yield self.servables[spec.name, wanted]

    def statuses(self, name: str, version: int | None = None) -> list[VersionStatus]:
        if name != "half":
            text = f"Could not find any versions of model {name}"
            raise ServingError(Code.NOT_FOUND, text)
        known = [
            VersionStatus(2, State.AVAILABLE),
            VersionStatus(1, State.END, Code.DATA_LOSS, "broken"),
        ]
        return [status for status in known if version in (None, status.version)]


_WRITERS = {
    "half": written.write_half_plus_two,
    "several": written.write_several,
    "strings": written.write_strings,
    "any": written.write_unknown_rank,
    "types": written.write_types,
    "classifier": written.write_example_classifier,
    "keras": written.write_keras,
}


def load_models(folder: Path, *names: str) -> LoadedModels:
    """Writes and loads those of the models that are named; `half` has two versions."""
    found = LoadedModels()
    for name in names:
        path = _WRITERS[name](folder / name)
        for version in (1, 2) if name == "half" else (1,):
            found.servables[name, version] = load_servable(name, version, path)
    return found


class Served:
    """A server on a port of its own, and clients made of the published stubs."""

    def __init__(
        self,
        models: LoadedModels,
        options: RpcOptions | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.models = models
        options = options or RpcOptions()
        self.reloaded = []
        self.given_up = threading.Event()
        self.server = make_server(threads=2)
        self.health = add_services(
            self.server, models, self.reload, options=options, observer=observer
        )
        port = self.server.add_insecure_port("localhost:0")
        self.server.start()
        largest = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(f"localhost:{port}", options=largest)
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.management = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def reload(self, config, stopped) -> None:
        self.reloaded.append(config)
        if config.model_config_list.config[0].name == "late":
            while not stopped():
                time.sleep(0.01)
            self.given_up.set()
        if config.model_config_list.config[0].name == "bad":
            raise ServingError(Code.UNKNOWN, "1 model(s) did not become available: {bad}")

    def close(self) -> None:
        self.channel.close()
        self.server.stop(None).wait()


def predict_request(name: str, /, **inputs) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    for alias, value in inputs.items():
        request.inputs[alias].CopyFrom(tf.make_tensor_proto(value))
    return request


def refused(call, request) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=20)
    return caught.value.code(), caught.value.details()
