"""Sends 10,000 malformed and hostile requests, and asks for a right answer after them.

    python benchmarks/serving_hostile.py --requests 10000

Bodies by REST, protos by gRPC, and raw bytes that are hardly HTTP, from strategies of hypothesis
that give the same in every process and from a list of known attacks. Exit code 0: the process is
there, it answers right, REST never answered 5xx but 501, 503 and 504, gRPC never what stands for a
mistake in the server, and the memory is bounded.
"""

from __future__ import annotations

import functools
import http.client
import json
import socket
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import hostile_requests as hostile
import tensorflow as tf
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from serving_load import Report, Server, folder, parser

# What REST may answer by contract, besides what is below 500.
_SERVER_ERRORS = (501, 503, 504)
_WRONG_CODES = (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE)
# gRPC's own answer to a message that is no message; C++ has the same code.
_NO_MESSAGE = "Exception deserializing request!"
_GROWTH_MB = 2500
RIGHT = b'{"signature_name": "floats", "instances": [[1.5, 2.0], [0.0, -1.0]]}'
_SECONDS = 20.0
_OTHER_METHODS = (
    "PredictionService/Classify",
    "PredictionService/Regress",
    "PredictionService/MultiInference",
    "PredictionService/GetModelMetadata",
    "ModelService/GetModelStatus",
)


class _Echo(tf.Module):
    """Echoes what it is sent, of four types and of any shape."""

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, "x")])
    def floats(self, x: Any) -> Any:
        return {"y": tf.identity(x)}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.int32, "x")])
    def integers(self, x: Any) -> Any:
        return {"y": tf.identity(x)}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.string, "x")])
    def texts(self, x: Any) -> Any:
        return {"y": tf.identity(x)}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.bool, "x")])
    def bools(self, x: Any) -> Any:
        return {"y": tf.identity(x)}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.float32, "a"),
            tf.TensorSpec([None, 2], tf.float32, "b"),
        ]
    )
    def several(self, a: Any, b: Any) -> Any:
        return {"y": a + b}


def write_echo(base: Path) -> None:
    """Writes the model that hostile requests are sent to, as version 1."""
    echo = _Echo()
    signatures = {name: getattr(echo, name) for name in hostile.SIGNATURES}
    signatures["serving_default"] = echo.floats
    tf.saved_model.save(echo, str(base / "1"), signatures=signatures)


