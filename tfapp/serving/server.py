"""The server: listens for REST and gRPC, and ends without losing a request.

The listeners open when every model has a version that answers, as in TensorFlow Serving.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import logging
import socket
import threading
import time
from collections.abc import Callable, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import uvicorn

from tfapp.serving.configs import ModelConfig, read_config
from tfapp.serving.flags import Flags, StartError, channel_arguments
from tfapp.serving.loading import LoadOptions
from tfapp.serving.ports import bound_socket
from tfapp.serving.repository import Repository, RepositoryOptions
from tfapp.serving.rest import RestOptions, rest_app
from tfapp.serving.rpc import Health, RpcOptions, add_services, make_server
from tfapp.serving.servable import Servable, load_servable
from tfapp.serving.status import Code, ServingError
from tfapp.serving.warmup import warm_up

log = logging.getLogger(__name__)

# How long requests that are under way may take once the server is told to end. Kubernetes kills
# after 30 s.
DRAIN_SECONDS = 25.0
# How long connections without a request are kept then: a request may be on its way.
_LINGER_SECONDS = 0.5
_LOOK_SECONDS = 0.05
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 1024


class ModelServer:
    """Serves models by REST and gRPC.

    Args:
        flags: Checked by `check_flags`.
        configs: The models.
        drain_seconds: Time that requests have to be done once it is closed.
    """

    def __init__(
        self,
        flags: Flags,
        configs: Sequence[ModelConfig],
        *,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        self._flags = flags
        self._configs = configs
        self._drain_seconds = drain_seconds
        self.models = Repository(functools.partial(_load, flags), _repository_options(flags))
        self._rest: _Rest | None = None
        self._grpc: Any = None
        self._health: Health | None = None
        self._closing = threading.Event()

    def start(self, stopped: Callable[[], bool]) -> bool:
        """Loads the models, then listens.

        Args:
            stopped: Tells whether to give up.

        Returns:
            Whether it listens; not if it was told to give up.

        Raises:
            StartError: A model cannot be loaded, or a port is taken.
        """
        try:
            self.models.serve(self._configs, stopped=stopped)
        except ServingError as error:
            raise StartError(error.code, str(error)) from error
        if stopped():
            return False
        self._listen()
        if self._flags.model_config_file and self._flags.model_config_file_poll_wait_seconds > 0:
            threading.Thread(target=self._follow_config, daemon=True).start()
        return True

    def close(self) -> None:
        """Stops listening, waits for the requests under way, and unloads the models."""
        self._closing.set()
        end = time.monotonic() + self._drain_seconds
        if self._health is not None:
            self._health.stop()
        rpcs = None if self._grpc is None else self._grpc.stop(self._drain_seconds)
        if self._rest is not None:
            self._rest.close(end)
        if rpcs is not None:
            rpcs.wait(max(0.0, end - time.monotonic()))
        self.models.close(max(1.0, end - time.monotonic()))

    def failed(self) -> bool:
        """Tells whether a listener has ended by itself."""
        return self._rest is not None and not self._rest.is_alive()

    def _follow_config(self) -> None:
        file = Path(self._flags.model_config_file)
        while not self._closing.wait(self._flags.model_config_file_poll_wait_seconds):
            try:
                self.models.reload(read_config(file))
            except ServingError as error:
                log.error("%s: %s", file, error)

    def _listen(self) -> None:
        flags = self._flags
        options = RpcOptions(
            tensor_content=flags.enable_serialization_as_tensor_content,
            check_method_name=flags.enable_signature_method_name_check,
            health=flags.enable_grpc_healthcheck_service,
        )
        arguments = channel_arguments(flags.grpc_channel_arguments)
        self._grpc = make_server(flags.grpc_max_threads, arguments)
        self._health = add_services(self._grpc, self.models, self.models.reload, options=options)
        for address in grpc_addresses(flags):
            try:
                self._grpc.add_insecure_port(address)
            except RuntimeError as error:
                raise StartError(
                    Code.UNKNOWN,
                    f"gRPC cannot listen at {address}. Choose another with --port or"
                    " --grpc_socket_path.",
                ) from error
        if flags.rest_api_port:
            app = rest_app(self.models, options=_rest_options(flags))
            self._rest = _Rest(app, flags.rest_api_port)
        self._grpc.start()
        for address in grpc_addresses(flags):
            log.info("Running gRPC ModelServer at %s ...", address)
        if self._rest is not None:
            self._rest.start(self._drain_seconds)
            log.info("Exporting HTTP/REST API at:localhost:%d ...", flags.rest_api_port)


def grpc_addresses(flags: Flags) -> list[str]:
    """Returns where gRPC listens: a port, a UNIX socket, or both."""
    found = [f"0.0.0.0:{flags.port}"] if flags.port else []
    return [*found, f"unix:{flags.grpc_socket_path}"] if flags.grpc_socket_path else found


class _Rest:
    """REST by uvicorn, in a thread of its own."""

    def __init__(self, app: Any, port: int) -> None:
        self._app = app
        self._socket = bound_socket("rest_api_port", port)
        self._server: _Uvicorn | None = None
        self._thread: threading.Thread | None = None

    def start(self, drain_seconds: float) -> None:
        """Returns when it listens."""
        last = _LastAnswers(self._app)
        config = uvicorn.Config(
            last,
            http="httptools",
            loop="uvloop" if importlib.util.find_spec("uvloop") else "asyncio",
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            date_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, round(drain_seconds)),
        )
        self._server = _Uvicorn(config, last)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), name="tfapp-rest", daemon=True
        )
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(_LOOK_SECONDS)

    def is_alive(self) -> bool:
        """Tells whether it listens."""
        return self._thread is not None and self._thread.is_alive()

    def close(self, end: float) -> None:
        """Returns when the requests under way are done, or at the time `end`."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(max(0.0, end - time.monotonic()) + 1.0)


class _LastAnswers:
    """Passes requests on; once the server ends, each connection closes after its answer."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.ending = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_last(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive, send_last if self.ending else send)


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, app: _LastAnswers) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Keeps idle connections a moment longer than uvicorn: a request may be on its way."""
        self._app.ending = True
        for server in self.servers:
            server.close()
        end = time.monotonic() + _LINGER_SECONDS
        while self.server_state.connections and time.monotonic() < end:
            await asyncio.sleep(_LOOK_SECONDS)
        await super().shutdown(sockets)


def _load(flags: Flags, name: str, version: int, path: Path) -> Servable:
    servable = load_servable(name, version, path, tags=tuple(flags.saved_model_tags.split(",")))
    if flags.enable_model_warmup:
        try:
            warm_up(servable, iterations=max(1, flags.num_request_iterations_for_warmup))
        except ServingError:
            servable.close()
            raise
    return servable


def _repository_options(flags: Flags) -> RepositoryOptions:
    return RepositoryOptions(
        poll_seconds=flags.file_system_poll_wait_seconds,
        early_labels=flags.allow_version_labels_for_unavailable_models,
        loading=LoadOptions(
            load_threads=max(1, flags.num_load_threads),
            unload_threads=max(1, flags.num_unload_threads),
            retries=flags.max_num_load_retries,
            retry_seconds=flags.load_retry_interval_micros / 1e6,
        ),
    )


def _rest_options(flags: Flags) -> RestOptions:
    return RestOptions(
        timeout_ms=flags.rest_api_timeout_in_ms,
        cors=flags.rest_api_enable_cors_support,
        threads=flags.rest_api_num_threads,
        check_method=flags.enable_signature_method_name_check,
    )
