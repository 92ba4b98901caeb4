"""Variables that the restore operation of a SavedModel leaves empty.

`tf.saved_model.save` writes a Keras 3 model with two variables for each weight: one that signatures
read, and a copy, which is restored. A loader of objects knows that they are the same. One of graphs
fills the copy alone, and every request ends with `Could not find variable`.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def fill_variables(session: Any, meta_graph: Any) -> int:
    """Gives empty variables the values of their copies, and frees these.

    Args:
        session: Holds the graph, after its own restore and init operations.
        meta_graph: The `MetaGraphDef` of the graph.

    Returns:
        How many were empty.

    Source: `_export_to_saved_model_graph` in `keras/src/backend/tensorflow/core.py`.
    """
    if not meta_graph.object_graph_def.nodes or not (copies := _copies(meta_graph.graph_def)):
        return 0
    raw, handle = tf.raw_ops, session.graph.get_tensor_by_name
    with session.graph.as_default():
        full = session.run([raw.VarIsInitializedOp(resource=handle(name)) for name in copies])
        empty = {name: copies[name] for name, there in zip(copies, full, strict=True) if not there}
        values = [
            raw.ReadVariableOp(resource=handle(copy), dtype=dtype) for copy, dtype in empty.values()
        ]
        session.run(
            [
                raw.AssignVariableOp(resource=handle(name), value=value)
                for name, value in zip(empty, values, strict=True)
            ]
        )
        session.run([raw.DestroyResourceOp(resource=handle(copy)) for copy, _ in empty.values()])
    return len(empty)


def _copies(graph: Any) -> dict[str, tuple[str, Any]]:
    """Returns the copy of each variable that has one, and its type, by the variable.

    The value that a copy would begin with is that of the variable.
    """
    nodes = {node.name: node for node in graph.node}
    found = {}
    for node in graph.node:
        value = nodes.get(node.input[1]) if node.op == "AssignVariableOp" else None
        if value is not None and value.op == "ReadVariableOp":
            copy, variable = node.input[0], value.input[0]
            found[f"{variable}:0"] = (f"{copy}:0", tf.as_dtype(value.attr["dtype"].type))
    return found
