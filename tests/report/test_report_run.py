"""The report of one run: every part, and its numbers against others' computations."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from tfapp.data import load_splits, read_batch
from tfapp.settings import data_folder
from tfapp.training.checkpoints import Checkpoints
from tfapp.training.restore import load_trained


@pytest.fixture
def answers_of():
    """Returns the test split of a run, and the model's outputs for it."""

    def ask(run):
        trained = load_trained(run)
        splits = load_splits(trained.config.data, data_dir=data_folder())
        outputs = trained.predictor(splits.test.features)
        return splits, {name: value.numpy() for name, value in outputs.items()}

    return ask


def test_a_classifier_of_images_has_every_part(digits_report):
    page, run, report = digits_report.page, digits_report.run, digits_report.report
    assert report.path == run.path / "report.html"
    assert report.missing == ()
    assert page.headings == [
        "Summary",
        "Learning curves",
        "Classes",
        "Confusion matrix",
        "Calibration",
        "Worst mistakes",
        "Data",
        "Weights and gradients",
        "Configuration",
        "Environment",
    ]
    drawn = " ".join(page.figures)
    for part in ("loss over", "accuracy over", "How often each", "calibration error", "mistakes"):
        assert part in drawn
    config = (run.path / "config.toml").read_text().strip()
    assert config.replace('"', "&#34;") in page.html
    assert page.pairs("What the run was trained on")["tensorflow"] == tf.__version__


def test_the_figures_are_files_too(digits_report):
    report = digits_report.report
    names = ["curves", "samples", "confusion-test", "calibration-test", "mistakes-test", "norms"]
    assert [path.name for path in report.plots] == [f"{name}.svg" for name in names]
    for path in report.plots:
        assert path.parent == digits_report.run.plots
        assert ET.parse(path).getroot().tag.endswith("svg")


def test_the_summary_is_what_the_run_says(digits_report, answers_of):
    run, summary = digits_report.run, digits_report.page.pairs("What this run is")
    splits, outputs = answers_of(run)
    accuracy = np.mean(outputs["class_id"] == splits.test.labels)
    assert summary["state"] == "done, 3 epochs, 63 steps"
    assert float(summary["test accuracy"]) == pytest.approx(accuracy, abs=5e-5)
    # 64 * 32 + 32 + 32 * 10 + 10
    assert summary["trainable parameters"] == "2,410"
    assert summary["examples"] == "train 1,294, validation 144, test 359"
    rows = [row for row in run.metrics() if row["split"] == "validation"]
    best = max(rows, key=lambda row: row["accuracy"])
    told = f"{best['accuracy']:.4g} at epoch {best['epoch']}, step {best['step']}"
    assert summary["best val_accuracy"] == told


def test_classes_and_confusions_agree_with_scikit_learn(digits_report, answers_of):
    page, run = digits_report.page, digits_report.run
    splits, outputs = answers_of(run)
    true, predicted = splits.test.labels, outputs["class_id"]
    expected = np.array(precision_recall_fscore_support(true, predicted)).T
    *rows, last = page.rows("Each class on test")
    found = [[float(cell) for cell in list(row.values())[1:]] for row in rows]
    np.testing.assert_allclose(found, expected, atol=5e-5)
    means = precision_recall_fscore_support(true, predicted, average="macro")[:3]
    assert [float(last[name]) for name in ("precision", "recall", "F1")] == pytest.approx(
        means, abs=5e-5
    )
    counts = confusion_matrix(true, predicted)
    worst = page.rows("Taken for another most often")[0]
    np.fill_diagonal(counts, 0)
    assert int(worst["examples"]) == counts.max()
    assert counts[int(worst["true"]), int(worst["predicted"])] == counts.max()


def test_the_calibration_error_is_that_of_the_probabilities(digits_report, answers_of):
    page, run = digits_report.page, digits_report.run
    splits, outputs = answers_of(run)
    confidence = outputs["probabilities"].max(axis=1)
    right = outputs["class_id"] == splits.test.labels
    error = 0.0
    for number in range(15):
        inside = (confidence > number / 15) & (confidence <= (number + 1) / 15)
        error += abs(right[inside].sum() - confidence[inside].sum()) / len(right)
    (texts,) = [texts for label, texts in page.figures.items() if "calibration error" in label]
    assert f"expected calibration error {error:.4f}" in texts