class _Sender:
    """Sends hostile requests and counts what they are answered."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._rest = http.client.HTTPConnection("127.0.0.1", server.rest, timeout=_SECONDS * 6)
        options = [("grpc.max_receive_message_length", -1)]
        self._channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc}", options=options)
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []

    def body(self, body: bytes, verb: str = "predict", encoding: str = "") -> None:
        """Sends a body by REST."""
        headers = {"Content-Encoding": encoding} if encoding else {}
        try:
            self._rest.request("POST", f"/v1/models/{hostile.MODEL}:{verb}", body, headers)
            answer = self._rest.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._rest.close()
            self._note("no answer", False, f"{error!r} to {body[:200]!r}")
            return
        status = answer.status
        right = status < 500 or status in _SERVER_ERRORS
        if status >= 400:
            right = right and list(json.loads(content)) == ["error"]
        self._note(f"REST {status}", right, f"{status} {content[:200]!r} to {body[:200]!r}")

    def message(self, message: bytes, method: str = "PredictionService/Predict") -> None:
        """Sends a message by gRPC, as it is."""
        call = self._channel.unary_unary(f"/tensorflow.serving.{method}")
        try:
            call(message, timeout=_SECONDS * 6)
        except grpc.RpcError as error:
            right = error.code() not in _WRONG_CODES or error.details() == _NO_MESSAGE
            said = f"{error.code().name} {error.details()[:200]!r} to {message[:200]!r}"
            self._note(f"gRPC {error.code().name}", right, said)
        else:
            self._note("gRPC OK", True, "")

    def raw(self, name: str, sent: bytes) -> None:
        """Sends bytes by a connection of their own."""
        found = exchange(self._server.rest, sent)
        statuses = [int(part[:3]) for part in found.split(b"HTTP/1.1 ")[1:]]
        right = len(statuses) <= 1 and all(status < 500 for status in statuses)
        self._note(
            f"raw {statuses[0] if statuses else 'closed'}", right, f"{name}: {found[:200]!r}"
        )

    def _note(self, kind: str, right: bool, said: str) -> None:
        self.answers[kind] += 1
        if not right or not self._server.runs():
            self.wrong.append(said)


def exchange(port: int, sent: bytes, seconds: float = 0.5) -> bytes:
    """Sends bytes and returns what comes back until the connection is closed, or silent."""
    pieces = []
    with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as client:
        try:
            client.sendall(sent)
            client.settimeout(seconds)
            while piece := client.recv(2**16):
                pieces.append(piece)
        except OSError:  # reset, or nothing more comes
            pass
    return b"".join(pieces)


def send_generated(
    examples: int, contents: st.SearchStrategy[bytes], send: Callable[[bytes], None]
) -> None:
    """Sends so many different requests of a strategy, the same in every process."""

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(contents)
    def each(content: bytes) -> None:
        send(content)

    each()


def attack(server: Server, requests: int, report: Report) -> None:
    """Sends everything to a server that serves `write_echo`."""
    sender = _Sender(server)
    before = server.rss_mb()
    started = time.monotonic()
    send_generated(requests // 2, hostile.bodies(), sender.body)
    send_generated(requests // 20, hostile.bodies(), lambda body: sender.body(body, "classify"))
    send_generated(requests // 2, hostile.messages(), sender.message)
    for method in _OTHER_METHODS:
        send_generated(
            requests // 100, hostile.messages(), functools.partial(sender.message, method=method)
        )
    report.tell(f"generated: {_counted(sender)} in {time.monotonic() - started:.0f} s")
    _require(server, sender, report)
    for name, body in hostile.large_bodies().items():
        _timed(name, lambda body=body: sender.body(body), report)
    for name, body in hostile.gzip_bodies().items():
        _timed(name, lambda body=body: sender.body(body, encoding="gzip"), report)
    for name, message in hostile.large_messages().items():
        _timed(name, lambda message=message: sender.message(message), report)
    path = f"/v1/models/{hostile.MODEL}:predict"
    for name, sent in hostile.raw_requests(path, RIGHT).items():
        sender.raw(name, sent)
    report.tell(f"with the list of attacks: {_counted(sender)}")
    _require(server, sender, report)
    growth = server.peak_mb() - before
    report.require(growth < _GROWTH_MB, f"memory rose by {growth:.0f} MB at most (< {_GROWTH_MB})")
    pipeline(server, report)


def _counted(sender: _Sender) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(sender.answers.items()))


def _timed(name: str, send: Callable[[], None], report: Report) -> None:
    started = time.monotonic()
    send()
    seconds = time.monotonic() - started
    if seconds > _SECONDS:
        report.require(False, f"{name}: {seconds:.1f} s (< {_SECONDS:.0f})")


def _require(server: Server, sender: _Sender, report: Report) -> None:
    report.require(server.runs(), "the process is there")
    report.require(
        not sender.wrong, f"every answer is one by contract: {len(sender.wrong)} are not"
    )
    for said in sender.wrong[:5]:
        report.tell(f"       {said}")
    sender.wrong.clear()
    head = f"POST /v1/models/{hostile.MODEL}:predict HTTP/1.1\r\nconnection: close\r\n"
    sent = f"{head}content-length: {len(RIGHT)}\r\n\r\n".encode() + RIGHT
    found = exchange(server.rest, sent, _SECONDS)
    right = found.endswith(b'{"predictions":[[1.5,2.0],[0.0,-1.0]]}')
    report.require(right, "a right request is answered right")


def pipeline(server: Server, report: Report, count: int = 200) -> None:
    """Sends requests one after the other without waiting for answers."""
    path = f"/v1/models/{hostile.MODEL}:predict"
    sent = b""
    for number in range(count):
        body = f'{{"signature_name": "floats", "inputs": {number}}}'.encode()
        last = "connection: close\r\n" if number == count - 1 else ""
        head = f"POST {path} HTTP/1.1\r\n{last}content-length: {len(body)}\r\n\r\n"
        sent += head.encode() + body
    found = exchange(server.rest, sent, _SECONDS)
    answers = [part.partition(b"\r\n\r\n")[2] for part in found.split(b"HTTP/1.1 200 OK")[1:]]
    right = answers == [f'{{"outputs":{number}.0}}'.encode() for number in range(count)]
    report.require(right, f"{count} requests sent at once are answered in their order")


def main() -> None:
    """Runs what the command line asks for."""
    arguments = parser(__doc__, requests=10_000).parse_args()
    report = Report()
    with folder() as made:
        base = made / hostile.MODEL
        base.mkdir()
        write_echo(base)
        words = (f"--model_name={hostile.MODEL}", f"--model_base_path={base}", *arguments.flag)
        with Server(made, words) as server:
            attack(server, arguments.requests, report)
            tracebacks = server.log().count("Traceback")
            report.require(not tracebacks, f"no traceback in the log: {tracebacks}")
            if tracebacks:
                report.tell(server.log()[-3000:])
    report.end()


if __name__ == "__main__":
    main()
