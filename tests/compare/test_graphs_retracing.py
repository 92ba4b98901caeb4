"""How often functions are traced."""

from __future__ import annotations

import logging

import pytest

from tfapp.compare.graphs.retracing import retrace_rows


@pytest.fixture(scope="module")
def rows():
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logging.getLogger("tensorflow").addHandler(handler)
    found = retrace_rows()
    logging.getLogger("tensorflow").removeHandler(handler)
    assert records == []  # TensorFlow warns of functions that are traced often
    return {(row.called_with, row.how): row for row in found}


@pytest.mark.parametrize(
    ("called_with", "how", "traces"),
    [
        ("four numbers of Python", "tf.function", 4),  # a number is a part of the signature
        ("four numbers of Python", "reduce_retracing=True", 4),
        ("four numbers of Python", "input_signature []", 1),
        ("four tensors of one shape", "tf.function", 1),
        ("tensors of four shapes", "tf.function", 4),
        ("arrays of four shapes", "tf.function", 4),
        # The first shape, then one graph for all.
        ("tensors of four shapes", "reduce_retracing=True", 2),
        ("tensors of four shapes", "input_signature [None, 4]", 1),
        ("arrays of four shapes", "a session; placeholder [None, 4]", 1),
    ],
)
def test_traces_are_counted_in_two_ways(rows, called_with, how, traces):
    row = rows[called_with, how]
    assert row.traces == traces
    assert row.counted == (None if "session" in how else traces)
    assert row.calls == 40
    assert 0 < row.call_ms.p10 <= row.call_ms.median <= row.call_ms.p90
    assert row.tracing_ms.median > 0