def test_the_worst_mistakes_are_those_of_the_largest_loss(digits_report, answers_of):
    page, run = digits_report.page, digits_report.run
    splits, outputs = answers_of(run)
    true, predicted = splits.test.labels, outputs["class_id"]
    losses = -np.log(outputs["probabilities"][np.arange(len(true)), true])
    wrong = np.flatnonzero(predicted != true)
    assert f"wrong on {len(wrong)} of 359 examples of test" in page.words
    worst = wrong[np.argsort(-losses[wrong])][:16]
    titles = [
        text for label, texts in page.figures.items() if "mistakes" in label for text in texts
    ]
    assert titles[::2] == [f"{predicted[place]} (is {true[place]})" for place in worst]
    shown = [float(title.removeprefix("loss ")) for title in titles[1::2]]
    assert shown == pytest.approx(losses[worst], rel=1e-3)


def test_mistakes_and_examples_of_a_table_are_rows(iris_report, answers_of):
    page, run = iris_report.page, iris_report.run
    splits, outputs = answers_of(run)
    names = splits.info.classes
    rows = page.rows("Examples of test, counted from 1")
    assert len(rows) > 1
    for row in rows:
        place = int(row["example"]) - 1
        assert row["true"] == names[splits.test.labels[place]]
        assert row["predicted"] == names[outputs["class_id"][place]] != row["true"]
        chance = outputs["probabilities"][place].max()
        assert float(row["probability"]) == pytest.approx(chance, abs=5e-5)
        assert [float(v) for v in list(row.values())[5:]] == pytest.approx(
            splits.test.features[place], abs=1e-3
        )
    samples = page.rows("The first examples of each class in train")
    assert [row["class"] for row in samples] == [name for name in names for _ in range(4)]
    first = splits.train.features[splits.train.labels == 1][0]
    assert [float(value) for value in list(samples[4].values())[1:]] == pytest.approx(first)


def test_the_classes_of_each_split_are_counted(iris_report, answers_of):
    rows, run = iris_report.page.rows("iris: examples of each split"), iris_report.run
    splits, _ = answers_of(run)
    for name in ("train", "validation", "test"):
        counts = np.bincount(getattr(splits, name).labels)
        assert [int(row[name]) for row in rows] == [*counts, counts.sum()]


def test_norms_are_those_of_weights_and_of_the_gradient_in_closed_form(iris_report):
    page, run = iris_report.page, iris_report.run
    kernel, bias = page.rows("Norm of each variable")
    checkpoints = Checkpoints(run.checkpoints)
    assert len(checkpoints.steps()) >= 2
    for step in checkpoints.steps():
        reader = tf.train.load_checkpoint(str(checkpoints.path(step) / "variables"))
        weights = reader.get_tensor("model/0000/.ATTRIBUTES/VARIABLE_VALUE")
        (heading,) = [name for name in kernel if name.split(" (")[0] == f"step {step}"]
        assert float(kernel[heading]) == pytest.approx(np.linalg.norm(weights), rel=1e-3)
        assert ("(best)" in heading) == (step == checkpoints.best())
    trained = load_trained(run)
    splits = load_splits(trained.config.data, data_dir=data_folder())
    features, labels = read_batch(splits.train, batch_size=16, seed=0, step=0)
    # Cross-entropy of a linear model has the gradients x' (p - y) / B and 1' (p - y) / B.
    scaled = trained.predictor.preprocess(features).numpy()
    off = trained.predictor(features)["probabilities"].numpy() - np.eye(3)[labels.numpy()]
    expected = np.linalg.norm(scaled.T @ off / 16)
    assert float(kernel["gradient"]) == pytest.approx(expected, rel=1e-3)
    assert float(bias["gradient"]) == pytest.approx(np.linalg.norm(off.mean(axis=0)), rel=1e-3)
    assert "16 examples" in page.words


def test_a_regression_has_residuals_instead_of_classes(linear_report, answers_of):
    page, run, report = linear_report.page, linear_report.run, linear_report.report
    assert "Predicted and true" in page.headings
    assert not {"Classes", "Confusion matrix", "Calibration"} & set(page.headings)
    assert [path.name for path in report.plots] == ["curves.svg", "residuals-test.svg", "norms.svg"]
    splits, outputs = answers_of(run)
    squares = (outputs["value"] - splits.test.labels) ** 2
    rows = page.rows("Examples of test")
    assert [int(row["example"]) - 1 for row in rows] == list(np.argsort(-squares)[: len(rows)])
    assert float(rows[0]["loss"]) == pytest.approx(squares.max(), rel=1e-3)
    assert float(rows[0]["predicted"]) == pytest.approx(
        outputs["value"][squares.argmax()], rel=1e-3
    )
