from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfapp import names
from tfapp.data.splits import DataInfo, Task
from tfapp.errors import ExitCode, ModelMismatch, UnknownName, UsageError
from tfapp.losses import build_loss, check_outputs, default_loss
from tfapp.outputs import Outputs

B, K = 12, 3
random = np.random.default_rng(0)
LABELS = random.integers(0, K, B).astype(np.int32)
LOGITS = random.normal(0, 2, (B, K)).astype(np.float32)
BINARY = random.integers(0, 2, B).astype(np.int32)
LOGIT = random.normal(0, 2, (B, 1)).astype(np.float32)
TARGETS = random.uniform(0.5, 3, B).astype(np.float32)
VALUES = random.uniform(0.5, 3, (B, 1)).astype(np.float32)
WEIGHTS = [0.5, 2.0, 3.5]

FOR_CLASSES = {
    name
    for name in names.LOSSES
    if "crossentropy" in name or "cross_entropy" in name or name in ("dice", "tversky")
} | {"kl_divergence"}


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


P = softmax(LOGITS.astype(np.float64))
Y = np.eye(K)[LABELS]


def info(classes: int) -> DataInfo:
    """Data of that many classes; none is regression."""
    task: Task = "classification" if classes else "regression"
    return DataInfo("mine.csv", task, (4,), "float32", tuple("abcde"[:classes]), None, "")


THREE, TWO, REAL = info(3), info(2), info(0)


def value(
    name: str, data: DataInfo, kind: Any, labels: np.ndarray, outputs: np.ndarray, **options: Any
) -> float:
    loss = build_loss(name, data, Outputs(kind, outputs.shape[-1]), **options)
    result = loss(tf.constant(labels), tf.constant(outputs, tf.float32))
    assert result.shape == []
    assert result.dtype == tf.float32
    return float(result)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Writes `own_losses.py` into the working folder; it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    sys.modules.pop("own_losses", None)

    def write(body: str) -> None:
        (tmp_path / "own_losses.py").write_text(f"import keras\nimport tensorflow as tf\n{body}")

    yield write
    sys.modules.pop("own_losses", None)


# From the definitions, over classes: y is one-hot, p the softmax of the logits, z the logits.
true_p = P[np.arange(B), LABELS]
signs = 2 * Y - 1
z = LOGITS.astype(np.float64)
bce = -(Y * np.log(sigmoid(z)) + (1 - Y) * np.log(1 - sigmoid(z)))
true_sigmoid = np.where(Y == 1, sigmoid(z), 1 - sigmoid(z))
CLASSIFICATION = {
    "binary_crossentropy": bce.mean(),
    "binary_focal_crossentropy": ((1 - true_sigmoid) ** 2 * bce).mean(),
    "categorical_crossentropy": -np.log(true_p).mean(),
    "categorical_focal_crossentropy": (-0.25 * (1 - true_p) ** 2 * np.log(true_p)).mean(),
    "categorical_generalized_cross_entropy": ((1 - np.sqrt(true_p)) / 0.5).mean(),
    "categorical_hinge": np.maximum(0, 1 + (z - 1e9 * Y).max(1).clip(0) - (z * Y).sum(1)).mean(),
    "cosine_similarity": -((z * Y).sum(1) / np.linalg.norm(z, axis=1)).mean(),
    "dice": 1 - 2 * (P * Y).sum() / (P.sum() + Y.sum()),
    "hinge": np.maximum(0, 1 - signs * z).mean(),
    "huber": np.where(abs(z - Y) <= 1, (z - Y) ** 2 / 2, abs(z - Y) - 0.5).mean(),
    "kl_divergence": -np.log(true_p).mean(),
    "log_cosh": np.log(np.cosh(z - Y)).mean(),
    "mean_absolute_error": abs(z - Y).mean(),
    "mean_squared_error": ((z - Y) ** 2).mean(),
    "mean_squared_logarithmic_error": (
        (np.log1p(np.maximum(z, 1e-7)) - np.log1p(np.maximum(Y, 1e-7))) ** 2
    ).mean(),
    "poisson": (P - Y * np.log(P)).mean(),
    "sparse_categorical_crossentropy": -np.log(true_p).mean(),
    "squared_hinge": (np.maximum(0, 1 - signs * z) ** 2).mean(),
    "tversky": 1 - (P * Y).sum() / ((P * Y).sum() + (P * (1 - Y)).sum() / 2 + (
        (1 - P) * Y).sum() / 2),
}  # fmt: skip
CLASSIFICATION["mse"] = CLASSIFICATION["mean_squared_error"]
CLASSIFICATION["mae"] = CLASSIFICATION["mean_absolute_error"]
# Percentages of a one-hot zero are divided by Keras's epsilon.
CLASSIFICATION["mean_absolute_percentage_error"] = 100 * (abs(z - Y) / np.maximum(Y, 1e-7)).mean()


