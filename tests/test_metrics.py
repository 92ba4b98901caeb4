from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import sklearn.metrics
import tensorflow as tf

from tfapp import names
from tfapp.data.splits import DataInfo, Task
from tfapp.errors import ExitCode, UsageError
from tfapp.metrics import MetricSet, build_metrics, default_metrics, default_monitor
from tfapp.outputs import Outputs

N, K = 60, 3
random = np.random.default_rng(0)
LABELS = random.integers(0, K, N).astype(np.int32)
# The true class is ahead by one on average, so that every value lies between its extremes.
LOGITS = (random.normal(0, 1.5, (N, K)) + np.eye(K)[LABELS]).astype(np.float32)
BINARY = random.integers(0, 2, N).astype(np.int32)
LOGIT = (random.normal(0, 1.5, (N, 1)) + BINARY[:, None] - 0.3).astype(np.float32)
TARGETS = random.uniform(1, 3, N).astype(np.float32)
VALUES = (TARGETS[:, None] + random.normal(0, 0.5, (N, 1))).astype(np.float32)

CLASSIFICATION = {"accuracy", "auc", "f1_score", "precision", "recall", "top_5_accuracy"}


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


P = softmax(LOGITS)
POSITIVE = 1 / (1 + np.exp(-LOGIT[:, 0]))


def info(classes: int) -> DataInfo:
    """Data of that many classes; none is regression."""
    task: Task = "classification" if classes else "regression"
    return DataInfo("mine.csv", task, (4,), "float32", tuple("abcdefgh"[:classes]), None, "")


THREE, TWO, REAL = info(3), info(2), info(0)


def feed(metrics: MetricSet, labels: np.ndarray, outputs: np.ndarray, cuts: tuple[int, ...]) -> Any:
    """Hands over the examples in unequal batches; a batch's loss is the mean of its labels."""
    edges = [0, *cuts, len(labels)]
    for start, stop in pairwise(edges):
        part = labels[start:stop]
        metrics.update(
            tf.constant(part),
            tf.constant(outputs[start:stop], tf.float32),
            tf.constant(part.mean(), tf.float32),
        )
    return metrics.result()


def value(name: str, data: DataInfo, kind: Any, labels: np.ndarray, outputs: np.ndarray) -> float:
    metrics = build_metrics([name], data, Outputs(kind, outputs.shape[-1]))
    return feed(metrics, labels, outputs, (7, 40))[name.rpartition(":")[2]]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Writes `own_metrics.py` into the working folder; it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    sys.modules.pop("own_metrics", None)

    def write(body: str) -> None:
        (tmp_path / "own_metrics.py").write_text(f"import keras\nimport tensorflow as tf\n{body}")

    yield write
    sys.modules.pop("own_metrics", None)


def test_accuracy_is_the_share_of_examples_whose_class_is_ahead():
    expected = np.mean(LOGITS.argmax(axis=1) == LABELS)
    assert 0.3 < expected < 0.9
    assert value("accuracy", THREE, "logits", LABELS, LOGITS) == pytest.approx(expected)
    assert value("accuracy", THREE, "probabilities", LABELS, P) == pytest.approx(expected)


def test_accuracy_of_one_output_decides_at_one_half():
    expected = np.mean((LOGIT[:, 0] > 0) == BINARY)
    assert 0.3 < expected < 0.9
    assert value("accuracy", TWO, "logits", BINARY, LOGIT) == pytest.approx(expected)
    found = value("accuracy", TWO, "probabilities", BINARY, POSITIVE[:, None])
    assert found == pytest.approx(expected)


def test_top_5_accuracy_counts_the_true_class_among_the_best_five():
    labels = random.integers(0, 8, N).astype(np.int32)
    logits = random.normal(0, 1, (N, 8)).astype(np.float32)
    best = np.argsort(-logits, axis=1)[:, :5]
    expected = np.mean((best == labels[:, None]).any(axis=1))
    assert value("top_5_accuracy", info(8), "logits", labels, logits) == pytest.approx(expected)
    assert value("top_5_accuracy", THREE, "logits", LABELS, LOGITS) == 1.0


