"""Whose rows may run with those of others: models that look alike and are not."""

from __future__ import annotations

from pathlib import Path

import models_for_tests as written
import numpy as np
import pytest
import tensorflow as tf

from tfapp.serving.independence import independent_signatures
from tfapp.serving.servable import load_servable

ROWS = tf.TensorSpec([None, 3], tf.float32, name="x")


def independent(path: Path, function, spec=ROWS, samples=None, state=()) -> bool:
    module = tf.Module()
    module.state = list(state)
    module.serve = tf.function(lambda x: {"y": function(x)}, input_signature=[spec])
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.serve})
    servable = load_servable("model", 1, path)
    try:
        return independent_signatures(servable, samples or {}) == {"serving_default"}
    finally:
        servable.close()


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: tf.nn.softmax(x @ tf.eye(3)), True),
        (lambda x: tf.map_fn(lambda row: row[::-1], x), True),
        (lambda x: tf.cast(tf.argmax(x, 1), tf.int32), True),
        (lambda x: x - tf.reduce_mean(x, 0), False),
        (lambda x: x[::-1], False),
        (lambda x: tf.sort(x, axis=0), False),
        (lambda x: x * 1e-3 + 1e-4 * tf.reduce_max(x), False),
        (lambda x: x + 0.0 * tf.reduce_sum(x), False),  # a NaN of another would be its own
        (lambda x: x * tf.cast(tf.shape(x)[0], tf.float32), False),
        (lambda x: x[:1], False),
        (lambda x: x[:-1], False),
        (lambda x: x + tf.random.stateless_uniform(tf.shape(x), [1, 2]), False),
        (lambda x: x + 1e-7 * tf.random.uniform(tf.shape(x)), False),
        (lambda x: tf.boolean_mask(x, x[:, 0] > 0), False),
        (lambda x: tf.cumsum(x), False),
    ],
    ids=["softmax", "map", "argmax", "centered", "reversed", "sorted", "largest", "nothing",
         "count", "first", "all-but-last", "seeded", "random", "some", "running-sum"],
)  # fmt: skip
def test_rows_that_hang_together_are_found_out(tmp_path, function, expected):
    assert independent(tmp_path / "1", function) is expected


def test_who_counts_its_calls_is_run_for_each(tmp_path):
    calls = tf.Variable(0.0)

    def counting(x):
        calls.assign_add(1.0)
        return x + 0.0 * calls

    assert not independent(tmp_path / "1", counting, state=[calls])


def test_variables_are_read_without_harm(tmp_path):
    kernel = tf.Variable(tf.eye(3))

    assert independent(tmp_path / "1", lambda x: x @ kernel, state=[kernel])


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (tf.TensorSpec([None, None], tf.float32), False),
        (tf.TensorSpec([4, 3], tf.float32), False),
        (tf.TensorSpec(None, tf.float32), False),
        (tf.TensorSpec([None], tf.int64), True),
        (tf.TensorSpec([None, 2], tf.bool), True),
    ],
    ids=["any-width", "fixed", "any-rank", "integers", "bools"],
)
def test_rows_are_made_up_where_their_shape_is_known(tmp_path, spec, expected):
    assert independent(tmp_path / "1", tf.identity, spec) is expected


def test_requests_that_came_with_the_model_stand_for_what_cannot_be_made_up(tmp_path):
    spec = tf.TensorSpec([None, None], tf.float32, name="x")
    alike = {"serving_default": [{"x": np.ones((2, 5), np.float32)}]}
    unlike = {
        "serving_default": [
            {"x": np.ones((1, 5), np.float32)},
            {"x": np.zeros((1, 4), np.float32)},  # of another shape
            {"x": np.zeros((2, 5), np.float32)},
        ]
    }

    assert independent(tmp_path / "1", tf.identity, spec, unlike)
    assert not independent(tmp_path / "2", tf.identity, spec, alike), "nothing could be seen"
    assert not independent(tmp_path / "3", tf.cumsum, spec, unlike)


def test_signatures_of_texts_are_tried_with_the_requests_that_came(tmp_path):
    servable = load_servable("model", 1, written.write_example_classifier(tmp_path / "1"))
    examples = np.empty(2, object)
    examples[:] = [written.example(x=[float(i), 1.0]).SerializeToString() for i in range(2)]

    assert "serving_default" not in independent_signatures(servable, {})
    samples = {name: [{"inputs": examples}] for name in servable.signatures}
    assert "serving_default" in independent_signatures(servable, samples)
    servable.close()


def test_tensorflow_still_tells_which_operations_have_a_state():
    from tfapp.serving.independence import _is_stateful

    assert _is_stateful("RandomUniform")
    assert _is_stateful("AssignAddVariableOp")
    assert not _is_stateful("MatMul")
    assert not _is_stateful("ReadVariableOp")
