from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfapp.data.splits import DataInfo, Task
from tfapp.outputs import Outputs, recognize_outputs


def info(classes: int) -> DataInfo:
    """Data of that many classes; none is regression."""
    task: Task = "classification" if classes else "regression"
    return DataInfo("mine.csv", task, (4,), "float32", tuple("abcde"[:classes]), None, "")


def head(activation: str | None, width: int, **declared: Any) -> Callable[..., tf.Tensor]:
    """A model whose last layer is `activation` over random values of spread 2."""
    values = tf.constant(np.random.default_rng(0).normal(0, 2, (16, width)), tf.float32)
    model = keras.layers.Activation(activation)

    class Model:
        def __call__(self, features: tf.Tensor, *, training: bool) -> tf.Tensor:
            assert not training
            return model(values)

    for key, value in declared.items():
        setattr(Model, key, value)
    return Model()


features = tf.zeros([16, 4])


@pytest.mark.parametrize(
    ("activation", "classes", "width", "kind"),
    [
        ("softmax", 3, 3, "probabilities"),
        ("softmax", 2, 2, "probabilities"),
        ("sigmoid", 2, 1, "probabilities"),
        ("linear", 3, 3, "logits"),
        ("linear", 2, 1, "logits"),
        ("relu", 3, 3, "logits"),  # not negative, but sums are not 1
        ("sigmoid", 3, 3, "logits"),  # between 0 and 1, but sums are not 1
        ("log_softmax", 3, 3, "logits"),
        ("linear", 0, 1, "values"),
        ("sigmoid", 0, 1, "values"),
    ],
)
def test_kind_is_seen_on_one_batch(activation: str, classes: int, width: int, kind: str):
    found = recognize_outputs(head(activation, width), features, info(classes), "auto")
    assert found == Outputs(kind, width)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([0.2, 0.9], "probabilities"),
        ([-0.2, 0.9], "logits"),
        ([0.2, 1.1], "logits"),
        ([0.0, 0.9], "logits"),  # a sigmoid does not reach its limits
    ],
)
def test_single_output_is_a_probability_only_strictly_between_zero_and_one(
    values: list[float], kind: str
):
    def model(_: tf.Tensor, training: bool) -> tf.Tensor:
        return tf.constant(values)[:, tf.newaxis]

    assert recognize_outputs(model, features, info(2), "auto").kind == kind


def test_softmax_in_bfloat16_is_still_recognized():
    def model(_: tf.Tensor, training: bool) -> tf.Tensor:
        logits = tf.random.stateless_normal([64, 100], seed=(1, 2))
        return tf.cast(tf.nn.softmax(logits), tf.bfloat16)

    assert recognize_outputs(model, features, info(3), "auto").kind == "probabilities"


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_declared_kind_settles_it(kind: str):
    for activation in ("softmax", "linear"):
        model = head(activation, 3, output_kind=kind)
        assert recognize_outputs(model, features, info(3), "auto").kind == kind


@pytest.mark.parametrize("said", ["logits", "probabilities"])
def test_what_the_config_says_comes_before_what_is_seen_or_declared(said: str):
    for activation in ("softmax", "linear"):
        for declared in ({}, {"output_kind": "logits"}, {"output_kind": "probabilities"}):
            model = head(activation, 3, **declared)
            assert recognize_outputs(model, features, info(3), said).kind == said


@pytest.mark.parametrize("classes", [0, 3])
def test_objective_stays_one_whatever_the_data(classes: int):
    model = head("linear", 1, output_kind="objective")
    found = recognize_outputs(model, features, info(classes), "probabilities")
    assert found == Outputs("objective", 1)


@pytest.mark.parametrize("declared", [{}, {"output_kind": "logits"}])
def test_regressor_gives_values_whatever_is_said(declared: dict[str, str]):
    model = head("linear", 1, **declared)
    assert recognize_outputs(model, features, info(0), "logits") == Outputs("values", 1)


@pytest.mark.parametrize("width", [1, 2, 5])
def test_probabilities_of_logits_sum_to_one(width: int):
    logits = tf.constant(np.random.default_rng(1).normal(0, 3, (7, width)), tf.float32)
    found = Outputs("logits", width).probabilities(logits).numpy()
    assert found.shape == (7, max(2, width))
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-6)
    assert (found >= 0).all()


def test_probabilities_of_one_logit_are_those_of_the_sigmoid():
    z = np.array([[-1.5], [0.0], [2.0]], np.float32)
    positive = 1 / (1 + np.exp(-z))
    found = Outputs("logits", 1).probabilities(tf.constant(z))
    np.testing.assert_allclose(found, np.hstack([1 - positive, positive]), atol=1e-6)


def test_probabilities_of_several_logits_are_those_of_the_softmax():
    z = np.array([[1.0, 2.0, 3.0], [-50.0, 0.0, 50.0]], np.float32)
    expected = np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)
    found = Outputs("logits", 3).probabilities(tf.constant(z))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_probabilities_stay_as_they_are():
    three = tf.constant([[0.2, 0.3, 0.5]])
    np.testing.assert_array_equal(Outputs("probabilities", 3).probabilities(three), three)
    one = tf.constant([[0.25]])
    np.testing.assert_array_equal(Outputs("probabilities", 1).probabilities(one), [[0.75, 0.25]])


def test_targets_have_the_shape_of_the_outputs():
    labels = tf.constant([0, 2, 1])
    np.testing.assert_array_equal(Outputs("logits", 3).targets(labels), np.eye(3)[[0, 2, 1]])
    binary = Outputs("logits", 1).targets(tf.constant([1, 0]))
    np.testing.assert_array_equal(binary, [[1.0], [0.0]])
    assert binary.dtype == tf.float32
