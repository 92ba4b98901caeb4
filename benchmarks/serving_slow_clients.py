"""Keeps hundreds of connections open that send a byte a second, and asks beside them.

    python benchmarks/serving_slow_clients.py --connections 300 --seconds 45

Half of the connections never end their headers, half never their body, and one in a hundred asks
for an answer of several megabytes that it does not read. Exit code 0: every other client is
answered right meanwhile, a new client is answered soon, and no request is left that does not
arrive. An answer of which nothing is taken is kept for 75 seconds.
"""

from __future__ import annotations

import json
import socket
import time
from collections import Counter

import numpy as np
from serving_clients import Asking, RestClient, clients_of
from serving_load import COLUMNS, Report, Server, folder, parser, write_version

_HEAD_AND_BODY_SECONDS = 40.0  # the limit is 30 s, and is looked at once a second
_ANSWER_SECONDS = 1.0
_ROWS = 100_000  # so that the answer is more than the system keeps on its way


class _Slow:
    """A connection that sends what it has a byte at a time.

    Args:
        port: Of the server.
        kind: `head`, `body` or `answer`, that it does not come to the end of.
        model: Its name.
    """

    def __init__(self, port: int, kind: str, model: str) -> None:
        self.kind = kind
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        line = f"POST /v1/models/{model}:predict HTTP/1.1\r\n".encode()
        if kind == "head":
            self.socket.sendall(line)
        elif kind == "body":
            self.socket.sendall(line + b"content-length: 100000\r\n\r\n")
        elif kind == "answer":
            body = json.dumps({"inputs": [[0.5] * COLUMNS] * _ROWS}).encode()
            self.socket.sendall(line + f"content-length: {len(body)}\r\n\r\n".encode() + body)
        self.socket.setblocking(False)
        self.opened = time.monotonic()
        self.ended = 0.0
        self.said = b""

    def drip(self) -> None:
        """Sends its byte of this second, or finds that it is closed."""
        if self.ended or self.kind == "answer":
            return
        try:
            self.socket.send(b"a")
            self.said += self.socket.recv(4096)
            self.ended = time.monotonic()
        except BlockingIOError:
            return
        except OSError:
            self.ended = time.monotonic()


def stay_slowly(
    server: Server, model: str, connections: int, seconds: float, report: Report
) -> None:
    """Opens slow connections to version 1 of a model, and asks beside them."""
    files = server.files()
    kinds = ["answer" if n % 100 == 99 else ("head", "body")[n % 2] for n in range(connections)]
    slow = [_Slow(server.rest, kind, model) for kind in kinds]
    # The large answers must be made first; what is measured is what waiting clients cost.
    RestClient(server.rest, model).ask_slowly(np.ones((1, COLUMNS), np.float32), 3.0)
    asking = [Asking(client, seed) for seed, client in enumerate(clients_of(server, model, 3))]
    for thread in asking:
        thread.start()
    longest = _drip(server, model, slow, seconds)
    for thread in asking:
        thread.stop()
    answered = sum(thread.answered for thread in asking)
    wrong = [text for thread in asking for text in thread.wrong]
    report.tell(f"{answered} requests answered beside {connections} slow connections")
    report.require(not wrong, f"no request failed: {len(wrong)} did {wrong[:2] or ''}")
    report.require(
        longest < _ANSWER_SECONDS,
        f"a new client waits {longest * 1e3:.0f} ms at most (< {_ANSWER_SECONDS * 1e3:.0f})",
    )
    if seconds < _HEAD_AND_BODY_SECONDS:
        report.tell("too short to see the slow connections end")
    else:
        _require_ended(server, slow, files, report)
    for connection in slow:
        connection.socket.close()
    report.require(server.runs(), "the process is there")


def _drip(server: Server, model: str, slow: list[_Slow], seconds: float) -> float:
    """Returns how long a new client has waited for its answer, at most."""
    longest = 0.0
    x = np.ones((1, COLUMNS), np.float32)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        RestClient(server.rest, model, keep_alive=False).ask(x)
        longest = max(longest, time.monotonic() - began)
        for connection in slow:
            connection.drip()
        time.sleep(max(0.0, began + 1.0 - time.monotonic()))
    return longest


def _require_ended(server: Server, slow: list[_Slow], files: int, report: Report) -> None:
    waiting = [c for c in slow if c.kind != "answer" and not c.ended]
    lasted = [c.ended - c.opened for c in slow if c.ended]
    said = Counter(c.said[9:12].decode() for c in slow if c.said)
    report.tell(
        f"slow requests lasted {min(lasted, default=0):.0f} to {max(lasted, default=0):.0f} s"
    )
    report.tell(f"they were told: {dict(said)}")
    report.require(not waiting, f"no slow request is left: {len(waiting)} are")
    more = server.files() - files
    report.tell(f"{more} more files are open than before: connections whose answer is not read")


def main() -> None:
    """Runs what the command line asks for."""
    arguments = parser(__doc__, connections=300, seconds=45).parse_args()
    report = Report()
    with folder() as made:
        base = made / "slow"
        base.mkdir()
        write_version(base, 1)
        words = ("--model_name=slow", f"--model_base_path={base}", *arguments.flag)
        with Server(made, words) as server:
            stay_slowly(server, "slow", arguments.connections, arguments.seconds, report)
            report.tell(f"memory: {server.rss_mb():.0f} MB, at most {server.peak_mb():.0f} MB")
            report.require("Traceback" not in server.log(), "no traceback in the log")
    report.end()


if __name__ == "__main__":
    main()
