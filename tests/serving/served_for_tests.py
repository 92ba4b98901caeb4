"""A server of the versions in a folder, by both protocols."""

from __future__ import annotations

from contextlib import contextmanager

from ports_for_tests import free_port

from tfapp.serving.configs import configs_of
from tfapp.serving.flags import Flags
from tfapp.serving.server import ModelServer


@contextmanager
def serving(folder):
    """Serves the versions in a folder as `m`; gives the URLs of both protocols."""
    ports = [free_port(), free_port()]
    flags = Flags(
        port=ports[0], rest_api_port=ports[1], model_name="m", model_base_path=str(folder)
    )
    server = ModelServer(flags, configs_of(flags), drain_seconds=1)
    try:
        assert server.start(lambda: False)
        yield f"http://localhost:{ports[1]}/v1/models/m", f"grpc://localhost:{ports[0]}/m"
    finally:
        server.close()
