"""How many operations a training step is built of, and how many are run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import tensorflow as tf

from tfapp.compare.engines import tf1
from tfapp.compare.graphs.collected import function_stages, session_parts
from tfapp.compare.graphs.hlo import count_program
from tfapp.compare.graphs.operations import changes, count_operations
from tfapp.compare.graphs.steps import fed, fetches, fit_step, tape_step
from tfapp.compare.roster import ENGINES
from tfapp.compare.task import Task


@dataclass(frozen=True)
class GraphSize:
    """The graph of a step on one engine. Placeholders, arguments and results do not count.

    Attributes:
        engine: Its name.
        built: Operations in the graph.
        needed: Those that a result or an update depends on. A session drops the others; a
            `tf.function` leaves that to Grappler, so here it needs all.
        plain: What is run without Grappler. A session also folds constants and merges equal
            operations; a `tf.function` does not.
        run: What is run.
        rewrites: What Grappler changes in that, from `plain` to `run`, by type of operation.
    """

    engine: str
    built: int
    needed: int
    plain: int
    run: int
    rewrites: Mapping[str, int]


@dataclass(frozen=True)
class CompiledSize:
    """The program that XLA makes of a step.

    Attributes:
        engine: `xla`.
        built: TensorFlow's operations, as in the graph of `function`.
        instructions: XLA's, before it optimizes.
        optimized: Its instructions afterwards. They can be more: what is cheap is copied into each
            kernel that needs it.
        fusions: Kernels that do the work of several instructions.
        run: Kernels that are run, one after the other.
    """

    engine: str
    built: int
    instructions: int
    optimized: int
    fusions: int
    run: int


def graph_size(task: Task, engine: str) -> GraphSize | CompiledSize | None:
    """Tells how large the training step of a program is on an engine.

    The step is the one of `steps`: it gives the loss, not the gradients.

    Args:
        task: The program with its arrays.
        engine: A name of the roster.

    Returns:
        The size; `None` if the engine has no graph, or cannot compute the program.
    """
    if engine not in _MEASURES or task.program.kind in ENGINES[engine].cannot:
        return None
    return _MEASURES[engine](task)


def _session(task: Task) -> GraphSize:
    training = tf1.build(task)
    wanted = fetches(training)
    built = count_operations([training.graph.as_graph_def()])
    needed, plain, run = (
        count_operations(session_parts(training, wanted, folding=folding, grappler=grappler))
        for folding, grappler in ((False, False), (True, False), (True, True))
    )
    return GraphSize(
        "tf1", built.total(), needed.total(), plain.total(), run.total(), changes(plain, run)
    )


def _function(task: Task) -> GraphSize:
    step, batch = tf.function(tape_step(task)), fed(task)
    return _traced("function", lambda: step(batch))


def _fit(task: Task) -> GraphSize:
    step, batch = fit_step(task)
    compiled = tf.function(step)
    return _traced("keras_fit", lambda: compiled(batch))


def _traced(engine: str, call: Callable[[], object]) -> GraphSize:
    before, parts = function_stages(call)
    built, run = count_operations([before]), count_operations(parts)
    total = built.total()
    return GraphSize(engine, total, total, total, run.total(), changes(built, run))


def _xla(task: Task) -> CompiledSize:
    step, batch = tf.function(tape_step(task), jit_compile=True), fed(task)
    built = count_operations([step.get_concrete_function(batch).graph.as_graph_def()])
    text = step.experimental_get_compiler_ir(batch)
    before, after = (count_program(text(stage=stage)) for stage in ("hlo", "optimized_hlo"))
    return CompiledSize(
        engine="xla",
        built=built.total(),
        instructions=before.instructions,
        optimized=after.instructions,
        fusions=after.fusions,
        run=after.kernels,
    )


_MEASURES: Mapping[str, Callable[[Task], GraphSize | CompiledSize]] = {
    "tf1": _session,
    "function": _function,
    "xla": _xla,
    "keras_fit": _fit,
}
SIZED = tuple(_MEASURES)
