"""How graphs grow with the number of turns of a loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import tensorflow as tf

from tfapp.compare.engines.tf1 import SCALAR_GRAPHS
from tfapp.compare.graphs.constructs import power
from tfapp.compare.graphs.control_flow import differentiate
from tfapp.compare.graphs.operations import count_operations
from tfapp.compare.roster import ENGINES

v1 = tf.compat.v1

TURNS = (1, 10, 100)
X = 1.01


@dataclass(frozen=True)
class GrowthRow:
    """x^n and its gradient in one form, for several n.

    Attributes:
        form: How the loop is written.
        engine: Its name.
        unit: What is counted: `operations` of a graph, or `nodes` that autograd recorded.
        turns: Each n.
        counts: For each n; nothing if the engine is not installed.
        build_ms: Milliseconds to build the graph, or to record it, for each n.
        missing: How to install the engine; empty if it is there.
    """

    form: str
    engine: str
    unit: str
    turns: tuple[int, ...] = TURNS
    counts: tuple[int, ...] = ()
    build_ms: tuple[float, ...] = ()
    missing: str = ""


def growth_rows() -> tuple[GrowthRow, ...]:
    """Builds x^n and its gradient for several n in each form, and counts."""
    return tuple(_row(*form) for form in _FORMS)


def _row(form: str, engine: str, unit: str, count: Callable[[int], int]) -> GrowthRow:
    if (missing := ENGINES[engine].missing) is not None:
        return GrowthRow(form, engine, unit, missing=missing)
    count(2)  # what is done only once in a process
    counts, times = [], []
    for turns in TURNS:
        begin = time.perf_counter()
        counts.append(count(turns))
        times.append((time.perf_counter() - begin) * 1e3)
    return GrowthRow(form, engine, unit, counts=tuple(counts), build_ms=tuple(times))


def _session_loop(turns: int) -> int:
    """Builds `tf.while_loop`; the number of turns is fed, so it is not used."""
    return _operations(SCALAR_GRAPHS["power"]().graph)


def _session_unrolled(turns: int) -> int:
    graph = tf.Graph()
    with graph.as_default():
        x = v1.placeholder(tf.float32, [])
        tf.gradients(power(x, turns), x)
    return _operations(graph)


def _function_loop(turns: int) -> int:
    return _traced(tf.constant(turns))


def _traced(turns: Any) -> int:
    function = tf.function(partial(differentiate, power))
    return _operations(function.get_concrete_function(tf.constant(X), turns).graph)


def _operations(graph: Any) -> int:
    return count_operations([graph.as_graph_def()]).total()


def _recorded(turns: int) -> int:
    """Counts what autograd has recorded: one node a turn, and one that keeps the gradient."""
    import torch

    found = set()
    coming = [power(torch.tensor(X, requires_grad=True), turns).grad_fn]
    while coming:
        node = coming.pop()
        found.add(node)
        coming += [other for other, _ in node.next_functions if other not in (None, *found)]
    return len(found)


_FORMS: tuple[tuple[str, str, str, Callable[[int], int]], ...] = (
    ("tf.while_loop", "tf1", "operations", _session_loop),
    ("Python's while, unrolled", "tf1", "operations", _session_unrolled),
    ("while on a tensor", "function", "operations", _function_loop),
    ("while on a number, unrolled", "function", "operations", _traced),
    ("Python's while, recorded", "torch", "nodes", _recorded),
)
