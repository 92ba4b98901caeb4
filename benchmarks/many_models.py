"""How long a server takes to load many models, what memory they take, and whether it comes back.

    python benchmarks/many_models.py                       50 models, loaded and unloaded 3 times
    python benchmarks/many_models.py --models 10 --load-threads 2

One `tfapp serve` follows a model config file, which lists in turn one model and all of them. Each
model is an MLP 784-256-128-10 with weights of its own, and is asked by REST whenever it was
loaded; its answers are compared with NumPy's.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

SIZES = (784, 256, 128, 10)
ENTRY = 'config {{ name: "m{}" base_path: "{}" model_platform: "tensorflow" }}'


class Layers:
    """Weights and biases of one model, and what NumPy makes of them."""

    def __init__(self, seed: int) -> None:
        draws = np.random.default_rng(seed)
        self.weights = [
            draws.normal(size=size).astype(np.float32) / np.sqrt(size[0], dtype=np.float32)
            for size in pairwise(SIZES)
        ]

    def answer(self, x: np.ndarray) -> np.ndarray:
        """Returns logits `[B, 10]` for `[B, 784]`."""
        for weights in self.weights[:-1]:
            x = np.maximum(x @ weights, 0)
        return x @ self.weights[-1]

    def save(self, path: Path) -> None:
        """Writes the SavedModel."""
        import tensorflow as tf

        module = tf.Module()
        module.layers = [tf.Variable(weights) for weights in self.weights]

        def predict(x: Any) -> Any:
            for layer in module.layers[:-1]:
                x = tf.nn.relu(x @ layer)
            return {"logits": x @ module.layers[-1]}

        spec = tf.TensorSpec([None, SIZES[0]], tf.float32, "x")
        module.predict = tf.function(predict, input_signature=[spec])
        tf.saved_model.save(module, str(path), {"serving_default": module.predict})


class Server:
    """A `tfapp serve` that follows a config file."""

    def __init__(self, folder: Path, first: Sequence[int], *more: str) -> None:
        self.folder = folder
        self.port = _free_port()
        self.list(first)
        flags = [
            f"--model_config_file={folder / 'models.config'}",
            "--model_config_file_poll_wait_seconds=1",
            f"--port={_free_port()}",
            f"--rest_api_port={self.port}",
            *more,
        ]
        self.log = folder / "log.txt"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tfapp", "serve", "--server", "embedded", *flags],
                stdout=log,
                stderr=log,
            )

    def list(self, models: Sequence[int]) -> None:
        """Rewrites the config file to these models."""
        entries = " ".join(ENTRY.format(n, self.folder / f"m{n}") for n in models)
        written = self.folder / "models.new"
        written.write_text(f"model_config_list {{ {entries} }}")
        written.rename(self.folder / "models.config")

    def wait(self, models: Sequence[int]) -> None:
        """Returns when these models answer and no others are listed."""
        wanted = {f"m{n}" for n in models}
        _until(lambda: self._available() == wanted, self.process)

    def wait_unloaded(self, count: int) -> None:
        """Returns when so many models have been unloaded since the start."""
        _until(lambda: self.log.read_text().count(" unloaded m") >= count, self.process)

    def check(self, layers: Sequence[Layers], models: Sequence[int]) -> int:
        """Asks each model; returns how many answers are those of NumPy."""
        x = np.random.default_rng(1).normal(size=(3, SIZES[0])).astype(np.float32)
        connection = http.client.HTTPConnection("localhost", self.port, timeout=30)
        right = 0
        for n in models:
            body = json.dumps({"instances": x.tolist()})
            connection.request("POST", f"/v1/models/m{n}:predict", body)
            found = json.loads(connection.getresponse().read())["predictions"]
            right += np.allclose(found, layers[n].answer(x), rtol=1e-3, atol=1e-4)
        return right

    def megabytes(self) -> float:
        """Returns the memory that the process has in RAM."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * 4096 / 1e6

    def close(self) -> None:
        """Ends the process."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def _available(self) -> set[str] | None:
        connection = http.client.HTTPConnection("localhost", self.port, timeout=5)
        with suppress(OSError):
            connection.request("GET", "/models")
            listed = json.loads(connection.getresponse().read())["models"]
            states = {model["name"]: [v["state"] for v in model["versions"]] for model in listed}
            return {name for name, found in states.items() if "AVAILABLE" in found}
        return None


def _until(true: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    while not true():
        if process.poll() is not None:
            raise SystemExit(f"the server ended with {process.returncode}; see its log.txt")
        time.sleep(0.02)


def _free_port() -> int:
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        with suppress(OSError), socket.create_server(("", port)):
            return port


def _run(server: Server, layers: Sequence[Layers], cycles: int) -> None:
    everything, one = range(len(layers)), range(1)
    server.wait(one)
    print(f"one model:            {server.megabytes():7.0f} MB", flush=True)
    for cycle in range(cycles):
        started = time.monotonic()
        server.list(everything)
        server.wait(everything)
        seconds = time.monotonic() - started
        right = server.check(layers, everything)
        print(
            f"{len(layers)} models, time {cycle + 1}: {server.megabytes():7.0f} MB,"
            f" loaded in {seconds:.1f} s, {right} answers right",
            flush=True,
        )
        started = time.monotonic()
        server.list(one)
        server.wait_unloaded((cycle + 1) * (len(layers) - 1))
        seconds = time.monotonic() - started
        print(
            f"one again:            {server.megabytes():7.0f} MB, after {seconds:.1f} s", flush=True
        )


def main() -> None:
    """Runs the program."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=50)
    parser.add_argument("--cycles", type=int, default=3)
    parser.add_argument("--load-threads", type=int, default=1)
    given = parser.parse_args()
    threads = f"--num_load_threads={given.load_threads}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        layers = [Layers(seed) for seed in range(given.models)]
        for n, model in enumerate(layers):
            model.save(folder / f"m{n}" / "1")
        started = time.monotonic()
        server = Server(folder, range(given.models), threads)
        try:
            server.wait(range(given.models))
            print(f"{given.models} models at the start: {time.monotonic() - started:.1f} s")
        finally:
            server.close()
        server = Server(folder, range(1), threads)
        try:
            _run(server, layers, given.cycles)
        finally:
            server.close()


if __name__ == "__main__":
    main()
