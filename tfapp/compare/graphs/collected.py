"""What TensorFlow makes of a graph before it runs it, from sources that are public.

A session tells it in the metadata of a run. Of a `tf.function` only `tf.summary.trace_export` does,
which writes it for TensorBoard; so it goes through a file. `tf.config` has no way to ask, and
Grappler can be called only through modules of TensorFlow that are private.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import tensorflow as tf

v1 = tf.compat.v1

# Of a session's own pass, which folds constants and merges equal operations.
_LEVELS = {False: v1.OptimizerOptions.L0, True: v1.OptimizerOptions.L1}


def session_parts(
    training: Any, fetches: Any, *, folding: bool = True, grappler: bool = True
) -> list[Any]:
    """Returns the `GraphDef`s, one a device, that a session runs for one training step.

    Args:
        training: A graph with `initialize` and `feeds`, as `engines.tf1.build` makes it.
        fetches: What is asked for.
        folding: Whether the session may fold constants and merge equal operations.
        grappler: Whether Grappler may rewrite the graph.
    """
    config = v1.ConfigProto()
    config.graph_options.optimizer_options.opt_level = _LEVELS[folding]
    config.graph_options.rewrite_options.disable_meta_optimizer = not grappler
    metadata = v1.RunMetadata()
    with closing(v1.Session(graph=training.graph, config=config)) as session:
        session.run(training.initialize)
        options = v1.RunOptions(output_partition_graphs=True)
        session.run(fetches, training.feeds(0), options=options, run_metadata=metadata)
    return list(metadata.partition_graphs)


def function_stages(call: Callable[[], Any]) -> tuple[Any, list[Any]]:
    """Returns the `GraphDef` of a `tf.function`, and those, one a device, that are run for it.

    Args:
        call: Calls it for the first time. If it calls several, the last is told. No trace of
            `tf.summary` may be on.
    """
    with tempfile.TemporaryDirectory() as folder:
        writer = tf.summary.create_file_writer(folder)
        step = tf.constant(0, tf.int64)  # as a number it would be the last graph
        tf.summary.trace_on(graph=True, profiler=False)
        try:
            call()
            with writer.as_default():
                tf.summary.trace_export("graphs", step=step)
        finally:
            tf.summary.trace_off()
            _stop_collecting()
            writer.close()
        *_, last = (graph for file in Path(folder).iterdir() for graph in _read(file))
    return last.pre_optimization_graph, list(last.partition_graphs)


def _read(file: Path) -> list[Any]:
    """Returns the graphs of all functions that an event file tells of."""
    graphs = []
    for record in tf.data.TFRecordDataset(str(file)):
        for value in v1.Event.FromString(record.numpy()).summary.value:
            for content in value.tensor.string_val:
                graphs += v1.RunMetadata.FromString(content).function_graphs
    return graphs


def _stop_collecting() -> None:
    """Ends the collection of graphs.

    `tf.summary.trace_off` of TensorFlow 2.21 leaves it on, and the graph of every function that is
    traced later would be kept. Only the private context can end it; without it they are kept.
    """
    with suppress(ImportError, AttributeError):
        from tensorflow.python.eager import context

        context.context().disable_graph_collection()
