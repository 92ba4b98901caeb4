"""A model that is called in the process that asks, without a server."""

from __future__ import annotations

import abc
import time
from collections.abc import Callable
from pathlib import Path

from tfapp.bench.serving.base import Contender
from tfapp.bench.serving.files import Array, forward
from tfapp.bench.serving.points import MLP, Point
from tfapp.bench.serving.results import Load, Started
from tfapp.timing.slices import quantile

Call = Callable[[Array], Array]


class InProcess(Contender):
    """A contender that loads the model itself."""

    _call: Call

    @abc.abstractmethod
    def load(self, path: Path) -> Call:
        """Returns what computes the outputs for an array of rows.

        Args:
            path: Folder of the SavedModel.
        """

    def open(self, workload: str, first: Point) -> Started | None:
        """Loads the model."""
        self._call = self.load(self.files.model(MLP) / "1")
        return None

    def close(self) -> None:
        """Forgets the model."""
        del self._call

    def ask(self, point: Point, seconds: float) -> Load:
        """Calls it, one call after the other."""
        rows, call = self.files.rows(point.request), self._call
        self.check(point, call(rows))
        taken: list[float] = []
        clock = time.perf_counter
        cpu, started = time.process_time(), clock()
        now, end = started, started + seconds
        while not taken or now < end:
            before, _ = now, call(rows)
            now = clock()
            taken.append(now - before)
        cores = (time.process_time() - cpu) / (now - started)
        p50, p99 = (quantile(taken, share) * 1e3 for share in (0.5, 0.99))
        return Load(len(taken), now - started, p50, p99, cores)


class ServableCall(InProcess):
    """What `tfapp serve` calls for every request."""

    def load(self, path: Path) -> Call:
        """Loads the model as the server does."""
        from tfapp.serving.servable import load_servable

        servable = load_servable(MLP, 1, path)
        signature = servable.signatures["serving_default"]
        (alias,), (output,) = signature.inputs, signature.outputs
        return lambda rows: servable.run(signature, {alias: rows})[output]


class SignatureCall(InProcess):
    """`tf.saved_model.load`, as its documentation shows."""

    def load(self, path: Path) -> Call:
        """Loads the model by TensorFlow 2."""
        import tensorflow as tf

        signature = tf.saved_model.load(str(path)).signatures["serving_default"]
        (alias,) = signature.structured_input_signature[1]
        (output,) = signature.structured_outputs

        def call(rows: Array) -> Array:
            found: Array = signature(**{alias: tf.constant(rows)})[output].numpy()
            return found

        return call


class SessionCall(InProcess):
    """A session of TensorFlow 1, and its `run`."""

    def load(self, path: Path) -> Call:
        """Loads the model by TensorFlow 1."""
        import tensorflow as tf

        v1 = tf.compat.v1
        session = v1.Session(graph=tf.Graph())
        with session.graph.as_default():
            graph = v1.saved_model.load(session, ["serve"], str(path))
        signature = graph.signature_def["serving_default"]
        (fed,) = (info.name for info in signature.inputs.values())
        (fetched,) = (info.name for info in signature.outputs.values())

        def call(rows: Array) -> Array:
            found: Array = session.run(fetched, {fed: rows})
            return found

        return call


class NumpyCall(InProcess):
    """The limit: the arithmetic alone, in float32."""

    def load(self, path: Path) -> Call:
        """Reads the weights."""
        weights = self.files.weights()
        return lambda rows: forward(weights, rows)
