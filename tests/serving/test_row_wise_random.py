"""Random graphs: what is proven of their rows is true, beside rows of other magnitudes too."""

from __future__ import annotations

from collections import Counter

import hypothesis.strategies as st
import numpy as np
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from row_graphs_for_tests import build

RANDOM = np.random.default_rng(0)
WEIGHTS = RANDOM.normal(size=(4, 4)).astype(np.float32)
SHAPES = ([4], [3, 4], [4, 1], [])
# Beside these a row must be what it is alone.
OTHERS = (0.0, 1e3, -1e6, np.nan)


def count(x):
    return tf.shape(x)[0]


def dim(x, axis):
    return tf.shape(x)[axis]


def as_float(x):
    return tf.cast(x, tf.float32)


# Of two tensors and a small number; many mix rows, and most are refused by many shapes.
STEPS = {
    "tanh": lambda x, y, n: tf.tanh(x),
    "softmax": lambda x, y, n: tf.nn.softmax(tf.tanh(x)),
    "zeros": lambda x, y, n: tf.zeros_like(x) + n,
    "add": lambda x, y, n: x + y,
    "multiply": lambda x, y, n: tf.tanh(x) * tf.tanh(y),
    "choose": lambda x, y, n: tf.where(x > 0.1 * n, x, y),
    "select": lambda x, y, n: tf.raw_ops.Select(condition=y > 0.0, x=x, y=-x),
    "scale": lambda x, y, n: x * [WEIGHTS[0], WEIGHTS[:1], WEIGHTS, WEIGHTS[None, :1]][n % 4],
    "dense": lambda x, y, n: tf.matmul(x, WEIGHTS, transpose_b=bool(n % 2)),
    "tensordot": lambda x, y, n: tf.tensordot(x, WEIGHTS, 1),
    "product": lambda x, y, n: tf.matmul(
        tf.tanh(x), tf.tanh(y), transpose_a=bool(n & 1), transpose_b=bool(n & 2)
    ),
    "einsum": lambda x, y, n: tf.einsum(
        ["ni,ij->nj", "nij,jk->nik", "nij,njk->nik", "ni,mi->nm", "nij,nkj->ik"][n % 5],
        *[(x, WEIGHTS), (x, WEIGHTS), (x, y), (x, y), (x, y)][n % 5],
    ),
    "sum": lambda x, y, n: tf.reduce_sum(x, [None, 0, 1, -1, [1, -1], []][n % 6], keepdims=n > 3),
    "max": lambda x, y, n: tf.reduce_max(x, [1, 0, -1, None][n % 4], keepdims=n > 3),
    "argmax": lambda x, y, n: as_float(tf.argmax(x, n % 3)),
    "top": lambda x, y, n: tf.math.top_k(x, 1 + n % 2).values,
    "sort": lambda x, y, n: tf.sort(x, axis=[-1, 0, 1][n % 3]),
    "cumsum": lambda x, y, n: tf.cumsum(x, axis=[1, 0, -1][n % 3]),
    "reverse": lambda x, y, n: tf.reverse(x, [[1], [0], [-1], []][n % 4]),
    "roll": lambda x, y, n: tf.roll(x, 1, axis=[1, 0, -1][n % 3]),
    "reshape": lambda x, y, n: tf.reshape(
        x,
        [[-1, 4], [-1, 2], [-1, 8], [-1], [2, -1], [-1, 2, 2], [count(x), -1], tf.shape(y)][n],
    ),
    "reshape-by-sizes": lambda x, y, n: tf.reshape(
        x,
        [
            [-1, dim(x, -1)], [count(x), 2, -1], [-1, count(x)], [2 * count(x), -1],
            [count(x) * dim(x, 1), -1], tf.concat([tf.shape(x)[:-1], [2, -1]], 0),
            tf.shape(x)[::-1], [tf.size(x)],
        ][n],
    ),
    "expand": lambda x, y, n: tf.expand_dims(x, [1, 0, -1, 2][n % 4]),
    "squeeze": lambda x, y, n: tf.squeeze(x, [[1], [0], [-1], None][n % 4]),
    "transpose": lambda x, y, n: tf.transpose(x, [[0, 2, 1], [1, 0], [1, 0, 2], [0, 1]][n % 4]),
    "concat": lambda x, y, n: tf.concat([x, y], [1, 0, -1][n % 3]),
    "stack": lambda x, y, n: tf.stack([x, y], axis=[1, 0, -1][n % 3]),
    "unstack": lambda x, y, n: tf.unstack(x, axis=1 + n % 2)[0],
    "split": lambda x, y, n: tf.split(x, 2, axis=[1, 0, -1][n % 3])[n % 2],
    "slice": lambda x, y, n: [
        lambda: x[:, 1:], lambda: x[..., 0], lambda: x[:1], lambda: x[::-1], lambda: x[:, None],
        lambda: x[0:, ::2], lambda: x[None], lambda: x[:, 0] + x[0, 0],
    ][n](),
    "tf-slice": lambda x, y, n: tf.slice(x, [n % 2, 0], [-1, 1 + n % 3]),
    "pad": lambda x, y, n: tf.pad(x, [[[0, 0], [1, 0]], [[0, 1], [0, 0]]][n % 2]),
    "tile": lambda x, y, n: tf.tile(x, [[1, 2], [2, 1], [1, 1, 3]][n % 3]),
    "columns": lambda x, y, n: tf.gather(x, [0, 1], axis=n % 3),
    "token": lambda x, y, n: [
        lambda: tf.tile(WEIGHTS[:1], [count(x), 1]), lambda: tf.tile(WEIGHTS[:2], [count(x), 1]),
        lambda: tf.repeat(WEIGHTS[:1], count(x), 0), lambda: tf.repeat(WEIGHTS[:2], count(x), 0),
        lambda: tf.broadcast_to(WEIGHTS[0], tf.shape(x)), lambda: tf.fill(tf.shape(x), 0.5),
        lambda: tf.ones([count(x), 4 * dim(x, -1)]), lambda: tf.fill([count(x), count(x)], 0.5),
    ][n](),
    "count": lambda x, y, n: x * as_float(count(y)),
    "numbers": lambda x, y, n: x + as_float(tf.range(count(x)))[:, None],
    "called": lambda x, y, n: tf.function(lambda a, b: tf.tanh(a) - [b, a][n % 2])(x, y),
    "condition": lambda x, y, n: tf.cond(tf.reduce_max(x) > 3.0, lambda: -x, lambda: x),
    "centered": lambda x, y, n: x - tf.reduce_mean(x, n % 3, keepdims=True),
    "position": lambda x, y, n: tf.gather(WEIGHTS, tf.cast(x > 0, tf.int32), axis=n % 2),
    "one-hot": lambda x, y, n: tf.one_hot(tf.cast(x > 0, tf.int32), 4, axis=[-1, 0, 1][n % 3]),
}  # fmt: skip

