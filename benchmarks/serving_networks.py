"""Sends hostile shapes and values to real networks, and asks each for a right answer after them.

    python benchmarks/serving_networks.py

One server has networks of most layers of Keras and of what models are made of besides. By gRPC they
are sent tensors of every number of dimensions up to nine and of 33 and 64, of sizes that are not
theirs, and values at the ends of their types; text that is no text, images that are none. Exit code
0: the process was always there, each request was answered in time, gRPC never what stands for a
mistake in the server, and the memory is bounded. A network that ends the process is named, with the
request; then the others go on with a new server.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from urllib import request as http

import grpc
import numpy as np
from hostile_networks import Network, networks
from hostile_tensors import requests
from serving_load import Report, Server, folder, models_config, parser
from tensorflow_serving.apis import predict_pb2

from tfapp.serving.tensors import to_array, write_proto

_SECONDS = 20.0
_GROWTH_MB = 2500
_TOLD_MB = 200  # by one network
_ENDS = 3  # of the process by one network, until it is given up
_WRONG_CODES = (
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
)
_STATUSES = {200, 400, 409, 501}  # 409 is what oneDNN refuses, 501 what an operation does
_PREDICT = "/tensorflow.serving.PredictionService/Predict"


class Served:
    """A server of networks that is started anew when it has ended.

    Args:
        made: Folder of their models.
        networks: What is served.
        flags: Of the server.
    """

    def __init__(self, made: Path, networks: Sequence[Network], flags: Sequence[str]) -> None:
        for network in networks:
            network.write(made / network.name / "1")
        self._made = made
        self._words = (models_config(made, *(each.name for each in networks)), *flags)
        self._stack = ExitStack()
        self.tracebacks: list[str] = []
        self.growth_mb = 0.0

    def __enter__(self) -> Served:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def ask(self, name: str, inputs: Mapping[str, np.ndarray]) -> bytes:
        """Returns the answer of a network, a `PredictResponse`.

        Raises:
            grpc.RpcError: It answered an error, or not in time.
        """
        message = predict_pb2.PredictRequest()
        message.model_spec.name = name
        for alias, array in inputs.items():
            write_small(array, message.inputs[alias])
        answer: bytes = self._call(message.SerializeToString(), timeout=_SECONDS)
        return answer

    def ask_rest(self, name: str, inputs: Mapping[str, np.ndarray]) -> int:
        """Returns the status of an answer by REST."""
        body = json.dumps({"inputs": {alias: array.tolist() for alias, array in inputs.items()}})
        url = f"http://127.0.0.1:{self.server.rest}/v1/models/{name}:predict"
        try:
            with http.urlopen(url, body.encode(), timeout=_SECONDS) as answer:
                return int(answer.status)
        except http.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def has_ended(self) -> bool:
        """Tells whether the process is gone, a moment after a call has failed."""
        time.sleep(0.3)
        return not self.server.runs()

    def restart(self) -> None:
        """Starts it anew."""
        self.end()
        self._stack = ExitStack()
        self._start()

    def end(self) -> None:
        """Ends it, and keeps what was seen of it."""
        _, found, after = self.server.log().partition("Traceback")
        self.tracebacks += [found + after[:3000]] if found else []
        if self.server.runs():
            self.growth_mb = max(self.growth_mb, self.server.peak_mb() - self._before_mb)
        self._stack.close()

    def _start(self) -> None:
        self.server = self._stack.enter_context(Server(self._made, self._words))
        channel = grpc.insecure_channel(
            f"127.0.0.1:{self.server.grpc}", [("grpc.max_receive_message_length", -1)]
        )
        self._call = self._stack.enter_context(channel).unary_unary(_PREDICT)
        self._before_mb = self.server.rss_mb()


def write_small(array: np.ndarray, proto: object) -> None:
    """Writes an array of one value as that value and its shape."""
    repeated = array.size > 1 and not any(array.strides)
    write_proto(array.ravel()[:1] if repeated else array, proto)
    if repeated:
        del proto.tensor_shape.dim[:]
        for size in array.shape:
            proto.tensor_shape.dim.add(size=size)


def strain(served: Served, networks: Sequence[Network], most: int, report: Report) -> None:
    """Sends everything to each network.

    Args:
        served: What serves them.
        networks: Which of them.
        most: How many requests to each; 0 for all there are.
        report: What is told, and required.
    """
    answers: Counter[str] = Counter()
    wrong: list[str] = []
    ends: Counter[str] = Counter()
    for network in networks:
        before_mb = served.server.peak_mb()
        if not is_right(served, network):
            wrong.append(f"{network.name}: not right before anything was sent")
        for what, inputs in islice(requests(network.right), most or None):
            code, said = _answered(served, network.name, inputs)
            answers[code.name] += 1
            if code is grpc.StatusCode.OK:
                continue
            if code in _WRONG_CODES:
                wrong.append(f"{network.name}, {what}: {code.name} {said[:200]}")
            if code is grpc.StatusCode.UNAVAILABLE and served.has_ended():
                report.tell(f"       ended by {network.name}, {what}: {_last_words(served)}")
                ends[network.name] += 1
                served.restart()
                if ends[network.name] == _ENDS:
                    break
        if not is_right(served, network):
            wrong.append(f"{network.name}: not right after everything was sent")
        if (risen := served.server.peak_mb() - before_mb) > _TOLD_MB:
            report.tell(f"       {network.name} made the memory rise by {risen:.0f} MB")
    _conclude(served, answers, wrong, ends, report)


def strain_rest(served: Served, networks: Sequence[Network], report: Report) -> None:
    """Sends shapes by REST."""
    statuses: Counter[int] = Counter()
    for network in networks:
        for rank in range(7):
            wrong = {
                alias: np.ones([1] * rank, array.dtype)
                for alias, array in network.right.items()
                if array.dtype != object
            }
            statuses[served.ask_rest(network.name, wrong)] += 1
    counted = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    report.require(set(statuses) <= _STATUSES, f"by REST: {counted}")
    report.require(served.server.runs(), "the process is there")


def is_right(served: Served, network: Network) -> bool:
    """Tells whether a network answers what it has to."""
    try:
        answer = predict_pb2.PredictResponse.FromString(served.ask(network.name, network.right))
    except grpc.RpcError:
        return False
    ((alias, proto),) = answer.outputs.items()
    found = to_array(proto, alias)
    wanted = network.answer()
    if found.dtype == object:
        return bool(np.all(found == wanted))
    # A batch of another size, or a graph as a whole, may be added up in another order.
    return found.shape == wanted.shape and np.allclose(found, wanted, 1e-4, 1e-4, equal_nan=True)


def _answered(
    served: Served, name: str, inputs: Mapping[str, np.ndarray]
) -> tuple[grpc.StatusCode, str]:
    try:
        served.ask(name, inputs)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def _last_words(served: Served) -> str:
    failed = [line for line in served.server.log().splitlines() if "Check failed" in line]
    return failed[-1].partition("] ")[2] if failed else f"exit code {served.server.process.poll()}"


def _conclude(
    served: Served, answers: Counter[str], wrong: list[str], ends: Counter[str], report: Report
) -> None:
    counted = ", ".join(f"{count} {name}" for name, count in sorted(answers.items()))
    report.tell(f"{answers.total()} requests: {counted}")
    report.require(not ends, f"the process was always there: {ends.total()} times it was ended")
    report.require(not wrong, f"every answer is one by contract: {len(wrong)} are not")
    for said in wrong[:40]:
        report.tell(f"       {said}")


def main() -> None:
    """Runs what the command line asks for."""
    arguments = parser(__doc__, requests=0).parse_args()
    report = Report()
    every = networks()
    with folder() as made, Served(made, every, arguments.flag) as served:
        report.tell(f"{len(every)} networks")
        strain(served, every, arguments.requests, report)
        strain_rest(served, every, report)
        served.end()
        report.require(not served.tracebacks, "no traceback in the log")
        for said in served.tracebacks:
            report.tell(said)
        grown = served.growth_mb
        report.require(grown < _GROWTH_MB, f"memory rose by {grown:.0f} MB (< {_GROWTH_MB})")
    report.end()


if __name__ == "__main__":
    main()
