"""What the programs that strain a server share: its process, its models, a report."""

from __future__ import annotations

import argparse
import http.client
import json
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

COLUMNS = 4  # of the input
_MB = 2**20
_START_SECONDS = 120
_NOT_MET = 3  # exit code of a program whose answer is no


class _Versioned(tf.Module):
    def __init__(self, version: int, factor: float, megabytes: int) -> None:
        super().__init__()
        self.version = tf.Variable(version, dtype=tf.int64)
        self.factor = tf.Variable(factor)
        self.ballast = tf.Variable(tf.zeros([megabytes * 2**18 + 1]))

    @tf.function(input_signature=[tf.TensorSpec([None, COLUMNS], tf.float32, "x")])
    def predict(self, x: Any) -> Mapping[str, Any]:
        version = tf.fill([tf.shape(x)[0]], self.version)
        added = tf.cast(self.version, tf.float32) + self.ballast[0]
        return {"y": self.factor * x + added, "version": version}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, COLUMNS], tf.float32, "x"),
            tf.TensorSpec([], tf.float64, "seconds"),
        ]
    )
    def slowly(self, x: Any, seconds: Any) -> Mapping[str, Any]:
        end = tf.timestamp() + seconds
        turns = tf.while_loop(lambda i: tf.timestamp() < end, lambda i: [i + 1], [0.0])
        return {"y": self.predict(x)["y"] + 0.0 * turns[0]}


def write_version(base: Path, version: int, *, factor: float = 2.0, megabytes: int = 0) -> Path:
    """Writes a version as one should: beside its place, then renamed.

    Its `serving_default` has `x` float `[rows, COLUMNS]` -> `y` = factor x + version, and `version`
    int64 `[rows]`. `slowly` has `seconds` too, that it takes for `y`.

    Args:
        base: Folder of the model's versions.
        version: Its number.
        factor: What tells one model from another.
        megabytes: Size of a variable that it has besides.
    """
    model = _Versioned(version, factor, megabytes)
    beside = base / f"writing-{version}"
    signatures = {"serving_default": model.predict, "slowly": model.slowly}
    tf.saved_model.save(model, str(beside), signatures=signatures)
    return beside.rename(base / str(version))


def right(x: np.ndarray, version: int, factor: float = 2.0) -> np.ndarray:
    """Returns the `y` that a version has for `x`; exact for whole numbers below a million."""
    return (factor * x + version).astype(np.float32)


class Server:
    """A process of `tfapp serve`, killed at the end if nobody has ended it.

    Args:
        folder: Where the log is written.
        words: Flags.
    """

    def __init__(self, folder: Path, words: Sequence[str]) -> None:
        self.rest, self.grpc = free_port(), free_port()
        self._log = folder / "server.log"
        ports = (f"--rest_api_port={self.rest}", f"--port={self.grpc}")
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tfapp", "serve", "--server", "embedded", *words, *ports],
                stdout=log,
                stderr=log,
            )

    def __enter__(self) -> Server:
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if get(self.rest, "/readyz")[0] == 200:
                    return self
            except OSError:
                time.sleep(0.1)
        self.process.kill()
        self.process.wait()
        raise SystemExit(f"the server did not start:\n{self.log()}")

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def log(self) -> str:
        """Returns what it has written so far."""
        return self._log.read_text(errors="replace")

    def runs(self) -> bool:
        """Tells whether the process is there."""
        return self.process.poll() is None

    def rss_mb(self) -> float:
        """Returns the memory of the process."""
        return self._kilobytes("VmRSS") / 1024

    def peak_mb(self) -> float:
        """Returns the most memory it ever had."""
        return self._kilobytes("VmHWM") / 1024

    def files(self) -> int:
        """Returns how many files and sockets it has open."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def states(self, model: str) -> dict[int, str]:
        """Returns the states of the versions of a model."""
        status, body = get(self.rest, f"/v1/models/{model}")
        if status != 200:
            return {}
        found = json.loads(body)["model_version_status"]
        return {int(version["version"]): version["state"] for version in found}

    def terminate(self, timeout: float) -> tuple[int | None, float]:
        """Sends SIGTERM; returns the exit code, None if there was none in time, and the seconds."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            code: int | None = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            code = None
        return code, time.monotonic() - started

    def _kilobytes(self, key: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{key}:\s+(\d+) kB", status)
        return int(found[1]) if found else 0


def models_config(folder: Path, *names: str) -> str:
    """Writes a config of models whose versions are in `folder/NAME`, and returns its flag."""
    configs = "".join(
        f'config {{ name: "{name}" base_path: "{folder / name}" model_platform: "tensorflow" }}\n'
        for name in names
    )
    file = folder / "models.config"
    file.write_text(f"model_config_list {{ {configs} }}")
    return f"--model_config_file={file}"


@dataclass
class Report:
    """Prints what was seen, and remembers whether it is what is required.

    Attributes:
        missed: Requirements that were not met.
    """

    missed: list[str] = field(default_factory=list)

    def tell(self, text: str) -> None:
        """Prints a line."""
        print(text, flush=True)

    def require(self, met: bool, text: str) -> None:
        """Prints a requirement and whether it is met."""
        print(f"{'ok    ' if met else 'MISSED'} {text}", flush=True)
        if not met:
            self.missed.append(text)

    def end(self) -> None:
        """Ends the program: 0 if everything is as required, else 3."""
        sys.exit(_NOT_MET if self.missed else 0)


def parser(doc: str, **seconds_or_counts: int) -> argparse.ArgumentParser:
    """Returns a parser with options of these names and defaults, and `--flag`.

    What is given with `--flag` goes to the server as it is.
    """
    made = argparse.ArgumentParser(description=doc.splitlines()[0])
    for name, default in seconds_or_counts.items():
        made.add_argument(f"--{name}", type=int, default=default)
    made.add_argument(
        "--flag", action="append", default=[], help="of the server, e.g. --flag=--enable_batching"
    )
    return made


@contextmanager
def folder() -> Iterator[Path]:
    """Gives a folder for models and logs, removed at the end."""
    with tempfile.TemporaryDirectory(prefix="serving-") as name:
        yield Path(name)


def free_port() -> int:
    """Returns a port nobody listens on, below those the system gives to clients."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        try:
            with socket.create_server(("", port)):
                return port
        except OSError:
            continue


def get(port: int, path: str) -> tuple[int, bytes]:
    """Returns the status and body of a GET."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def wait_until(holds: Callable[[], bool], seconds: float = 60.0) -> bool:
    """Returns whether something came to hold in time."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
