"""Whose rows may run with those of others: models that look alike and are not."""

from __future__ import annotations

from pathlib import Path

import models_for_tests as written
import numpy as np
import pytest
import tensorflow as tf

from tfapp.serving.independence import independent_signatures
from tfapp.serving.servable import load_servable

v1 = tf.compat.v1
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
        (lambda x: tf.map_fn(lambda row: row[::-1], x), False),  # harmless, but a loop
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
        (tf.TensorSpec([None, None], tf.float32), True),
        (tf.TensorSpec([4, 3], tf.float32), False),
        (tf.TensorSpec(None, tf.float32), False),
        (tf.TensorSpec([None], tf.int64), True),
        (tf.TensorSpec([None, 2], tf.bool), True),
        (tf.TensorSpec([None], tf.string), True),
    ],
    ids=["any-width", "fixed", "any-rank", "integers", "bools", "texts"],
)
def test_inputs_of_any_number_of_rows_are_proven(tmp_path, spec, expected):
    assert independent(tmp_path / "1", tf.identity, spec) is expected


def test_what_is_proven_is_tried_with_the_requests_that_came(tmp_path, monkeypatch):
    monkeypatch.setattr("tfapp.serving.independence.obstacle", lambda graph, signature: None)
    spec = tf.TensorSpec([None, None], tf.float32, name="x")
    samples = {
        "serving_default": [
            {"x": np.ones((1, 5), np.float32)},
            {"x": np.zeros((1, 4), np.float32)},  # of another shape
            {"x": np.zeros((2, 5), np.float32)},
        ]
    }

    assert independent(tmp_path / "1", tf.identity, spec, samples)
    assert not independent(tmp_path / "2", tf.cumsum, spec, samples)


@pytest.mark.parametrize(
    "function",
    [tf.cumsum, lambda x: x[:1], lambda x: x + 0.0 * tf.reduce_sum(x), lambda x: x[::-1]],
    ids=["running-sum", "first", "nan", "reversed"],
)
def test_what_is_proven_is_tried_with_numbers_made_up(tmp_path, monkeypatch, function):
    monkeypatch.setattr("tfapp.serving.independence.obstacle", lambda graph, signature: None)

    assert not independent(tmp_path / "1", function)


def test_what_fails_when_it_is_tried_is_run_for_each(tmp_path):
    assert not independent(tmp_path / "1", lambda x: tf.debugging.check_numerics(x / 0.0, "") * x)


def test_texts_and_examples_are_proven(tmp_path):
    servable = load_servable("model", 1, written.write_example_classifier(tmp_path / "1"))

    assert "serving_default" in independent_signatures(servable, {})
    servable.close()


def write_v1(path: Path, build) -> Path:
    """Writes a model of TensorFlow 1; `build` gives inputs and outputs by signature."""
    with tf.Graph().as_default(), v1.Session() as session:
        tensors = build()
        session.run(v1.global_variables_initializer())
        infos = {
            name: v1.saved_model.build_signature_def(
                *({alias: v1.saved_model.build_tensor_info(tensor)
                   for alias, tensor in side.items()} for side in sides)
            )
            for name, sides in tensors.items()
        }  # fmt: skip
        if "stale" in infos:
            infos["stale"].outputs["y"].name = "gone:0"
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(session, ["serve"], infos)
        builder.save()
    return path


def moving_mean():
    x = v1.placeholder(tf.float32, [None, 2])
    mean = v1.get_variable("mean", initializer=np.zeros(2, np.float32), use_resource=False)
    update = v1.assign_add(mean, 0.1 * tf.reduce_mean(x, 0))
    centered = x - mean
    with tf.control_dependencies([centered, update]):
        y = tf.identity(centered)
    return {"serving_default": ({"x": x}, {"y": y}), "state": ({"x": x}, {"y": mean.read_value()})}


def test_a_model_that_changes_its_variables_is_not_tried(tmp_path):
    servable = load_servable("model", 1, write_v1(tmp_path / "1", moving_mean))
    inputs = {"x": np.zeros((1, 2), np.float32)}

    assert independent_signatures(servable, {"serving_default": [inputs] * 4}) == frozenset()
    (mean,) = servable.run(servable.signatures["state"], inputs).values()
    np.testing.assert_array_equal(mean, 0.0)
    servable.close()


def test_a_loop_that_never_ends_is_not_tried(tmp_path):
    def endless(x):
        return tf.while_loop(lambda y: tf.reduce_any(y <= 0.0), lambda y: y * 2.0, [x])[0]

    assert not independent(tmp_path / "1", endless)


def stale():
    x = v1.placeholder(tf.float32, [None, 2])
    return {"serving_default": ({"x": x}, {"y": 2.0 * x}), "stale": ({"x": x}, {"y": 3.0 * x})}


def test_a_signature_of_what_is_gone_does_not_keep_the_others_from_being_served(tmp_path):
    servable = load_servable("model", 1, write_v1(tmp_path / "1", stale))

    assert independent_signatures(servable, {}) == {"serving_default"}
    servable.close()
