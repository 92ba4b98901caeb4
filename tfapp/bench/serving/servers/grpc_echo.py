"""A server by gRPC that computes nothing: the bytes of a request are its answer."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from tfapp.cores import usable_cores

# As many as `tfapp serve` has by default.
_THREADS = 4 * usable_cores()


class Echo(grpc.GenericRpcHandler):
    """Answers every method."""

    def service(self, details: Any) -> Any:
        """Returns what answers one."""
        return grpc.unary_unary_rpc_method_handler(lambda request, context: request)


def main() -> None:
    """Serves until it is ended."""
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(_THREADS), handlers=[Echo()], options=options)
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