def test_each_registered_loss_has_a_definition_here():
    assert set(CLASSIFICATION) == set(names.LOSSES)


@pytest.mark.parametrize("name", names.LOSSES)
def test_loss_over_classes_is_its_definition(name: str):
    found = value(name, THREE, "logits", LABELS, LOGITS)
    assert found == pytest.approx(CLASSIFICATION[name], rel=1e-4)


@pytest.mark.parametrize(
    "name", sorted({*FOR_CLASSES, "poisson"} - {"binary_crossentropy", "binary_focal_crossentropy"})
)
def test_loss_is_the_same_for_logits_and_their_probabilities(name: str):
    found = value(name, THREE, "probabilities", LABELS, P)
    assert found == pytest.approx(CLASSIFICATION[name], rel=1e-4)


@pytest.mark.parametrize("name", ["binary_crossentropy", "binary_focal_crossentropy"])
def test_binary_loss_is_the_same_for_logits_and_their_sigmoids(name: str):
    found = value(name, THREE, "probabilities", LABELS, sigmoid(LOGITS))
    assert found == pytest.approx(CLASSIFICATION[name], rel=1e-4)


def test_mean_squared_error_of_classes_is_the_mean_over_batch_and_classes():
    found = value("mean_squared_error", THREE, "probabilities", LABELS, P)
    assert found == pytest.approx(((P - Y) ** 2).sum() / (B * K), rel=1e-5)


ONE_OUTPUT = set(names.LOSSES) - {
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "sparse_categorical_crossentropy",
    "cosine_similarity",
}


@pytest.mark.parametrize("name", sorted(ONE_OUTPUT))
def test_loss_over_one_output_is_that_of_keras(name: str):
    y, p = BINARY[:, None].astype(np.float32), sigmoid(LOGIT)
    given = p if "crossentropy" in name else LOGIT
    if name in {"dice", "tversky", "kl_divergence", "poisson"}:
        y, given = np.eye(2, dtype=np.float32)[BINARY], np.hstack([1 - p, p])
    if name == "categorical_generalized_cross_entropy":
        y, given = BINARY, np.hstack([1 - p, p])
    expected = getattr(keras.losses, names.LOSSES[name])()(y, given)
    assert value(name, TWO, "logits", BINARY, LOGIT) == pytest.approx(float(expected), rel=1e-4)


def test_binary_crossentropy_over_one_output_is_its_definition():
    p = np.where(BINARY == 1, sigmoid(LOGIT[:, 0]), 1 - sigmoid(LOGIT[:, 0]))
    expected = -np.log(p).mean()
    assert value("binary_crossentropy", TWO, "logits", BINARY, LOGIT) == pytest.approx(expected)
    found = value("binary_crossentropy", TWO, "probabilities", BINARY, sigmoid(LOGIT))
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", sorted(set(names.LOSSES) - FOR_CLASSES - {"cosine_similarity"}))
def test_loss_over_numbers_is_that_of_keras_example_by_example(name: str):
    function = getattr(keras.losses, names.LOSSES[name])(reduction=None)
    expected = np.mean([function(TARGETS[i : i + 1, None], VALUES[i : i + 1]) for i in range(B)])
    assert value(name, REAL, "values", TARGETS, VALUES) == pytest.approx(expected, rel=1e-5)


def test_losses_over_numbers_are_their_definitions():
    difference = VALUES[:, 0] - TARGETS
    for name, expected in {
        "mse": (difference**2).mean(),
        "mae": abs(difference).mean(),
        "mean_absolute_percentage_error": 100 * abs(difference / TARGETS).mean(),
        "log_cosh": np.log(np.cosh(difference)).mean(),
    }.items():
        assert value(name, REAL, "values", TARGETS, VALUES) == pytest.approx(expected, rel=1e-5)


PER_EXAMPLE = {
    "sparse_categorical_crossentropy": -np.log(true_p),
    "categorical_crossentropy": -np.log(true_p),
    "kl_divergence": -np.log(true_p),
    "mean_squared_error": ((z - Y) ** 2).mean(axis=1),
    "hinge": np.maximum(0, 1 - signs * z).mean(axis=1),
    "model_output": z.mean(axis=1),
}


@pytest.mark.parametrize("name", PER_EXAMPLE)
def test_class_weights_make_the_weighted_mean_over_the_batch(name: str):
    kind = "objective" if name == "model_output" else "logits"
    expected = (np.array(WEIGHTS)[LABELS] * PER_EXAMPLE[name]).sum() / B
    found = value(name, THREE, kind, LABELS, LOGITS, class_weights=WEIGHTS)
    assert found == pytest.approx(expected, rel=1e-5)


