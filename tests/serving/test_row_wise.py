"""What is proven of rows from the graph alone, rule by rule."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from row_graphs_for_tests import ROWS, why_not

v1 = tf.compat.v1
CUBE = tf.TensorSpec([None, 3, 4], tf.float32)
IMAGES = tf.TensorSpec([None, 6, 6, 2], tf.float32)
VECTOR = tf.TensorSpec([None], tf.float32)
INTEGERS = tf.TensorSpec([None], tf.int32)
TABLE = tf.TensorSpec([None, 4], tf.int32)
TEXTS = tf.TensorSpec([None], tf.string)
ANY_CUBE = tf.TensorSpec([None, None, 4], tf.float32)
ANY_WIDTH = tf.TensorSpec([None, None], tf.float32)

SQUARE = np.arange(16, dtype=np.float32).reshape(4, 4)
KERNEL = np.ones((3, 3, 2, 5), np.float32)
COUNTS = np.ones(2, np.float32)


def count(x):
    return tf.shape(x)[0]


def norm(x, *, training):
    return v1.nn.fused_batch_norm(
        x, COUNTS, COUNTS, None if training else COUNTS, None if training else COUNTS,
        is_training=training,
    )  # fmt: skip


def called(function):
    return tf.function(function, autograph=False)


def table():
    keys, values = tf.constant(["a", "b"]), tf.constant([1, 2])
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), 0)


def anything(value):
    """A constant whose value and shape are not in the graph."""
    value = tf.constant(value)
    return v1.placeholder_with_default(value, [None] * value.shape.rank)


def printing(x):
    tf.print(x)
    return x + 1.0


def parse(x, **features):
    return list(tf.io.parse_example(x, features).values())


HARMLESS = {
    "unary": (lambda x: tf.nn.softmax(tf.nn.relu(-x) ** 2), ROWS),
    "scalar": (lambda x: 2.0 * x + 1.0, ROWS),
    "lower-rank": (lambda x: x + SQUARE[0], ROWS),
    "one-row": (lambda x: x + SQUARE[:1], ROWS),
    "two-rows": (lambda x, y: tf.maximum(x, y) * x, ROWS, ROWS),
    "rows-by-column": (lambda x: x / tf.norm(x, axis=1, keepdims=True), ROWS),
    "where": (lambda x: tf.where(x > 0.0, x, tf.zeros_like(x)), ROWS),
    "select": (lambda x: tf.raw_ops.Select(condition=x[:, 0] > 0, x=x, y=-x), ROWS),
    "add-n": (lambda x: tf.add_n([x, x * x]), ROWS),
    "product": (lambda x: x @ SQUARE, ROWS),
    "transposed-weights": (lambda x: tf.matmul(x, SQUARE, transpose_b=True), ROWS),
    "weights-of-weights": (lambda x: x @ tf.reduce_max(SQUARE, 0, keepdims=True)[0, :, None], ROWS),
    "batch-product": (lambda x: tf.matmul(x, x, transpose_b=True), CUBE),
    "batch-product-by-constant": (lambda x: tf.matmul(x, tf.constant(SQUARE)), CUBE),
    "einsum": (lambda x: tf.einsum("nij,jk->nik", x, SQUARE), CUBE),
    "einsum-attention": (lambda x: tf.einsum("nij,nkj->nik", x, x), CUBE),
    "tensordot": (lambda x: tf.tensordot(x, SQUARE, 1), CUBE),
    "bias": (lambda x: tf.nn.bias_add(x, SQUARE[0]), ROWS),
    "convolution": (lambda x: tf.nn.conv2d(x, KERNEL, 1, "SAME"), IMAGES),
    "transposed-convolution": (
        lambda x: tf.nn.conv2d_transpose(x, np.ones((3, 3, 5, 2), np.float32),
                                         tf.stack([count(x), 12, 12, 5]), 2), IMAGES),
    "pooling": (lambda x: tf.nn.max_pool2d(x, 2, 2, "SAME"), IMAGES),
    "norm": (lambda x: norm(x, training=False)[0], IMAGES),
    "resize": (lambda x: tf.image.resize(x, [3, 3]), IMAGES),
    "reduction": (lambda x: tf.reduce_mean(x, [1, -1]), CUBE),
    "variance": (lambda x: tf.nn.moments(x, [1], keepdims=True), ROWS),
    "argmax": (lambda x: tf.argmax(x, 1), ROWS),
    "top": (lambda x: tf.math.top_k(x, 2), ROWS),
    "sorted-row": (lambda x: tf.sort(x, axis=-1), ROWS),
    "running-sum-of-a-row": (lambda x: tf.cumsum(x, axis=1), ROWS),
    "reversed-row": (lambda x: tf.reverse(x, [1]), ROWS),
    "rolled-row": (lambda x: tf.roll(x, 1, axis=1), ROWS),
    "flat": (lambda x: tf.reshape(x, [-1, 12]), CUBE),
    "flat-by-count": (lambda x: tf.reshape(x, [count(x), 12]), CUBE),
    "flat-by-shape": (lambda x: tf.reshape(x, tf.concat([tf.shape(x)[:1], [12]], 0)), CUBE),
    "cut-and-joined": (lambda x: tf.reshape(tf.reshape(x, [-1, 4]) @ SQUARE, [-1, 3, 4]), CUBE),
    "any-width-by-shape": (lambda x: tf.reshape(x * 2.0, tf.shape(x)), ANY_WIDTH),
    "expanded": (lambda x: tf.squeeze(tf.expand_dims(x, 2), 2), ROWS),
    "transposed": (lambda x: tf.transpose(x, [0, 2, 1]), CUBE),
    "joined": (lambda x: tf.concat([x, x], 1), ROWS),
    "stacked": (lambda x: tf.stack([x, -x], axis=1), ROWS),
    "unstacked": (lambda x: tf.unstack(x, axis=1), ROWS),
    "split": (lambda x: tf.split(x, 2, axis=1), ROWS),
    "split-by-sizes": (lambda x: tf.split(x, [1, 3], axis=1), ROWS),
    "column": (lambda x: x[:, 1], ROWS),
    "last-column": (lambda x: x[..., -1], ROWS),
    "new-axis": (lambda x: x[:, None, ::2], ROWS),
    "slice": (lambda x: tf.slice(x, [0, 1], [-1, 2]), ROWS),
    "padded-row": (lambda x: tf.pad(x, [[0, 0], [1, 1]]), ROWS),
    "tiled-row": (lambda x: tf.tile(x, [1, 3]), ROWS),
    "looked-up": (lambda x: tf.gather(SQUARE, x), INTEGERS),
    "columns": (lambda x: tf.gather(x, [0, 2], axis=1), ROWS),
    "own-columns": (lambda x, i: tf.gather(x, i, batch_dims=1), ROWS, TABLE),
    "positions": (lambda x: tf.gather_nd(SQUARE, x[:, :2]), TABLE),
    "one-hot": (lambda x: tf.one_hot(x, 3), INTEGERS),
    "texts": (lambda x: tf.strings.lower(tf.strings.join([x, "a"])), TEXTS),
    "filled": (lambda x: tf.fill([count(x), 2], 1.0), ROWS),
    "token": (lambda x: tf.concat([tf.broadcast_to(SQUARE[:1], tf.shape(x)), x], 1), ROWS),
    "tiled-token": (lambda x: tf.tile(SQUARE[:1], [count(x), 1]) + x, ROWS),
    "repeated-token": (lambda x: tf.repeat(SQUARE[:1], count(x), 0) + x, ROWS),
    "tiled-before": (
        lambda x: tf.reshape(tf.tile(SQUARE[None, :1], [1, count(x), 1]), [-1, 4]) + x, ROWS),
    "dilated": (
        lambda x: tf.batch_to_space(
            tf.nn.conv2d(tf.space_to_batch(x, [2, 2], [[2, 2], [2, 2]]), KERNEL, 1, "VALID"),
            [2, 2], [[0, 0], [0, 0]]), IMAGES),
    "columns-of-any-number": (
        lambda x: tf.tensordot(tf.tensordot(x, SQUARE, 1), SQUARE, 1), ANY_CUBE),
    "table": (lambda x: tf.one_hot(table().lookup(x), 3) @ SQUARE[:3], TEXTS),
    "flat-batch-product": (lambda x: tf.raw_ops.BatchMatMulV2(x=x, y=SQUARE), ROWS),
    "einsum-ellipsis": (lambda x: tf.einsum("n...,...->n...", x, SQUARE[0]), ROWS),
    "examples-in-function": (
        called(lambda x: tf.io.parse_example(x, {
            "a": tf.io.VarLenFeature(tf.float32), "b": tf.io.FixedLenFeature([2], tf.float32),
        })["b"]), TEXTS),
    "examples": (lambda x: parse(x, a=tf.io.FixedLenFeature([2], tf.float32)), TEXTS),
    "function": (called(lambda x: tf.nn.relu(x @ SQUARE)), ROWS),
    "nested-functions": (called(lambda x: called(tf.nn.softmax)(called(tf.abs)(x))), ROWS),
    "two-outputs": (called(lambda x: (x + 1.0, x[:, 0])), ROWS),
}  # fmt: skip

HARMFUL = {
    "any-row": (lambda x: tf.cond(tf.reduce_max(x) > 10.0, lambda: x / 255.0, lambda: x), ROWS),
    "largest-of-all": (lambda x: x * tf.cast(tf.reduce_max(x) > 1, tf.int32), TABLE),
    "mean-of-all-if-large": (
        lambda x: x - tf.where(tf.abs(x) > 50.0, tf.reduce_mean(x, 0, keepdims=True),
                               tf.zeros_like(x)), ROWS),
    "longest-of-all": (
        lambda x: tf.reduce_sum(x, 1)
        / tf.maximum(1, tf.reduce_max(tf.reduce_sum(tf.cast(x > 1, tf.int32), 1))), TABLE),
    "until-all": (lambda x: tf.while_loop(lambda y: tf.reduce_any(y < 0.0),
                                          lambda y: y + 1.0, [x])[0], ROWS),
    "other-rank": (lambda x, y: x + y, VECTOR, tf.TensorSpec([None, None], tf.float32)),
    "unknown-rank-of-constant": (
        lambda x: x + v1.placeholder_with_default(SQUARE, None), ROWS),
    "as-many-rows": (lambda x: x + SQUARE, ROWS),
    "any-constant-rows": (
        lambda x: x + v1.placeholder_with_default(SQUARE, [None, 4]), ROWS),
    "higher-rank": (lambda x: x + SQUARE[None], ROWS),
    "product-with-rows": (lambda x: tf.matmul(x, x, transpose_b=True), ROWS),
    "transposed-product": (lambda x: tf.matmul(x, x, transpose_a=True), ROWS),
    "product-from-left": (
        lambda x: tf.matmul(v1.placeholder_with_default(SQUARE, [None, None]), x), ROWS),
    "first-matrix": (lambda x: tf.matmul(x, x[0], transpose_b=True), CUBE),
    "weights-in-batches": (
        lambda x: tf.matmul(x, v1.placeholder_with_default(SQUARE[None], [None, None, None])),
        CUBE),
    "row-by-row-gram": (lambda x: tf.raw_ops.BatchMatMulV2(x=x, y=x, adj_x=True), ROWS),
    "einsum-over-rows": (lambda x: tf.einsum("nij,nkl->ij", x, x), CUBE),
    "einsum-of-all-pairs": (lambda x: tf.einsum("ni,mi->nm", x, x), ROWS),
    "einsum-rows-second": (lambda x: tf.einsum("ni,ij->jn", x, SQUARE), ROWS),
    "bias-of-vector": (lambda x: tf.nn.softmax(x), VECTOR),
    "filters-of-rows": (
        lambda x: tf.nn.conv2d(np.ones((1, 6, 6, 2), np.float32),
                               tf.transpose(x[:, :3, :3, :], [1, 2, 3, 0]), 1, "SAME"), IMAGES),
    "statistics": (lambda x: norm(x, training=True)[0], IMAGES),
    "reduction-of-rows": (lambda x: tf.reduce_sum(x, 0), CUBE),
    "reduction-of-all": (lambda x: x + tf.reduce_sum(x), ROWS),
    "argmax-of-rows": (lambda x: tf.argmax(x, 0), CUBE),
    "top-rows": (lambda x: tf.math.top_k(x, 1 + 0 * count(x)).values, VECTOR),
    "sorted-rows": (lambda x: tf.sort(x, axis=0), ROWS),
    "sorted-vector": (lambda x: tf.sort(x), VECTOR),
    "running-sum": (lambda x: tf.cumsum(x), ROWS),
    "running-product": (lambda x: tf.math.cumprod(x, axis=-2), ROWS),
    "reversed": (lambda x: tf.reverse(x, [0]), ROWS),
    "reversed-negative": (lambda x: tf.reverse(x, [-2]), ROWS),
    "rolled": (lambda x: tf.roll(x, 1, axis=0), ROWS),
    "pairs": (lambda x: tf.reshape(x, [-1, 8]), ROWS),
    "turned": (lambda x: tf.reshape(x, [4, -1]), ROWS),
    "turned-back": (lambda x: tf.reshape(tf.reshape(x, [4, -1]), tf.shape(x)), ROWS),
    "count-of-other-axis": (lambda x: tf.reshape(x, [-1, count(x)]), ROWS),
    "shape-of-data": (lambda x: tf.reshape(x, [-1, 1 + tf.cast(x[0, 0] > 0, tf.int32)]), ROWS),
    "dilated-partly": (
        lambda x: tf.batch_to_space(tf.space_to_batch(x, [2, 3], [[0, 0], [0, 0]]),
                                    [2, 1], [[0, 0], [0, 0]]), IMAGES),
    "dilated-and-cut": (
        lambda x: tf.reshape(tf.space_to_batch(x, [2, 3], [[0, 0], [0, 0]]), [-1, 72]), IMAGES),
    "dilated-sizes": (
        lambda x: tf.reshape(tf.space_to_batch(x, [2, 3], [[0, 0], [0, 0]]),
                             [count(x), 6, 6, 2]), IMAGES),
    "any-width-cut": (lambda x: tf.reshape(x, [-1, 4]), ANY_WIDTH),
    "any-columns-turned": (
        lambda x: tf.reshape(x, [tf.shape(x)[1], -1, 4]), ANY_CUBE),
    "rows-of-other-blocks": (lambda x: tf.reshape(x, [-1, 2]) + tf.reshape(x[:, :1], [-1, 1]),
                             ROWS),
    "block-of-another-size": (
        lambda x: tf.reshape(x, [-1, 4]) + tf.reshape(x, [-1, 4])[::-1], ANY_CUBE),
    "repeated-tokens": (lambda x: tf.repeat(SQUARE[:2], count(x), 0)[:1] + x, ROWS),
    "interleaved-tokens": (
        lambda x: tf.reshape(tf.tile(SQUARE[:1, :, None], [1, 1, count(x)]), [-1, 4]), ROWS),
    "small-count": (
        lambda x: tf.fill([tf.cast(tf.cast(count(x), tf.int8), tf.int32), 2], 1.0), ROWS),
    "table-of-orders": (
        lambda x: tf.transpose(x, tf.stack([0, table().lookup(tf.constant("a")), 2])), CUBE),
    "table-of-sizes": (
        lambda x: tf.reshape(x, tf.stack([-1, 4 + 4 * table().lookup(tf.constant("a"))])), CUBE),
    "table-of-defaults": (
        lambda x, y: tf.raw_ops.LookupTableFindV2(
            table_handle=table().resource_handle, keys=x, default_value=y[0]), TEXTS, INTEGERS),
    "compiled": (tf.function(tf.tanh, autograph=False, jit_compile=True), ROWS),
    "halves-of-rows": (lambda x: tf.tanh(tf.reshape(x, [-1, 2])), ROWS),
    "halves-by-rows": (
        lambda x: tf.reshape(x[:, :1], [-1, 1]) + tf.reshape(x, [-1, 2]), ROWS),
    "higher-rank-of-any-size": (lambda x: x + anything(SQUARE[None]), ROWS),
    "select-by-constants": (
        lambda x: tf.raw_ops.Select(condition=anything([True]), x=x, y=-x), ROWS),
    "select-by-count": (lambda x: tf.raw_ops.Select(condition=count(x) > 1, x=x, y=-x), ROWS),
    "columns-by-constant": (
        lambda x: tf.matmul(x, anything(SQUARE), transpose_a=True), ANY_WIDTH),
    "columns-by-batch-product": (
        lambda x: tf.raw_ops.BatchMatMulV2(x=x, y=anything(SQUARE), adj_x=True), ANY_WIDTH),
    "einsum-turned": (lambda x: tf.einsum("in,in->ni", x, x), ANY_WIDTH),
    "einsum-diagonal": (lambda x: tf.einsum("nnk->nk", x), ANY_CUBE),
    "einsum-with-count": (
        lambda x: tf.einsum("ni,ij->nj", x, SQUARE * tf.cast(count(x), tf.float32)), ROWS),
    "einsum-with-rows-of-a-constant": (
        lambda x: tf.einsum("ni,nj->nj", x, anything(SQUARE)), ANY_WIDTH),
    "filters-by-count": (
        lambda x: tf.nn.conv2d_transpose(
            x, np.ones((3, 3, 5, 2), np.float32) * tf.cast(count(x), tf.float32),
            tf.stack([count(x), 12, 12, 5]), 2), IMAGES),
    "image-of-count": (
        lambda x: tf.nn.conv2d_transpose(
            x, np.ones((3, 3, 5, 2), np.float32),
            tf.stack([count(x), 11 + count(x) % 2, 12, 5]), 2), IMAGES),
    "pooled-rows": (
        lambda x: tf.raw_ops.MaxPool(input=x, ksize=[2, 1, 1, 1], strides=[1, 1, 1, 1],
                                     padding="SAME"), IMAGES),
    "sum-with-count": (
        lambda x: tf.add_n([x, tf.fill(tf.shape(x), tf.cast(count(x), tf.float32))]), ROWS),
    "counts-among-others": (lambda x: tf.identity_n([x, tf.range(count(x))])[1], ROWS),
    "rows-from-elsewhere": (lambda x: tf.reshape(x, tf.stack([anything(1), 4])), ROWS),
    "cut-unevenly": (lambda x: tf.reshape(x, [-1, 4]), tf.TensorSpec([None, 6], tf.float32)),
    "any-width-cut-and-joined": (
        lambda x: tf.reshape(tf.nn.softmax(tf.reshape(x, [-1, 4])), tf.shape(x)), ANY_WIDTH),
    "dilated-blocks": (
        lambda x: tf.batch_to_space(
            tf.space_to_batch(tf.reshape(x, [-1, 3, 6, 2]), [3, 2], [[0, 0], [0, 0]]),
            [3, 2], [[0, 0], [0, 0]]), IMAGES),
    "dilated-count": (
        lambda x: tf.fill([count(tf.space_to_batch(x, [2, 3], [[0, 0], [0, 0]])), 2], 1.0),
        IMAGES),
    "first-axis-squeezed": (lambda x: tf.squeeze(x, 0), ANY_WIDTH),
    "joined-with-count": (
        lambda x: tf.concat([x, tf.fill(tf.shape(x), tf.cast(count(x), tf.float32))], 1), ROWS),
    "unstacked-rows": (lambda x: tf.unstack(x, 1), ANY_WIDTH),
    "split-rows": (lambda x: tf.split(x, [1, -1], axis=0)[1], ROWS),
    "first-by-ellipsis": (lambda x: x[..., 0, :], ANY_WIDTH),
    "first-by-masks": (
        lambda x: tf.raw_ops.StridedSlice(input=x, begin=[0], end=[0], strides=[1], begin_mask=1,
                                          end_mask=1, shrink_axis_mask=1), ANY_WIDTH),
    "vector-along-columns": (lambda x: tf.broadcast_to(x, [count(x), 5]), VECTOR),
    "broadcast-to-more": (lambda x: tf.broadcast_to(x, [2 * count(x), 4]), ROWS),
    "broadcast-constants": (lambda x: tf.broadcast_to(anything(SQUARE), tf.shape(x)), ROWS),
    "picked-by-constants": (lambda x: tf.gather(x, anything([0])), ROWS),
    "picked-by-one-row": (lambda x: tf.gather(x, anything([[0]]), batch_dims=1), ROWS),
    "gathered": (
        lambda x, i: tf.raw_ops.Gather(params=x, indices=i, validate_indices=True),
        ROWS, INTEGERS),
    "gathered-in-batches": (
        lambda i: tf.raw_ops.ResourceGather(
            resource=tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[None, None]), indices=i,
            dtype=tf.float32, batch_dims=1), TABLE),
    "position-of-all": (lambda i: tf.gather_nd(SQUARE, i), INTEGERS),
    "position-in-rows-of-any-rank": (lambda x, i: tf.gather_nd(x, i[:, None]), ROWS, INTEGERS),
    "one-hot-of-any-depth": (lambda x: tf.one_hot(x, anything(3), axis=0), INTEGERS),
    "tokens": (lambda x: tf.tile(SQUARE[:2], [count(x), 1]), ROWS),
    "tokens-cut-unevenly": (
        lambda x: tf.reshape(tf.tile(SQUARE[None, :1], [1, count(x), 1]), [-1, 3]), ROWS),
    "tokens-one-by-one": (
        lambda x: tf.reshape(tf.tile(SQUARE[:1, :, None], [1, 1, count(x)]), [-1, 1]), ROWS),
    "token-of-count": (lambda x: tf.tile(tf.fill([1, 2], count(x)), [count(x), 1]), ROWS),
    "square-of-count-in-front": (lambda x: tf.fill([count(x) * count(x), 2], 1.0), ROWS),
    "count-of-halves": (lambda x: tf.fill([count(tf.reshape(x, [-1, 2])), 2], 1.0), ROWS),
    "tiled-by-something": (lambda x: tf.tile(x, [1, 1 + count(x) % 3]), ROWS),
    "einsum-ellipsis-of-rows": (lambda x: tf.einsum("...i,ij->...j", x, SQUARE), ROWS),
    "einsum-of-nothing": (lambda x: tf.einsum("ni->", x), ROWS),
    "printed-aside": (called(lambda x: (v1.Print(x, [x]), x + 1.0)[1]), ROWS),
    "printed-in-function": (called(printing), ROWS),
    "expanded-in-front": (lambda x: tf.squeeze(tf.expand_dims(x, 0) * 2.0, 0), ROWS),
    "one-row-squeezed": (lambda x: tf.squeeze(x), ROWS),
    "front-squeezed": (lambda x: tf.squeeze(tf.expand_dims(x, 2), [0, 2]), ROWS),
    "transposed-rows": (lambda x: tf.transpose(x, [1, 0, 2]), CUBE),
    "joined-rows": (lambda x: tf.concat([x, x], 0), ROWS),
    "stacked-rows": (lambda x: tf.reshape(tf.stack([x, -x]), [-1, 4]), ROWS),
    "halves": (lambda x: tf.split(x, 2, axis=0)[0], ROWS),
    "first-row": (lambda x: x[:1], ROWS),
    "all-but-last": (lambda x: x[:-1], ROWS),
    "all-but-first": (lambda x: x[1:], ROWS),
    "backwards": (lambda x: x[::-1], ROWS),
    "every-other": (lambda x: x[::2], ROWS),
    "row-zero": (lambda x: x - x[0], ROWS),
    "ellipsis-of-nothing": (lambda x: x - x[..., 0, :], ROWS),
    "sliced-rows": (lambda x: tf.slice(x, [1, 0], [-1, 4]), ROWS),
    "first-two": (lambda x: tf.slice(x, [0, 0], [2, 4]), ROWS),
    "padded-rows": (lambda x: tf.pad(x, [[1, 0], [0, 0]])[:-1], ROWS),
    "more-padded-rows": (lambda x: tf.pad(x, [[0, 1], [0, 0]]), ROWS),
    "tiled-rows": (lambda x: tf.tile(x, [2, 1]), ROWS),
    "tiled-by-count": (lambda x: tf.tile(x, [1, count(x)]), ROWS),
    "picked-rows": (lambda x: tf.gather(x, [0, 0]), ROWS),
    "permuted-rows": (lambda x, i: tf.gather(x, i), ROWS, INTEGERS),
    "position-in-rows": (lambda x, i: tf.gather_nd(x, i[:, :2]), ROWS, TABLE),
    "looked-up-in-second": (
        lambda i: tf.gather(v1.placeholder_with_default(SQUARE, [None, None]), i, axis=1),
        INTEGERS),
    "one-hot-in-front": (lambda x: tf.one_hot(x, 3, axis=0), INTEGERS),
    "number-of-rows": (lambda x: x * tf.cast(count(x), tf.float32), ROWS),
    "numbers-of-rows": (lambda x: x + tf.cast(tf.range(count(x)), tf.float32)[:, None], ROWS),
    "filled-with-count": (lambda x: tf.fill(tf.shape(x), count(x)), ROWS),
    "other-count": (lambda x: tf.fill([2 * count(x), 2], 1.0), ROWS),
    "not-as-many-rows": (lambda x: tf.ones([count(x) + 1, 2]), ROWS),
    "square-of-count": (lambda x: tf.ones([count(x), count(x)]), ROWS),
    "broadcast-along-others": (lambda x: tf.broadcast_to(x, [3, count(x), 4]), ROWS),
    "counted": (lambda x: tf.gather(tf.unique_with_counts(x).count, tf.unique(x).idx), INTEGERS),
    "where-rows": (lambda x: tf.boolean_mask(x, x[:, 0] > 0), ROWS),
    "ragged": (lambda x: tf.RaggedTensor.from_tensor(x, padding=0.0).to_tensor(), ROWS),
    "joined-texts": (lambda x: tf.strings.reduce_join(x, keepdims=True), TEXTS),
    "longest-example": (
        lambda x: parse(x, a=tf.io.FixedLenSequenceFeature([], tf.float32, allow_missing=True)),
        TEXTS),
    "sparse-examples": (lambda x: parse(x, a=tf.io.VarLenFeature(tf.float32))[0].values, TEXTS),
    "seeded": (lambda x: x + tf.random.stateless_uniform(tf.shape(x), [1, 2]), ROWS),
    "random": (lambda x: x + tf.random.uniform(tf.shape(x)), ROWS),
    "printed": (lambda x: v1.Print(x, [x]), ROWS),
    "python": (lambda x: tf.ensure_shape(tf.numpy_function(np.cumsum, [x], tf.float32),
                                         [None, 4]), ROWS),
    "fixed-rows": (lambda x: tf.ensure_shape(x, [4, 4]), ROWS),
    "in-function": (called(lambda x: called(lambda y: y - tf.reduce_mean(y, 0))(x)), ROWS),
    "map": (lambda x: tf.map_fn(lambda row: row[::-1], x), ROWS),
    "checked": (lambda x: with_control(tf.debugging.Assert(tf.reduce_max(x) < 9.0, [x]), x), ROWS),
}  # fmt: skip


def with_control(operation, x):
    with tf.control_dependencies([operation]):
        return tf.identity(x)


@pytest.mark.parametrize("name", HARMLESS)
def test_rows_that_stand_alone_are_proven(name):
    assert why_not(*HARMLESS[name]) is None


@pytest.mark.parametrize("name", HARMFUL)
def test_rows_that_may_hang_together_are_not(name):
    assert why_not(*HARMFUL[name]) is not None


def test_the_operation_that_mixes_rows_is_named():
    reason = why_not(lambda x: tf.nn.relu(tf.cumsum(x, name="total")), ROWS)

    assert reason == "Cumsum (total) may mix rows"
