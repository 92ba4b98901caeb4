"""The machines that train together: who they are, and whether they can be reached.

cluster = read_cluster(text)              # of TF_CONFIG
cluster.addresses, cluster.index          # ("a:2222", "b:2222"), 0
wait_for_all(cluster, seconds=300)
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any

from tfapp.errors import TfappError, UsageError

_FORM = (
    '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
)
_RETRY_SECONDS = 0.2


@dataclass(frozen=True)
class Cluster:
    """Processes that train one model together.

    Attributes:
        addresses: `host:port` of each worker.
        index: This process's place among them; 0 is the chief, which writes the run.
    """

    addresses: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run."""
        return self.index == 0

    def to_json(self) -> str:
        """Returns it in the form of `TF_CONFIG`."""
        task = {"type": "worker", "index": self.index}
        return json.dumps({"cluster": {"worker": list(self.addresses)}, "task": task})


class WorkerLost(TfappError):
    """Another worker of the cluster is gone; its own message says why."""


def read_cluster(text: str) -> Cluster:
    """Reads the content of `TF_CONFIG`; a `chief` counts as the first worker.

    Raises:
        UsageError: It is not what TensorFlow defines.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise UsageError(f"TF_CONFIG is not JSON ({error}); expected {_FORM}.") from error
    parts = content.get("cluster") if isinstance(content, dict) else None
    if not isinstance(parts, dict) or not parts.get("worker", parts.get("chief")):
        raise UsageError(f"TF_CONFIG names no workers; expected {_FORM}.")
    if extra := sorted(set(parts) - {"chief", "worker"}):
        raise UsageError(
            f"TF_CONFIG has tasks of type {', '.join(extra)}; all tasks of tfapp train are workers."
        )
    chiefs, workers = _addresses(parts, "chief"), _addresses(parts, "worker")
    return Cluster((*chiefs, *workers), _own_index(content.get("task"), chiefs, workers))


def check_batch(batch_size: int, replicas: int) -> None:
    """Refuses a batch that replicas cannot share equally.

    Args:
        batch_size: Examples of one step, over all replicas.
        replicas: Copies of the model.

    Raises:
        UsageError: With the nearest sizes that fit.
    """
    if batch_size % replicas == 0:
        return
    lower = batch_size - batch_size % replicas
    fitting = [size for size in (lower, lower + replicas) if size]
    raise UsageError(
        f"data.batch_size {batch_size} is the batch of all devices, and {replicas} cannot share it"
        f" equally. Use {' or '.join(map(str, fitting))}."
    )


def wait_for_all(cluster: Cluster, *, seconds: float) -> None:
    """Returns once every worker has been seen at its address.

    TensorFlow itself would wait for a missing worker without saying for whom.

    Args:
        cluster: All workers; each runs this.
        seconds: How long to wait.

    Raises:
        TfappError: Naming the addresses that did not answer.
        UsageError: This worker's own port is taken.
    """
    deadline = time.monotonic() + seconds
    missing = [a for i, a in enumerate(cluster.addresses) if i != cluster.index]
    with _answering(cluster.addresses[cluster.index]):
        while missing:
            missing = [address for address in missing if not _answers(address)]
            if missing and time.monotonic() > deadline:
                raise TfappError(
                    f"no answer from {', '.join(missing)} within {seconds:g} s. Start tfapp train"
                    " there with the same TF_CONFIG but its own index; TFAPP_WAIT_SECONDS sets how"
                    " long to wait."
                )
            if missing:
                time.sleep(_RETRY_SECONDS)


def _addresses(parts: dict[str, Any], kind: str) -> list[str]:
    found = parts.get(kind, [])
    good = isinstance(found, list) and all(isinstance(a, str) and _is_address(a) for a in found)
    if not good:
        raise UsageError(f"TF_CONFIG: {kind} is a list of 'host:port', found {found!r}.")
    return list(found)


def _is_address(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdecimal() and 0 < int(port) < 65536


def _own_index(task: Any, chiefs: list[str], workers: list[str]) -> int:
    task = task if isinstance(task, dict) else {}
    kind, index = task.get("type"), task.get("index")
    tasks = {"chief": chiefs, "worker": workers}
    if kind not in tasks or not isinstance(index, int):
        raise UsageError(f"TF_CONFIG does not say which task this is; expected {_FORM}.")
    if not 0 <= index < len(tasks[kind]):
        raise UsageError(
            f"TF_CONFIG: this is {kind} {index}, but the cluster has {len(tasks[kind])}, counted"
            " from 0."
        )
    return index if kind == "chief" else len(chiefs) + index


@contextmanager
def _answering(address: str) -> Iterator[None]:
    """Answers at this worker's address until TensorFlow does it."""
    port = int(address.rpartition(":")[2])
    try:
        server = _listen(port)
    except OSError as error:
        raise UsageError(
            f"port {port} of this worker cannot be opened: {error.strerror}. Is another training"
            " still running? Choose another port in TF_CONFIG, on all workers."
        ) from error

    def answer() -> None:
        with contextlib.suppress(OSError):  # ends when the server is shut down
            while True:
                connection, _ = server.accept()
                connection.close()

    thread = Thread(target=answer, daemon=True)
    thread.start()
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


def _listen(port: int) -> socket.socket:
    """Listens for IPv4, and for IPv6 where there is such a thing."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=2):
            return True
    except OSError:
        return False