def two_columns() -> np.ndarray:
    return np.hstack([np.zeros((N, 1), np.float32), LOGIT])  # softmax of it: the sigmoid


@pytest.mark.parametrize("outputs", [LOGIT, two_columns()], ids=["one", "two"])
@pytest.mark.parametrize("name", ["precision", "recall", "f1_score"])
def test_binary_metrics_are_those_of_sklearn(name: str, outputs: np.ndarray):
    predicted = POSITIVE > 0.5
    expected = {
        "precision": sklearn.metrics.precision_score(BINARY, predicted),
        "recall": sklearn.metrics.recall_score(BINARY, predicted),
        "f1_score": sklearn.metrics.f1_score(BINARY, predicted, average="macro"),
    }[name]
    assert value(name, TWO, "logits", BINARY, outputs) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("outputs", [LOGIT, two_columns()], ids=["one", "two"])
def test_binary_auc_is_that_of_sklearn(outputs: np.ndarray):
    expected = sklearn.metrics.roc_auc_score(BINARY, POSITIVE)
    # Keras adds up the curve at 200 thresholds.
    assert value("auc", TWO, "logits", BINARY, outputs) == pytest.approx(expected, abs=5e-3)


def test_auc_of_several_classes_is_the_mean_of_one_against_the_rest():
    shifted = LOGITS + np.array([4, 0, -4], np.float32)  # tells this mean from one over all pairs
    p = softmax(shifted)
    expected = sklearn.metrics.roc_auc_score(LABELS, p, multi_class="ovr", average="macro")
    pooled = sklearn.metrics.roc_auc_score(np.eye(K)[LABELS].ravel(), p.ravel())
    assert abs(expected - pooled) > 0.05
    # Keras adds up the curve at 200 thresholds, few of them where these probabilities are.
    assert value("auc", THREE, "logits", LABELS, shifted) == pytest.approx(expected, abs=0.02)


def test_f1_of_several_classes_is_the_macro_mean():
    expected = sklearn.metrics.f1_score(LABELS, LOGITS.argmax(axis=1), average="macro")
    micro = sklearn.metrics.f1_score(LABELS, LOGITS.argmax(axis=1), average="micro")
    assert abs(expected - micro) > 1e-3
    assert value("f1_score", THREE, "logits", LABELS, LOGITS) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", sorted(set(names.METRICS) - CLASSIFICATION))
def test_metrics_of_numbers_are_their_definitions(name: str):
    difference = VALUES[:, 0].astype(np.float64) - TARGETS
    spread = TARGETS.astype(np.float64) - TARGETS.mean()
    expected = {
        "mae": abs(difference).mean(),
        "mean_absolute_error": abs(difference).mean(),
        "mean_absolute_percentage_error": 100 * abs(difference / TARGETS).mean(),
        "mse": (difference**2).mean(),
        "mean_squared_error": (difference**2).mean(),
        "root_mean_squared_error": np.sqrt((difference**2).mean()),
        "r2_score": 1 - (difference**2).sum() / (spread**2).sum(),
    }[name]
    assert value(name, REAL, "values", TARGETS, VALUES) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("cuts", [(), (1,), (59,), (3, 4, 50)])
def test_loss_is_weighted_by_the_size_of_the_batches(cuts: tuple[int, ...]):
    metrics = build_metrics([], REAL, Outputs("values", 1))
    assert feed(metrics, TARGETS, VALUES, cuts)["loss"] == pytest.approx(TARGETS.mean(), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "data", "labels", "outputs"),
    [(n, THREE, LABELS, LOGITS) for n in ("accuracy", "auc", "f1_score")]
    + [(n, TWO, BINARY, LOGIT) for n in ("accuracy", "auc", "f1_score", "precision", "recall")]
    + [(n, REAL, TARGETS, VALUES) for n in ("mae", "r2_score", "root_mean_squared_error")],
)
def test_values_do_not_depend_on_how_examples_are_cut(
    name: str, data: DataInfo, labels: np.ndarray, outputs: np.ndarray
):
    kind: Any = "logits" if data.classes else "values"
    metrics = build_metrics([name], data, Outputs(kind, outputs.shape[-1]))
    whole = feed(metrics, labels, outputs, ())
    metrics.reset()
    assert feed(metrics, labels, outputs, (1, 8, 59)) == pytest.approx(whole, rel=1e-5)


