"""What is rarely in a graph and looks as if it kept rows apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from row_graphs_for_tests import ROWS, build, why_not

from tfapp.serving.row_wise import obstacle

v1, raw = tf.compat.v1, tf.raw_ops
INTEGERS = tf.TensorSpec([None], tf.int32)
ANY_WIDTH = tf.TensorSpec([None, None], tf.float32)
WIDE = tf.TensorSpec([None, 900], tf.float32)
IMAGES = tf.TensorSpec([None, 6, 6, 2], tf.float32)
KERNEL = np.ones((3, 3, 2, 2), np.float32)


def count(x):
    return tf.shape(x)[0]


def diagonal(x):
    """Rows that have an element for each row, all of which are zero but one."""
    return raw.Einsum(inputs=[x], equation="ni->nin")


def looked_up(x, default):
    table = raw.MutableHashTableV2(key_dtype=tf.int32, value_dtype=tf.float32)
    return raw.LookupTableFindV2(table_handle=table, keys=x, default_value=default)


def softmax_of_parts(x, size):
    return tf.reshape(tf.nn.softmax(tf.reshape(x, tf.stack([-1, size]))), tf.shape(x))


HARMFUL = {
    "diagonal": (diagonal, ROWS),
    "diagonal-in-front": (lambda x: raw.Einsum(inputs=[x], equation="ni->nni"), ROWS),
    "mean-of-a-diagonal-if-large": (
        lambda x: tf.where(tf.abs(x) > 50.0, tf.reduce_mean(diagonal(x), 2), x), ROWS),
    "diagonal-of-two": (
        lambda x, y: raw.Einsum(inputs=[x, y], equation="ni,nj->nijn"), ROWS, ROWS),
    "as-high-as-there-are-rows": (
        lambda x: raw.Conv2DBackpropInput(
            input_sizes=tf.stack([count(x), 6]), filter=KERNEL, out_backprop=x[:, :1],
            strides=[1, 4, 1, 1], padding="SAME"), IMAGES),
    "default-for-each-key": (
        lambda x: looked_up(x, v1.placeholder_with_default([1.0, 2.0], None)), INTEGERS),
    "said-to-be-one-row": (
        lambda x: x + v1.placeholder_with_default(
            v1.placeholder_with_default(np.ones([4, 4], np.float32), [None, 4]), [1, 4]), ROWS),
    "said-to-be-narrow": (
        lambda x: tf.reshape(v1.placeholder_with_default(x, [None, 4]), [-1, 4]), ANY_WIDTH),
    "parts-of-44-not-of-300": (
        lambda x: softmax_of_parts(
            x, tf.cast(tf.constant(100, tf.int8) * tf.constant(3, tf.int8), tf.int32)), WIDE),
    "parts-of-44-by-product": (
        lambda x: softmax_of_parts(
            x, tf.cast(tf.reduce_prod(tf.constant([100, 3], tf.int8)), tf.int32)), WIDE),
}  # fmt: skip
HARMLESS = {
    "default-of-known-shape": (
        lambda x: x * v1.placeholder_with_default(np.ones([1, 4], np.float32), [1, 4]),
        ROWS,
    ),
    "default-of-any-shape": (lambda x: v1.placeholder_with_default(x, [None, None]), ROWS),
    "one-default": (lambda x: looked_up(x, 2.0), INTEGERS),
}


@pytest.mark.parametrize("name", HARMFUL)
def test_rows_that_may_hang_together_are_not_proven(name):
    assert why_not(*HARMFUL[name]) is not None


@pytest.mark.parametrize("name", HARMLESS)
def test_rows_that_stand_alone_are_proven(name):
    assert why_not(*HARMLESS[name]) is None


def test_calls_of_calls_are_not_followed_for_ever():
    """Each function of 45 calls the one before twice, and does nothing itself."""
    built = build(tf.identity, ROWS)
    graph = built.graph.as_graph_def()
    for index in range(46):
        function = graph.library.function.add()
        function.signature.name = f"f{index}"
        function.signature.input_arg.add(name="x", type=tf.float32.as_datatype_enum)
        function.signature.output_arg.add(name="y", type=tf.float32.as_datatype_enum)
        function.ret["y"] = "x"
        for name, source in (("a", "x"), ("b", "a:y:0")) if index else ():
            function.node_def.add(name=name, op=f"f{index - 1}", input=[source])
            function.ret["y"] = f"{name}:y:0"
    (output,) = built.signature.outputs.values()
    graph.node.add(name="all", op="f45", input=[output.name])
    signature = replace(built.signature, outputs={"y": replace(output, name="all:0")})

    assert obstacle(graph, signature) == "the graph has more than 100000 calls"