def test_class_weights_over_one_output():
    p = np.where(BINARY == 1, sigmoid(LOGIT[:, 0]), 1 - sigmoid(LOGIT[:, 0]))
    expected = (np.array([0.25, 4.0])[BINARY] * -np.log(p)).sum() / B
    found = value("binary_crossentropy", TWO, "logits", BINARY, LOGIT, class_weights=[0.25, 4.0])
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", sorted(set(names.LOSSES) - {"dice", "tversky"}))
def test_equal_class_weights_change_nothing(name: str):
    plain = value(name, THREE, "logits", LABELS, LOGITS)
    weighted = value(name, THREE, "logits", LABELS, LOGITS, class_weights=[1, 1, 1])
    assert weighted == pytest.approx(plain)


def test_wrong_number_of_class_weights_tells_both_numbers():
    with pytest.raises(UsageError) as caught:
        build_loss("auto", THREE, Outputs("logits", 3), [1.0, 2.0])
    assert str(caught.value) == (
        "train.class_weights has 2 weights, the data has 3 classes: a, b, c."
    )
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize("weights", [[1.0], []])
def test_class_weights_of_numbers_are_refused(weights: list[float]):
    with pytest.raises(UsageError, match="0 classes: none, it is regression"):
        build_loss("mse", REAL, Outputs("values", 1), weights)


@pytest.mark.parametrize("name", ["dice", "tversky"])
def test_class_weights_of_a_loss_of_the_whole_batch_are_refused(name: str):
    with pytest.raises(UsageError) as caught:
        build_loss(name, THREE, Outputs("logits", 3), WEIGHTS)
    assert f"train.class_weights cannot go with train.loss {name!r}" in str(caught.value)
    assert "categorical_focal_crossentropy" in str(caught.value)


@pytest.mark.parametrize("name", sorted(FOR_CLASSES))
def test_loss_of_classes_is_refused_for_numbers_with_what_suits(name: str):
    with pytest.raises(UsageError) as caught:
        build_loss(name, REAL, Outputs("values", 1))
    message = str(caught.value)
    assert f"train.loss {name!r} is for classes, but mine.csv has real-valued labels" in message
    assert "mean_squared_error" in message
    assert "data.task = 'classification'" in message


@pytest.mark.parametrize("name", sorted(set(names.LOSSES) - ONE_OUTPUT - {"cosine_similarity"}))
def test_loss_that_cannot_learn_from_one_output_is_refused(name: str):
    with pytest.raises(ModelMismatch) as caught:
        build_loss(name, TWO, Outputs("logits", 1))
    assert f"train.loss {name!r}" in str(caught.value)
    assert "gives only 1. Use binary_crossentropy." in str(caught.value)


def test_direction_of_a_single_number_is_refused():
    with pytest.raises(ModelMismatch, match=r"gives only 1\. Use mean_squared_error"):
        build_loss("cosine_similarity", REAL, Outputs("values", 1))


@pytest.mark.parametrize("name", sorted(ONE_OUTPUT))
def test_every_accepted_loss_gives_one_output_a_gradient(name: str):
    outputs = tf.Variable(LOGIT)
    with tf.GradientTape() as tape:
        loss = build_loss(name, TWO, Outputs("logits", 1))(tf.constant(BINARY), outputs)
    gradient = tape.gradient(loss, outputs).numpy()
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


@pytest.mark.parametrize(
    ("data", "width", "said"),
    [
        (THREE, 2, "the model's last layer is 2 wide, but mine.csv has 3 classes"),
        (THREE, 1, "the model's last layer is 1 wide, but mine.csv has 3 classes"),
        (TWO, 3, "the model's last layer is 3 wide, but mine.csv has 2 classes"),
        (REAL, 2, "the model's last layer is 2 wide, but mine.csv has one target number"),
    ],
)
def test_outputs_that_do_not_fit_are_told_with_both_numbers(data: DataInfo, width: int, said: str):
    outputs = Outputs("logits" if data.classes else "values", width)
    with pytest.raises(ModelMismatch) as caught:
        build_loss("mse", data, outputs)
    assert said in str(caught.value)
    assert "take `outputs`" in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize(("data", "width"), [(THREE, 3), (TWO, 2), (TWO, 1), (REAL, 1)])
def test_fitting_outputs_are_accepted(data: DataInfo, width: int):
    check_outputs(data, Outputs("logits" if data.classes else "values", width))