def test_reset_forgets_every_batch():
    metrics = build_metrics(["mae", "r2_score"], REAL, Outputs("values", 1))
    expected = feed(metrics, TARGETS, VALUES, ())
    metrics.reset()
    feed(metrics, 5 * TARGETS, VALUES, ())
    metrics.reset()
    assert all(np.all(np.asarray(v) == 0) for v in metrics.variables if "float" in str(v.dtype))
    assert feed(metrics, TARGETS, VALUES, ()) == expected


@pytest.mark.parametrize(
    ("wanted", "data", "outputs"),
    [
        (["f1_score", "auc", "accuracy"], THREE, Outputs("logits", 3)),
        (["f1_score", "precision", "auc"], TWO, Outputs("logits", 1)),
        (["r2_score", "mae"], REAL, Outputs("values", 1)),
    ],
)
def test_variables_are_all_there_before_the_first_batch(
    wanted: list[str], data: DataInfo, outputs: Outputs
):
    metrics = build_metrics(wanted, data, outputs)
    before = list(metrics.variables)
    labels = tf.zeros([4], tf.int32 if data.classes else tf.float32)
    metrics.update(labels, tf.ones([4, outputs.width]), tf.constant(1.0))
    assert [id(v) for v in metrics.variables] == [id(v) for v in before]


def test_new_metrics_have_seen_nothing():
    fed = build_metrics(["f1_score", "accuracy"], THREE, Outputs("logits", 3))
    assert feed(fed, LABELS, LOGITS, ())["accuracy"] == pytest.approx(
        np.mean(LOGITS.argmax(axis=1) == LABELS)
    )


def test_values_come_in_the_order_asked_for_after_the_loss():
    metrics = build_metrics(["f1_score", "accuracy"], THREE, Outputs("logits", 3))
    assert list(feed(metrics, LABELS, LOGITS, ())) == ["loss", "f1_score", "accuracy"]


def test_update_works_inside_a_graph():
    metrics = build_metrics(["accuracy", "f1_score"], THREE, Outputs("logits", 3))
    tf.function(metrics.update)(tf.constant(LABELS), tf.constant(LOGITS), tf.constant(2.0))
    assert metrics.result()["accuracy"] == pytest.approx(np.mean(LOGITS.argmax(1) == LABELS))


@pytest.mark.parametrize(
    ("data", "outputs", "wanted"),
    [
        (THREE, Outputs("logits", 3), ["accuracy"]),
        (TWO, Outputs("probabilities", 1), ["accuracy"]),
        (REAL, Outputs("values", 1), ["mean_absolute_error"]),
        (REAL, Outputs("objective", 1), []),
    ],
)
def test_auto_is_what_suits_the_data(data: DataInfo, outputs: Outputs, wanted: list[str]):
    assert default_metrics(data, outputs) == wanted
    assert [m.name for m in build_metrics(["auto"], data, outputs).metrics] == wanted


def test_metric_named_twice_is_kept_once():
    given = ["accuracy", "auto", "f1_score", "accuracy"]
    metrics = build_metrics(given, THREE, Outputs("logits", 3))
    assert [m.name for m in metrics.metrics] == ["accuracy", "f1_score"]


@pytest.mark.parametrize(
    ("metrics", "monitor"), [(["auc", "accuracy"], "val_accuracy"), (["auc"], "val_loss")]
)
def test_accuracy_decides_which_checkpoint_is_best_else_the_loss(metrics: list[str], monitor: str):
    assert default_monitor(metrics) == monitor