# What TensorFlow raises for shapes that do not fit.
_UNFIT = (ValueError, TypeError, IndexError, NotImplementedError, tf.errors.InvalidArgumentError)

NUMBERS = st.integers(0, 7)
GRAPHS = st.lists(
    st.tuples(st.sampled_from(sorted(STEPS)), NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=7
)


def composed(steps):
    """Returns a function of rows: each step takes tensors of those before."""

    def function(x):
        found = [x]
        for name, first, second, number in steps:
            # Mostly the last one, so that graphs become deep.
            x = found[-1] if first % 3 else found[first % len(found)]
            try:
                made = STEPS[name](x, found[-1 - second % len(found)], number)
            except _UNFIT:
                continue
            found.append(made)
        return as_float(found[-1])

    return function


def computed(built, rows):
    try:
        return built.run(rows)[0]
    except tf.errors.InvalidArgumentError:
        return None


def check(built, shape):
    """Compares rows alone with the same ones beside others."""
    rows = RANDOM.normal(size=(3, *shape)).astype(np.float32)
    alone = [computed(built, rows[i : i + 1]) for i in range(3)]
    for other in OTHERS:
        mixed = np.full((7, *shape), other, np.float32)
        mixed[1::2] = rows
        together = computed(built, mixed)
        if together is None:
            continue  # a batch that fails is run request by request
        assert len(together) == len(mixed)
        for row, expected in zip(together[1::2], alone, strict=True):
            assert expected is not None, "it fails alone and not together"
            assert len(expected) == 1
            scale = 1.0 + np.nanmax(np.abs(expected), initial=0.0)
            np.testing.assert_allclose(row, expected[0], rtol=0, atol=1e-4 * scale)


seen: Counter[bool] = Counter()


@settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(GRAPHS, st.sampled_from(SHAPES))
def test_what_is_proven_is_true(steps, shape):
    built = build(composed(steps), tf.TensorSpec([None, *shape], tf.float32))
    (output,) = built.signature.outputs.values()
    has_rows = bool(output.shape) and output.shape[0] is None
    proven = has_rows and built.obstacle is None
    seen[proven] += 1
    if proven:
        check(built, shape)


def test_many_random_graphs_are_proven_and_many_are_not():
    if not seen:
        test_what_is_proven_is_true()

    assert min(seen[True], seen[False]) > 50
