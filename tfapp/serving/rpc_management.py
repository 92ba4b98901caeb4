"""The services of gRPC that ask of models and of the server itself: status, reload, health.

They have threads of their own: who watches a server is answered when all others compute, and a
reload, which may wait for a model for minutes, keeps nobody from an answer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf import wrappers_pb2
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
)

from tfapp.serving.models import Models
from tfapp.serving.rpc_errors import errors_told
from tfapp.serving.status import Code, ServingError

_SERVING, _NOT_SERVING = 1, 2  # grpc.health.v1.HealthCheckResponse.ServingStatus
_HEALTH_SERVICES = ("", "ModelService", "PredictionService")

# Takes a `ModelServerConfig`, and what tells whether nobody waits for it any more.
Reload = Callable[[Any, Callable[[], bool]], None]
Method = Callable[[Any, Any], Any]


class Management(model_service_pb2_grpc.ModelServiceServicer):
    """`ModelService`.

    Args:
        models: Finds the versions.
        reload: Serves what a config says.
    """

    def __init__(self, models: Models, reload: Reload) -> None:
        self._models = models
        self._reload = reload
        self.GetModelStatus = in_own_threads("grpc-status", 1, self._status)
        # One waits, until a second has brought another config.
        self.HandleReloadConfigRequest = in_own_threads("grpc-reload", 2, self._reload_config)

    def _status(self, request: Any, context: Any) -> Any:
        with errors_told(context):
            if not request.HasField("model_spec"):
                raise ServingError(Code.INVALID_ARGUMENT, "Missing ModelSpec")
            spec = request.model_spec
            version = spec.version.value if spec.HasField("version") else None
            response = get_model_status_pb2.GetModelStatusResponse()
            for found in self._models.statuses(spec.name, version):
                added = response.model_version_status.add(version=found.version, state=found.state)
                added.status.error_code = found.code
                added.status.error_message = found.message
            return response

    def _reload_config(self, request: Any, context: Any) -> Any:
        with errors_told(context):
            if request.config.WhichOneof("config") != "model_config_list":
                raise ServingError(
                    Code.INVALID_ARGUMENT,
                    "ServerModelConfig type not supported by HandleReloadConfigRequest."
                    " Only ModelConfigList is currently supported",
                )
            self._reload(request.config, lambda: not context.is_active())
            response = model_management_pb2.ReloadConfigResponse()
            response.status.error_code = Code.OK
            return response


class Health:
    """What `grpc.health.v1.Health/Check` answers; shared by all services."""

    def __init__(self) -> None:
        self._status = _SERVING

    def stop(self) -> None:
        """Answers `NOT_SERVING` from now on."""
        self._status = _NOT_SERVING

    def check(self, request: Any, context: Any) -> Any:
        """Answers one request."""
        if request.value not in _HEALTH_SERVICES:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return wrappers_pb2.Int32Value(value=self._status)

    def handler(self) -> grpc.GenericRpcHandler:
        """Returns what adds `Check` to a server.

        The messages have one field each, so that these of protobuf itself read the same on the
        wire, and no further package is needed. `Watch` would hold a thread per client.
        """
        check = grpc.unary_unary_rpc_method_handler(
            in_own_threads("grpc-health", 1, self.check),
            request_deserializer=wrappers_pb2.StringValue.FromString,
            response_serializer=wrappers_pb2.Int32Value.SerializeToString,
        )
        return grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": check})


def in_own_threads(name: str, count: int, method: Method) -> Method:
    """Returns a method that gRPC runs in so many threads of its own, of this name.

    gRPC looks for this attribute; a version that did not would run the method among the others.
    """

    @functools.wraps(method)
    def answer(request: Any, context: Any) -> Any:
        return method(request, context)

    answer.experimental_thread_pool = ThreadPoolExecutor(  # type: ignore[attr-defined]
        count, thread_name_prefix=name
    )
    return answer
