"""The server: listens for REST and gRPC, and ends without losing a request.

The listeners open when every model has a version that answers, as in TensorFlow Serving.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tfapp.serving.batching import Batching, BatchScheduler
from tfapp.serving.batching_options import PER_MODEL_FILE, BatchingOptions, read_batching
from tfapp.serving.combining import Combiner
from tfapp.serving.configs import ModelConfig, read_config
from tfapp.serving.flags import Flags, StartError, channel_arguments
from tfapp.serving.grpc_closing import Gate
from tfapp.serving.http1 import HttpLimits
from tfapp.serving.http_server import HttpServer
from tfapp.serving.independence import TRIED_ROWS, independent_signatures
from tfapp.serving.loading import LoadOptions
from tfapp.serving.metrics import Metrics
from tfapp.serving.monitoring import metrics_path
from tfapp.serving.observing import LoadRecord, Observer, Observers
from tfapp.serving.options import ServerOptions
from tfapp.serving.ports import bound_socket
from tfapp.serving.prometheus import CONTENT_TYPE
from tfapp.serving.readers import MakeReaders, ReaderOptions, Readers, most_readers
from tfapp.serving.repository import Repository, RepositoryOptions
from tfapp.serving.rest import Page, RestApp, RestOptions
from tfapp.serving.rpc import RpcOptions, add_services, make_server
from tfapp.serving.rpc_management import Health
from tfapp.serving.servable import Servable, load_servable
from tfapp.serving.sessions import session_config
from tfapp.serving.status import Code, ServingError
from tfapp.serving.tls import encryption
from tfapp.serving.warmup import samples, warm_up

log = logging.getLogger(__name__)

# How long requests that are under way may take once the server is told to end. Kubernetes kills
# after 30 s.
DRAIN_SECONDS = 25.0


class ModelServer:
    """Serves models by REST and gRPC.

    Args:
        flags: Checked by `check_flags`.
        configs: The models.
        observers: Who is told of requests, batches and loads.
        options: What is no flag of TensorFlow Serving.
        drain_seconds: Time that requests have to be done once it is closed.

    Raises:
        StartError: A file that the flags name cannot be read or has a mistake.
    """

    def __init__(
        self,
        flags: Flags,
        configs: Sequence[ModelConfig],
        *,
        observers: Sequence[Observer] = (),
        options: ServerOptions | None = None,
        drain_seconds: float = DRAIN_SECONDS,
    ) -> None:
        self._flags = flags
        self._configs = configs
        self._options = options = options or ServerOptions()
        self._drain_seconds = drain_seconds
        try:
            self._metrics_path = metrics_path(flags.monitoring_config_file)
            self._encryption = encryption(flags.ssl_config_file)
            session = session_config(flags)
            batching = _batching(flags)
        except ServingError as error:
            raise StartError(error.code, str(error)) from error
        self._metrics = Metrics() if self._metrics_path else None
        self.observer = Observers([*observers, *([self._metrics] if self._metrics else [])])
        self._scheduler = None if batching is None else BatchScheduler(batching, self.observer)
        prepare = functools.partial(
            _prepare, flags, self.observer, self._scheduler, adaptive=options.adaptive_batching
        )
        load = functools.partial(_load, flags, session, self.observer, prepare)
        self.models = Repository(load, _repository_options(flags))
        self._rest: HttpServer | None = None
        self._app: RestApp | None = None
        self._grpc: Any = None
        self._gate = Gate()
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
        self.models.stop()
        end = time.monotonic() + self._drain_seconds
        if self._health is not None:
            self._health.stop()
        rpcs = None if self._grpc is None else self._gate.close(self._grpc, self._drain_seconds)
        if self._rest is not None and self._app is not None:
            self._rest.close(end)
            self._app.close()
        if rpcs is not None:
            rpcs.wait(max(0.0, end - time.monotonic()))
        self.models.close(max(1.0, end - time.monotonic()))
        if self._scheduler is not None:
            self._scheduler.close()

    def failed(self) -> bool:
        """Tells whether a listener has ended by itself."""
        return self._rest is not None and not self._rest.is_alive()

    def _follow_config(self) -> None:
        file = Path(self._flags.model_config_file)
        seconds = _bounded(self._flags.model_config_file_poll_wait_seconds)
        while not self._closing.wait(seconds):
            try:
                self.models.follow(read_config(file))
            except ServingError as error:
                log.error("%s: %s", file, error)
            except Exception:  # without this thread the file would never be read again
                log.exception("%s was not taken", file)

    def _make_rest(self) -> tuple[RestApp, HttpServer]:
        flags, options = self._flags, self._options
        encrypted = self._encryption if options.rest_tls else None
        rest = RestOptions(
            timeout_ms=flags.rest_api_timeout_in_ms,
            cors=flags.rest_api_enable_cors_support,
            threads=flags.rest_api_num_threads,
            check_method=flags.enable_signature_method_name_check,
            in_loop=not flags.enable_batching,
            pages=self._pages(),
            gzip=options.gzip_answers,
            scheme="https" if encrypted else "http",
            busy_poll_seconds=options.busy_poll_seconds,
        )
        app = RestApp(self.models, options=rest, observer=self.observer)
        server = HttpServer(
            app,
            bound_socket("rest_api_port", flags.rest_api_port),
            limits=HttpLimits(body_bytes=options.body_limit),
            tls=encrypted.context if encrypted else None,
            readers=self._readers(app, rest),
        )
        return app, server

    def _readers(self, app: RestApp, rest: RestOptions) -> MakeReaders | None:
        processes = min(self._options.rest_readers, most_readers())
        if not processes or not rest.in_loop or rest.gzip:
            return None
        return functools.partial(Readers, ReaderOptions(processes), app)

    def _pages(self) -> dict[str, Page]:
        metrics = self._metrics
        if metrics is None or self._metrics_path is None:
            return {}
        return {self._metrics_path: lambda: (CONTENT_TYPE, metrics.exposition(self.models))}

    def _listen(self) -> None:
        flags = self._flags
        rpc_options = RpcOptions(
            tensor_content=flags.enable_serialization_as_tensor_content,
            check_method_name=flags.enable_signature_method_name_check,
            health=flags.enable_grpc_healthcheck_service,
        )
        arguments = channel_arguments(flags.grpc_channel_arguments)
        self._grpc = make_server(
            flags.grpc_max_threads, arguments, frugal=not flags.enable_batching
        )
        self._health = add_services(
            self._grpc,
            self.models,
            self.models.reload,
            options=rpc_options,
            observer=self.observer,
            gate=self._gate,
        )
        for address in grpc_addresses(flags):
            try:
                if self._encryption is None:
                    self._grpc.add_insecure_port(address)
                else:
                    self._grpc.add_secure_port(address, self._encryption.grpc_credentials())
            except RuntimeError as error:
                raise StartError(
                    Code.UNKNOWN,
                    f"gRPC cannot listen at {address}. Choose another with --port or"
                    " --grpc_socket_path.",
                ) from error
        if flags.rest_api_port:
            self._app, self._rest = self._make_rest()
        elif self._metrics_path:
            log.warning("metrics are counted, but nobody can read them: give --rest_api_port")
        self._grpc.start()
        for address in grpc_addresses(flags):
            log.info("Running gRPC ModelServer at %s ...", address)
        if self._rest is not None:
            self._rest.start()
            log.info("Exporting HTTP/REST API at:localhost:%d ...", flags.rest_api_port)


def grpc_addresses(flags: Flags) -> list[str]:
    """Returns where gRPC listens: a port, a UNIX socket, or both."""
    found = [f"0.0.0.0:{flags.port}"] if flags.port else []
    return [*found, f"unix:{flags.grpc_socket_path}"] if flags.grpc_socket_path else found


def _load(
    flags: Flags,
    session: Any,
    observer: Observer,
    prepare: Callable[[Servable], None],
    name: str,
    version: int,
    path: Path,
) -> Servable:
    started, code = time.monotonic(), Code.UNKNOWN
    try:
        tags = tuple(flags.saved_model_tags.split(","))
        servable = load_servable(name, version, path, tags=tags, session_config=session)
        code = Code.OK
    except ServingError as error:
        code = error.code
        raise
    finally:
        observer.load(LoadRecord(path, code, time.monotonic() - started))
    try:
        prepare(servable)
    except BaseException:
        servable.close()
        raise
    return servable


def _prepare(
    flags: Flags,
    observer: Observer,
    scheduler: BatchScheduler | None,
    servable: Servable,
    *,
    adaptive: bool,
) -> None:
    """Warms a model up, and lets it run requests together as the flags say."""
    if scheduler is not None:
        options = scheduler.options
        file = servable.path / PER_MODEL_FILE
        if flags.enable_per_model_batching_parameters and file.exists():
            flag = "--enable_per_model_batching_parameters"
            options = read_batching(file, options, flag=flag)
        servable.runner = Batching(scheduler, servable.name, options)
    if flags.enable_model_warmup:
        iterations = max(1, flags.num_request_iterations_for_warmup)
        warm_up(servable, iterations=iterations, observer=observer)
    if adaptive and scheduler is None:
        recorded = samples(servable, TRIED_ROWS) if flags.enable_model_warmup else {}
        servable.allow_mixing(independent_signatures(servable, recorded))
        servable.runner = Combiner(servable.name, observer)


def _batching(flags: Flags) -> BatchingOptions | None:
    if not flags.enable_batching:
        return None
    if not flags.batching_parameters_file:
        return BatchingOptions()
    return read_batching(Path(flags.batching_parameters_file), flag="--batching_parameters_file")


def _repository_options(flags: Flags) -> RepositoryOptions:
    return RepositoryOptions(
        poll_seconds=_bounded(flags.file_system_poll_wait_seconds),
        early_labels=flags.allow_version_labels_for_unavailable_models,
        loading=LoadOptions(
            load_threads=max(1, flags.num_load_threads),
            unload_threads=max(1, flags.num_unload_threads),
            retries=flags.max_num_load_retries,
            retry_seconds=_bounded(flags.load_retry_interval_micros / 1e6),
        ),
    )


def _bounded(seconds: float) -> float:
    """Returns a time that can be waited for: Python ends a thread that is to wait 300 years."""
    return min(seconds, threading.TIMEOUT_MAX)
