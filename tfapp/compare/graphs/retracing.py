"""How often a `tf.function` builds its graph anew, and what that costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from tfapp.timing.slices import Spread, spread

v1 = tf.compat.v1

VARIANTS = 4  # TensorFlow warns from 5 traces on
PASSES = 10
WIDTH = 4


@dataclass(frozen=True)
class RetraceRow:
    """One way to call a function of one weight that gives its loss and gradient.

    Attributes:
        called_with: Four arguments, ten times in turn.
        how: How the function was made.
        calls: How often it was called.
        traces: How often Python ran through its body to build a graph.
        counted: The same by `experimental_get_tracing_count`; `None` of a session.
        tracing_ms: Milliseconds of a call that built a graph; of a session, of building it.
        call_ms: Milliseconds of the other calls.
    """

    called_with: str
    how: str
    calls: int
    traces: int
    counted: int | None
    tracing_ms: Spread
    call_ms: Spread


class Counted:
    """A loss of one weight that counts how often Python runs through it."""

    def __init__(self) -> None:
        self.runs = 0
        self._weight = tf.Variable(0.5)

    def step(self, x: Any) -> tuple[Any, Any]:
        """Returns the mean of (w tanh x - 1)^2 and its gradient for w."""
        self.runs += 1
        with tf.GradientTape() as tape:
            loss = _loss(self._weight, x)
        return loss, tape.gradient(loss, self._weight)


def retrace_rows() -> tuple[RetraceRow, ...]:
    """Calls functions, and a session for contrast, in ways that do and do not build graphs."""
    return (*(_function_row(*case) for case in _CASES), _session_row())


def _function_row(
    called_with: str, arguments: Callable[[], list[Any]], how: str, options: Mapping[str, Any]
) -> RetraceRow:
    body = Counted()
    # A partial, because TensorFlow counts the traces of a method over all that is made of it.
    function = tf.function(partial(body.step), **options)
    tracing: list[float] = []
    plain: list[float] = []
    for argument in arguments() * PASSES:
        before = body.runs
        taken = _milliseconds(partial(function, argument))
        (tracing if body.runs > before else plain).append(taken)
    return RetraceRow(
        called_with=called_with,
        how=how,
        calls=VARIANTS * PASSES,
        traces=body.runs,
        counted=function.experimental_get_tracing_count(),
        tracing_ms=spread(tracing),
        call_ms=spread(plain),
    )


def _session_row() -> RetraceRow:
    begin = time.perf_counter()
    graph = tf.Graph()
    with graph.as_default():
        x = v1.placeholder(tf.float32, [None, WIDTH])
        weight = v1.get_variable("weight", initializer=0.5, use_resource=True)
        loss = _loss(weight, x)
        wanted = loss, *tf.gradients(loss, weight)
        initialize = v1.global_variables_initializer()
    built = (time.perf_counter() - begin) * 1e3
    graph.finalize()  # from here on it refuses to grow
    with closing(v1.Session(graph=graph)) as session:
        session.run(initialize)
        times = [
            _milliseconds(partial(session.run, wanted, {x: rows}))
            for rows in _arrays_of_four_shapes() * PASSES
        ]
    return RetraceRow(
        called_with="arrays of four shapes",
        how="a session; placeholder [None, 4]",
        calls=len(times),
        traces=1,
        counted=None,
        tracing_ms=spread([built]),
        call_ms=spread(times),
    )


def _loss(weight: Any, x: Any) -> Any:
    return tf.reduce_mean((weight * tf.tanh(x) - 1.0) ** 2)


def _milliseconds(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return (time.perf_counter() - begin) * 1e3


def _numbers() -> list[Any]:
    return [0.1 * (number + 1) for number in range(VARIANTS)]


def _tensors() -> list[Any]:
    return [tf.fill([2, WIDTH], number) for number in _numbers()]


def _arrays_of_four_shapes() -> list[Any]:
    return [np.ones((rows, WIDTH), np.float32) for rows in range(1, VARIANTS + 1)]


def _tensors_of_four_shapes() -> list[Any]:
    return [tf.constant(array) for array in _arrays_of_four_shapes()]


_PLAIN: Mapping[str, Any] = {}
_SCALAR = {"input_signature": [tf.TensorSpec([], tf.float32)]}
_ROWS = {"input_signature": [tf.TensorSpec([None, WIDTH], tf.float32)]}
_REDUCED = {"reduce_retracing": True}

_CASES: tuple[tuple[str, Callable[[], list[Any]], str, Mapping[str, Any]], ...] = (
    ("four numbers of Python", _numbers, "tf.function", _PLAIN),
    ("four numbers of Python", _numbers, "reduce_retracing=True", _REDUCED),
    ("four numbers of Python", _numbers, "input_signature []", _SCALAR),
    ("four tensors of one shape", _tensors, "tf.function", _PLAIN),
    ("tensors of four shapes", _tensors_of_four_shapes, "tf.function", _PLAIN),
    ("arrays of four shapes", _arrays_of_four_shapes, "tf.function", _PLAIN),
    ("tensors of four shapes", _tensors_of_four_shapes, "reduce_retracing=True", _REDUCED),
    ("tensors of four shapes", _tensors_of_four_shapes, "input_signature [None, 4]", _ROWS),
)
