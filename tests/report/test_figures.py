from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from tfapp.errors import UsageError
from tfapp.evaluation import evaluate_run
from tfapp.prediction import predict, predict_rows
from tfapp.report.figures import draw_confusion, draw_curves, draw_predictions


def comments(path) -> list[str]:
    """Returns every text of an SVG file: matplotlib writes each as a comment before its glyphs."""
    builder = ET.TreeBuilder(insert_comments=True)
    root = ET.parse(path, ET.XMLParser(target=builder)).getroot()
    return [(e.text or "").strip() for e in root.iter() if e.tag is ET.Comment]


def test_curves_show_each_value_of_both_splits(digits_run):
    texts = comments(draw_curves(digits_run))
    assert {"loss", "accuracy", "train", "validation", "digits"} <= set(texts)
    assert "learning rate" not in texts, "it was constant"
    rows = digits_run.metrics()
    rows[0]["learning_rate"] = 0.5
    digits_run.metrics_file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "learning rate" in comments(draw_curves(digits_run))


def test_a_run_without_a_finished_epoch_has_no_curves(digits_run):
    digits_run.metrics_file.unlink()
    assert draw_curves(digits_run) is None


def test_the_confusion_matrix_shows_its_counts(digits_run):
    evaluation = evaluate_run(digits_run)
    texts = comments(draw_confusion(evaluation))
    counts = [str(count) for row in evaluation.confusion for count in row if count]
    for count in set(counts):
        assert texts.count(count) >= counts.count(count)
    assert f"test: 359 examples, accuracy {evaluation.metrics['accuracy']:.4f}" in texts
    assert draw_confusion(replace(evaluation, confusion=())) is None


def test_dollars_in_a_name_are_no_formula(digits_run):
    evaluation = evaluate_run(digits_run)
    classes = (replace(evaluation.classes[0], name="a$_$"), *evaluation.classes[1:])
    assert draw_confusion(replace(evaluation, classes=classes)).exists()


def test_predictions_are_drawn_with_mistakes_marked(digits_run, tmp_path):
    predictions = predict(digits_run.path, [digits_run.path / "samples.npz"])
    first = replace(predictions.predictions[0], label="9", true="5")
    changed = replace(predictions, predictions=(first, *predictions.predictions[1:]))
    texts = comments(draw_predictions(changed, tmp_path / "new" / "p.svg", most=4))
    assert len(texts) == 4
    assert texts[0] == "9 (is 5)"


def test_tables_cannot_be_drawn_as_pictures(digits_run, tmp_path):
    rows = predict_rows(digits_run.path, [[[[0]] * 8] * 8])
    flat = replace(rows, features=rows.features.reshape(1, 64))
    with pytest.raises(UsageError, match=r"these examples have the shape \[64\]"):
        draw_predictions(flat, tmp_path / "p.svg")
