"""Ends a server by SIGTERM while clients ask, and counts the requests it has lost.

    python benchmarks/serving_shutdown.py --rounds 5

Clients by REST, with connections that are kept and with a new one for each request, and by gRPC
ask without a pause; one request by each takes two seconds. Lost is a request that was sent by a
connection the server had accepted, and not answered. Refused connections, and what gRPC says it
did not run, are the end of a client. Exit code 0: none lost, and the exit code of each server is 0.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
from serving_clients import Asking, GrpcClient, RestClient, clients_of
from serving_load import COLUMNS, Report, Server, folder, parser, right, wait_until, write_version

_SLOW_SECONDS = 2.0
_MOST_SECONDS = 30.0  # Kubernetes kills after so long


def end_under_load(server: Server, model: str, clients: int, report: Report) -> None:
    """Sends SIGTERM to a server of version 1 of a model while it has a lot to do."""
    makers = clients_of(server, model, clients)
    makers += [RestClient(server.rest, model, keep_alive=False) for _ in range(2)]
    asking = [Asking(client, seed) for seed, client in enumerate(makers)]
    for thread in asking:
        thread.start()
    wait_until(lambda: all(thread.answered > 20 for thread in asking))
    x = np.arange(COLUMNS, dtype=np.float32)[None]
    slow: list[Any] = []
    slow_clients = (RestClient(server.rest, model), GrpcClient(server.grpc, model))
    waiting = [
        threading.Thread(target=lambda c=client: slow.append(c.ask_slowly(x, _SLOW_SECONDS)))
        for client in slow_clients
    ]
    for thread in waiting:
        thread.start()
    time.sleep(0.7)
    code, seconds = server.terminate(_MOST_SECONDS)
    for thread in (*asking, *waiting):
        thread.join(60)
    answered = sum(thread.answered for thread in asking)
    lost = [text for thread in asking for text in thread.wrong]
    report.tell(f"{answered} requests answered, then SIGTERM; ended after {seconds:.1f} s")
    report.require(not lost, f"no request was lost: {len(lost)} were")
    for text in lost[:5]:
        report.tell(f"       {text}")
    report.require(all(thread.ended for thread in asking), "every client was refused in the end")
    expected = right(x, 1)
    slow_right = [bool(np.array_equal(y, expected)) for y in slow]
    report.require(slow_right == [True, True], f"both slow requests were answered: {slow_right}")
    report.require(code == 0, f"exit code 0: {code}")
    report.require("Traceback" not in server.log(), "no traceback in the log")


def main() -> None:
    """Runs what the command line asks for."""
    arguments = parser(__doc__, rounds=5, clients=6).parse_args()
    report = Report()
    with folder() as made:
        base = made / "ended"
        base.mkdir()
        write_version(base, 1)
        words = ("--model_name=ended", f"--model_base_path={base}", *arguments.flag)
        for _ in range(arguments.rounds):
            with Server(made, words) as server:
                end_under_load(server, "ended", arguments.clients, report)
    report.end()


if __name__ == "__main__":
    main()