@pytest.mark.parametrize("data", [THREE, REAL])
def test_objective_fits_any_data(data: DataInfo):
    check_outputs(data, Outputs("objective", 7))


@pytest.mark.parametrize(
    ("data", "kind", "width", "name"),
    [
        (THREE, "logits", 3, "sparse_categorical_crossentropy"),
        (TWO, "logits", 2, "sparse_categorical_crossentropy"),
        (TWO, "probabilities", 1, "binary_crossentropy"),
        (REAL, "values", 1, "mean_squared_error"),
        (REAL, "objective", 1, "model_output"),
        (THREE, "objective", 3, "model_output"),
    ],
)
def test_default_suits_the_data(data: DataInfo, kind: Any, width: int, name: str):
    assert default_loss(data, Outputs(kind, width)) == name


def test_model_output_is_the_mean_of_the_outputs():
    found = value("model_output", REAL, "objective", TARGETS, LOGITS)
    assert found == pytest.approx(LOGITS.mean(), rel=1e-5)


def test_imported_function_is_averaged_and_weighted(module: Callable[[str], None]):
    module(
        "def gap(labels, outputs):\n"
        "    true = tf.gather(outputs, labels, batch_dims=1)\n"
        "    return tf.reduce_max(outputs, -1) - true\n"
    )
    gap = LOGITS.max(axis=1) - LOGITS[np.arange(B), LABELS]
    name = "own_losses:gap"
    assert value(name, THREE, "logits", LABELS, LOGITS) == pytest.approx(gap.mean(), rel=1e-5)
    expected = (np.array(WEIGHTS)[LABELS] * gap).sum() / B
    found = value(name, THREE, "logits", LABELS, LOGITS, class_weights=WEIGHTS)
    assert found == pytest.approx(expected, rel=1e-5)


def test_imported_function_over_numbers_gets_a_column(module: Callable[[str], None]):
    module(
        "def cube(labels, outputs):\n"
        "    assert labels.shape == outputs.shape\n"
        "    return tf.abs(labels - outputs)[:, 0] ** 3\n"
    )
    expected = (abs(VALUES[:, 0] - TARGETS) ** 3).mean()
    found = value("own_losses:cube", REAL, "values", TARGETS, VALUES)
    assert found == pytest.approx(expected, rel=1e-4)


def test_imported_class_and_instance_are_used_as_keras_would(module: Callable[[str], None]):
    module(
        "class Scaled(keras.losses.Loss):\n"
        "    def __init__(self, factor=3.0):\n"
        "        super().__init__()\n"
        "        self.factor = factor\n"
        "    def call(self, y_true, y_pred):\n"
        "        return self.factor * tf.reduce_sum(y_pred, -1) * tf.cast(y_true, tf.float32)\n"
        "tenfold = Scaled(10.0)\n"
    )
    one = LOGITS.sum(axis=1) * LABELS
    weighted = np.array(WEIGHTS)[LABELS] * one
    for name, factor in (("own_losses:Scaled", 3), ("own_losses:tenfold", 10)):
        found = value(name, THREE, "logits", LABELS, LOGITS)
        assert found == pytest.approx(factor * one.mean(), rel=1e-4)
        found = value(name, THREE, "logits", LABELS, LOGITS, class_weights=WEIGHTS)
        assert found == pytest.approx(factor * weighted.sum() / B, rel=1e-4)


@pytest.mark.parametrize(("body", "kind"), [("thing = 3", "int"), ("class thing: ...", "type")])
def test_imported_object_that_is_no_loss_is_refused(
    module: Callable[[str], None], body: str, kind: str
):
    module(body)
    with pytest.raises(UsageError) as caught:
        build_loss("own_losses:thing", THREE, Outputs("logits", 3))
    assert str(caught.value) == (
        f"train.loss 'own_losses:thing' is a {kind}; expected a function"
        " (labels, outputs) -> loss, or a keras.losses.Loss."
    )


def test_imported_class_that_needs_arguments_is_refused(module: Callable[[str], None]):
    module(
        "class Needy(keras.losses.Loss):\n"
        "    def __init__(self, margin):\n"
        "        super().__init__()\n"
    )
    with pytest.raises(UsageError) as caught:
        build_loss("own_losses:Needy", THREE, Outputs("logits", 3))
    assert "'own_losses:Needy' cannot be made without arguments" in str(caught.value)
    assert "'margin'" in str(caught.value)


def test_missing_imported_loss_names_the_nearest(module: Callable[[str], None]):
    module("def mine(labels, outputs): ...\n")
    with pytest.raises(UnknownName, match="Did you mean 'mine'"):
        build_loss("own_losses:mien", THREE, Outputs("logits", 3))
