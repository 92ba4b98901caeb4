"""What is rarely in a graph and looks as if it kept rows apart."""

from __future__ import annotations

import pytest
import tensorflow as tf
from row_graphs_for_tests import ROWS, why_not

raw = tf.raw_ops


def diagonal(x):
    """Rows that have an element for each row, all of which are zero but one."""
    return raw.Einsum(inputs=[x], equation="ni->nin")


HARMFUL = {
    "diagonal": (diagonal, ROWS),
    "diagonal-in-front": (lambda x: raw.Einsum(inputs=[x], equation="ni->nni"), ROWS),
    "mean-of-a-diagonal-if-large": (
        lambda x: tf.where(tf.abs(x) > 50.0, tf.reduce_mean(diagonal(x), 2), x), ROWS),
    "diagonal-of-two": (
        lambda x, y: raw.Einsum(inputs=[x, y], equation="ni,nj->nijn"), ROWS, ROWS),
}  # fmt: skip


@pytest.mark.parametrize("name", HARMFUL)
def test_rows_that_may_hang_together_are_not_proven(name):
    assert why_not(*HARMFUL[name]) is not None
