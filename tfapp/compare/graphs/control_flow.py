"""The same branches and loops on every engine: values, gradients, and what is in the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from tfapp.compare.engines.tf1 import SCALAR_GRAPHS
from tfapp.compare.graphs.constructs import ARGUMENTS, BY_HAND, PYTHON, TURNS
from tfapp.compare.graphs.operations import count_operations
from tfapp.compare.roster import ENGINES

POINTS = (-1.25, 0.75)  # one for each branch
TOLERANCE = 1e-6 * TURNS  # a rounding a turn, of the value

# `cannot`: the engine refuses the construct. `missing`: it is not installed.
Status = Literal["reference", "agrees", "differs", "cannot", "missing"]


@dataclass(frozen=True)
class ControlRow:
    """One construct on one engine.

    Attributes:
        construct: `branch`, `power` or `polynomial`.
        engine: Its name.
        status: Whether values and gradients are those of NumPy.
        points: Where it was computed.
        values: At each point; nothing if it was not computed.
        gradients: At each point.
        operations: In the graph, with its gradient and the bodies of branches and loops; `None`
            if there is no graph.
        remark: What is particular to it, or why it was not computed.
    """

    construct: str
    engine: str
    status: Status
    points: tuple[float, ...] = POINTS
    values: tuple[float, ...] = ()
    gradients: tuple[float, ...] = ()
    operations: int | None = None
    remark: str = ""


@dataclass(frozen=True)
class Computed:
    """What an engine gave.

    Attributes:
        values: At each point.
        gradients: At each point.
        operations: In its graph; `None` if it has none.
    """

    values: tuple[float, ...]
    gradients: tuple[float, ...]
    operations: int | None = None


def control_flow_rows() -> tuple[ControlRow, ...]:
    """Computes three constructs on six engines and compares them with NumPy."""
    return tuple(_row(construct, engine) for construct in PYTHON for engine in _ENGINES)


def differentiate(function: Callable[..., Any], x: Any, *args: Any) -> tuple[Any, Any]:
    """Returns the value of a function of a scalar tensor, and its gradient from a tape."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x, *args)
    return value, tape.gradient(value, x)


def xla_refuses(function: Any, *arguments: Any) -> str | None:
    """Returns in a sentence why XLA does not compile a function; `None` if it does.

    Its text is asked for, because a call that fails writes a page to stderr besides.

    Args:
        function: A `tf.function` with `jit_compile=True`.
        arguments: What it would be called with.
    """
    try:
        function.experimental_get_compiler_ir(*arguments)(stage="hlo")
    except ValueError as error:
        return first_sentence(str(error).removeprefix("Failed getting HLO text: '"))
    return None


def first_sentence(text: str) -> str:
    """Returns a text up to its first full stop."""
    return text.split(". ")[0].rstrip(".") + "."


def _row(construct: str, engine: str) -> ControlRow:
    remark = REMARKS[construct, engine]
    if (missing := ENGINES[engine].missing) is not None:
        return ControlRow(construct, engine, "missing", remark=missing)
    found = _ENGINES[engine](construct)
    if isinstance(found, str):
        return ControlRow(construct, engine, "cannot", remark=found)
    status: Status = "reference"
    if engine != "numpy":
        status = "agrees" if _agree(found, _numpy(construct)) else "differs"
    return ControlRow(
        construct,
        engine,
        status,
        values=found.values,
        gradients=found.gradients,
        operations=found.operations,
        remark=remark,
    )


def _agree(found: Computed, expected: Computed) -> bool:
    pairs = ((found.values, expected.values), (found.gradients, expected.gradients))
    return all(np.allclose(a, b, rtol=TOLERANCE, atol=0) for a, b in pairs)


def _numpy(construct: str) -> Computed:
    return _computed(BY_HAND[construct](x) for x in POINTS)


def _session(construct: str) -> Computed:
    scalar = SCALAR_GRAPHS[construct]()
    values, gradients = scalar.run(np.array(POINTS), **ARGUMENTS[construct])
    operations = count_operations([scalar.graph.as_graph_def()]).total()
    return _computed(zip(values, gradients, strict=True), operations)


def _eager(construct: str) -> Computed:
    return _computed(_on_tensors(partial(differentiate, PYTHON[construct]), construct))


def _function(construct: str) -> Computed:
    return _traced(tf.function(partial(differentiate, PYTHON[construct])), construct)


def _xla(construct: str) -> Computed | str:
    function = tf.function(partial(differentiate, PYTHON[construct]), jit_compile=True)
    refused = xla_refuses(function, tf.constant(POINTS[0]), *_tensors(construct))
    return refused or _traced(function, construct)


def _traced(function: Any, construct: str) -> Computed:
    graph = function.get_concrete_function(tf.constant(POINTS[0]), *_tensors(construct)).graph
    operations = count_operations([graph.as_graph_def()]).total()
    return _computed(_on_tensors(function, construct), operations)


def _on_tensors(function: Callable[..., Any], construct: str) -> list[Any]:
    return [function(tf.constant(x), *_tensors(construct)) for x in POINTS]


def _tensors(construct: str) -> list[Any]:
    return [tf.constant(value) for value in ARGUMENTS[construct].values()]


def _torch(construct: str) -> Computed:
    import torch

    arguments = [torch.as_tensor(value) for value in ARGUMENTS[construct].values()]
    results = []
    for point in POINTS:
        x = torch.tensor(point, requires_grad=True)
        value = PYTHON[construct](x, *arguments)
        value.backward()
        results.append((value.item(), x.grad))
    return _computed(results)


def _computed(results: Iterable[Any], operations: int | None = None) -> Computed:
    """Collects the value and the gradient at each point."""
    values, gradients = zip(*results, strict=True)
    return Computed(tuple(map(float, values)), tuple(map(float, gradients)), operations)


# A text says why it cannot be computed.
_ENGINES: Mapping[str, Callable[[str], Computed | str]] = {
    "numpy": _numpy,
    "tf1": _session,
    "function": _function,
    "eager": _eager,
    "torch": _torch,
    "xla": _xla,
}

REMARKS: Mapping[tuple[str, str], str] = {
    ("branch", "numpy"): "the slope is a second formula, written by hand",
    ("branch", "tf1"): "tf.cond of two functions; both are in the graph, what is fed picks one",
    ("branch", "function"): "AutoGraph makes tf.cond of the if; both branches are in the graph",
    ("branch", "eager"): "Python takes one branch, and the tape records only that",
    ("branch", "torch"): "Python takes one branch, and autograd records only that",
    ("branch", "xla"): "both branches are in the compiled program",
    ("power", "numpy"): "products are kept on the way and used on the way back",
    ("power", "tf1"): "tf.while_loop; a second loop goes back, products wait on a list",
    ("power", "function"): "AutoGraph makes tf.while_loop of the while, since times is a tensor",
    ("power", "eager"): "the tape grows by each turn",
    ("power", "torch"): "the recorded graph grows by each turn",
    ("power", "xla"): "needs to know how long the list of products can become",
    ("polynomial", "numpy"): "sums are kept on the way and used on the way back",
    ("polynomial", "tf1"): "tf.foldl; the number of coefficients is fed",
    ("polynomial", "function"): "AutoGraph makes a loop of the for, since it runs over a tensor",
    ("polynomial", "eager"): "the for takes a tensor apart, element by element",
    ("polynomial", "torch"): "the for takes a tensor apart, element by element",
    ("polynomial", "xla"): "the shape of the coefficients bounds the loop",
}
