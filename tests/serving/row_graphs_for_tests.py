"""Graphs of functions of rows, and what is proven of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfapp.serving.row_wise import obstacle
from tfapp.serving.servable import Signature, TensorInfo

v1 = tf.compat.v1
ROWS = tf.TensorSpec([None, 4], tf.float32)


@dataclass
class Built:
    graph: Any
    signature: Signature

    @property
    def obstacle(self) -> str | None:
        return obstacle(self.graph.as_graph_def(), self.signature)

    def run(self, *arrays):
        names = [info.name for info in self.signature.inputs.values()]
        with v1.Session(graph=self.graph) as session:
            return session.run(
                [info.name for info in self.signature.outputs.values()],
                dict(zip(names, arrays, strict=True)),
            )


def build(function, *specs) -> Built:
    """Returns the graph of a function that is given placeholders."""
    with tf.Graph().as_default() as graph:
        feeds = [v1.placeholder(spec.dtype, spec.shape) for spec in specs or (ROWS,)]
        # Not the placeholders themselves, so that these are never the outputs.
        fetches = function(*map(tf.identity, feeds))
    outputs = fetches if isinstance(fetches, list | tuple) else [fetches]
    signature = Signature("rows", _infos(feeds), _infos(outputs), "predict", None)
    return Built(graph, signature)


def why_not(function, *specs) -> str | None:
    """Returns why the rows of a function are not proven to stand alone; None if they are."""
    return build(function, *specs).obstacle


def _infos(tensors):
    infos = [
        TensorInfo(f"t{index}", tensor.name, tensor.dtype, _shape(tensor))
        for index, tensor in enumerate(tensors)
    ]
    return {info.alias: info for info in infos}


def _shape(tensor):
    return None if tensor.shape.rank is None else tuple(tensor.shape.as_list())