@pytest.mark.parametrize("name", sorted(CLASSIFICATION))
def test_metric_of_classes_is_refused_for_numbers(name: str):
    with pytest.raises(UsageError) as caught:
        build_metrics([name], REAL, Outputs("values", 1))
    message = str(caught.value)
    assert f"train.metrics: {name!r} is not for regression" in message
    assert "the labels of mine.csv" in message
    assert "mean_absolute_error" in message and "accuracy," not in message
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize("name", sorted(set(names.METRICS) - CLASSIFICATION))
def test_metric_of_numbers_is_refused_for_classes(name: str):
    with pytest.raises(UsageError) as caught:
        build_metrics([name], THREE, Outputs("logits", 3))
    assert f"{name!r} is not for classification" in str(caught.value)
    assert str(caught.value).endswith(
        "Fitting: accuracy, auc, f1_score, precision, recall, top_5_accuracy."
    )


@pytest.mark.parametrize("name", ["precision", "recall"])
def test_metric_of_two_classes_is_refused_for_three(name: str):
    with pytest.raises(UsageError) as caught:
        build_metrics([name], THREE, Outputs("logits", 3))
    assert str(caught.value) == (
        f"train.metrics: {name!r} is for two classes, mine.csv has 3;"
        " use f1_score, which averages over classes."
    )


OWN = """
class Certain(keras.metrics.Mean):
    "Share of examples whose best output is above a bound."
    def __init__(self, bound=1.0, name="something_else"):
        super().__init__(name=name)
        self.bound = bound
    def update_state(self, y_true, y_pred, sample_weight=None):
        super().update_state(tf.cast(tf.reduce_max(y_pred, -1) > self.bound, tf.float32))
    def get_config(self):
        return {"bound": self.bound, "name": self.name}

strict = Certain(2.0)
loss = Certain()
"""


def test_imported_class_and_instance_see_labels_and_outputs(module: Callable[[str], None]):
    module(OWN)
    best = LOGITS.max(axis=1)
    found = value("own_metrics:Certain", THREE, "logits", LABELS, LOGITS)
    assert found == pytest.approx(np.mean(best > 1))
    found = value("own_metrics:strict", THREE, "logits", LABELS, LOGITS)
    assert found == pytest.approx(np.mean(best > 2))


def test_imported_metric_over_numbers_gets_a_column():
    expected = abs(VALUES[:, 0] - TARGETS).mean()
    found = value("keras.metrics:MeanAbsoluteError", REAL, "values", TARGETS, VALUES)
    assert found == pytest.approx(expected, rel=1e-5)


def test_imported_instance_accumulates_for_each_split_alone(module: Callable[[str], None]):
    module(OWN)
    one, two = (
        build_metrics(["own_metrics:strict"], THREE, Outputs("logits", 3)) for _ in range(2)
    )
    expected = feed(one, LABELS, LOGITS, ())
    feed(two, LABELS, 0 * LOGITS, ())
    assert one.result() == expected
    assert two.result()["strict"] == 0


def test_two_values_of_one_name_are_refused(module: Callable[[str], None]):
    module(OWN)
    with pytest.raises(UsageError, match="two values have one name among loss, loss"):
        build_metrics(["own_metrics:loss"], THREE, Outputs("logits", 3))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def thing(y, p): ...", "is a function, expected a keras.metrics.Metric"),
        ("class thing: ...", "is a type, expected a keras.metrics.Metric"),
        (
            "class thing(keras.metrics.Mean):\n    def __init__(self, bound): ...",
            "cannot be made without arguments",
        ),
    ],
)
def test_imported_object_that_is_no_metric_is_refused(
    module: Callable[[str], None], body: str, said: str
):
    module(body)
    with pytest.raises(UsageError) as caught:
        build_metrics(["own_metrics:thing"], THREE, Outputs("logits", 3))
    assert "train.metrics: 'own_metrics:thing' " + said in str(caught.value)


def test_registered_metrics_are_keras_metrics():
    for data, outputs, wanted in (
        (TWO, Outputs("logits", 1), CLASSIFICATION),
        (REAL, Outputs("values", 1), set(names.METRICS) - CLASSIFICATION),
    ):
        for metric in build_metrics(sorted(wanted), data, outputs).metrics:
            assert isinstance(metric.metric, keras.metrics.Metric)
