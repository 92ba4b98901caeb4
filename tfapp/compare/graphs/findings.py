"""What happens where control flow meets a graph: each tried, none only told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import tensorflow as tf

from tfapp.compare.graphs.constructs import TURNS, branch, power
from tfapp.compare.graphs.control_flow import differentiate, first_sentence, xla_refuses
from tfapp.compare.graphs.hlo import count_arguments

v1 = tf.compat.v1

X = 1.25
BOUND = 16


@dataclass(frozen=True)
class Finding:
    """Something that was tried.

    Attributes:
        tried: What.
        found: What came out.
    """

    tried: str
    found: str


def find_out() -> tuple[Finding, ...]:
    """Tries what surprises who moves between static and dynamic graphs."""
    return tuple(Finding(tried, trial()) for tried, trial in _TRIALS.items())


def bounded_power(x: Any, times: Any) -> Any:
    """Returns x^times by a loop that turns at most 16 times."""
    _, product = tf.while_loop(
        lambda done, _: done < times,
        lambda done, product: (done + 1, product * x),
        (tf.constant(0), tf.ones_like(x)),
        maximum_iterations=BOUND,
    )
    return product


def ranged_power(x: Any, times: Any) -> Any:
    """Returns x^times by a `for` over `tf.range`."""
    product = 1.0
    for _ in tf.range(times):
        product = product * x
    return product


def _refused(call: Callable[[], Any]) -> str:
    try:
        call()
    except TypeError as error:
        return f"{type(error).__name__}: {first_sentence(str(error))}"
    return "no error"


def _if_in_graph() -> str:
    with tf.Graph().as_default():
        return _refused(lambda: branch(v1.placeholder(tf.float32, [])))


def _if_without_autograph() -> str:
    return _refused(lambda: tf.function(branch, autograph=False)(tf.constant(X)))


def _if_on(convert: Callable[[float], Any]) -> str:
    """Tells how many graphs an `if` makes that goes both ways, and how much of it they hold."""
    function = tf.function(partial(branch))
    graphs = {function.get_concrete_function(convert(x)).graph for x in (X, -X)}
    branches = {len(graph.as_graph_def().library.function) for graph in graphs}
    held = " or ".join(str(number) for number in sorted(branches))
    return f"graphs for {X:g} and {-X:g}: {len(graphs)}; branches in a graph: {held}"


def _compiled(function: Callable[..., Any]) -> str:
    """Compiles a function of x and n with XLA, and tells its last result and its arguments."""
    compiled = tf.function(function, jit_compile=True)
    arguments = tf.constant(X), tf.constant(TURNS)
    if (refused := xla_refuses(compiled, *arguments)) is not None:
        return refused
    *_, result = tf.nest.flatten(compiled(*arguments))
    left = count_arguments(compiled.experimental_get_compiler_ir(*arguments)(stage="hlo"))
    constant = "; n is a constant of the program, so each n is compiled" if left < 2 else ""
    return f"{float(result):.6g}{constant}"


_TRIALS: Mapping[str, Callable[[], str]] = {
    "if on a tensor, in a graph of TF1": _if_in_graph,
    "if on a tensor, tf.function without AutoGraph": _if_without_autograph,
    "if on a tensor, tf.function": partial(_if_on, tf.constant),
    "if on a number of Python, tf.function": partial(_if_on, float),
    "while on a tensor, XLA": partial(_compiled, partial(power)),
    "while on a tensor, XLA, gradient": partial(_compiled, partial(differentiate, power)),
    "tf.while_loop with maximum_iterations, XLA, gradient": partial(
        _compiled, partial(differentiate, bounded_power)
    ),
    "for over tf.range(n), XLA, gradient": partial(_compiled, partial(differentiate, ranged_power)),
}
