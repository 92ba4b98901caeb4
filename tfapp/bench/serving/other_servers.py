"""Servers that tfapp is compared with, each started as its documentation says."""

from __future__ import annotations

from collections.abc import Sequence

from tfapp.bench.serving.base import Server
from tfapp.bench.serving.clients import WrongAnswer
from tfapp.bench.serving.files import Array
from tfapp.bench.serving.points import IMAGES, MLP, Point
from tfapp.processes import python_module

_SERVERS = "tfapp.bench.serving.servers"


class FastApi(Server):
    """What is written by hand most often: FastAPI, uvicorn and `tf.saved_model.load`."""

    def command(self, workload: str) -> Sequence[str]:
        """Returns the command line."""
        names = (MLP, IMAGES) if workload == "bodies" else (MLP,)
        folders = [str(path) for name in names if (path := self.files.model(name)).exists()]
        module = f"{_SERVERS}.fastapi_server"
        return python_module(module, str(self.rest_port), *folders)


class KServe(Server):
    """KServe's server of one's own models, version 1 of its protocol."""

    def command(self, workload: str) -> Sequence[str]:
        """Returns the command line."""
        module, folder = f"{_SERVERS}.kserve_server", str(self.files.model(MLP))
        return python_module(module, str(self.rest_port), folder)


class LitServe(Server):
    """LitServe with a process for the model, without batches."""

    def command(self, workload: str) -> Sequence[str]:
        """Returns the command line."""
        module, folder = f"{_SERVERS}.litserve_server", str(self.files.model(MLP))
        return python_module(module, str(self.rest_port), folder)

    def path(self, model: str) -> str:
        """Returns its one path."""
        return "/predict"


class GrpcEcho(Server):
    """The limit: Python's gRPC server, which sends back the bytes that it got."""

    def command(self, workload: str) -> Sequence[str]:
        """Returns the command line."""
        return python_module(f"{_SERVERS}.grpc_echo", str(self.grpc_port))

    def grpc_answer(self, point: Point, body: bytes) -> Array:
        """Returns the predictions, as if they had been computed from the right bytes."""
        if body != self.files.request(point.request).read_bytes():
            raise WrongAnswer("it sent other bytes than it got")
        return self.files.answer(point.request)
