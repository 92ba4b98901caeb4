"""Figures on model cards: what was measured, on which examples, and what was not."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
from model_card_for_tests import card_of, train
from sklearn.datasets import load_digits
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from tfapp.data import load_splits
from tfapp.errors import ExitCode, UsageError
from tfapp.evaluation import evaluate_run
from tfapp.export.saved_model import export_run
from tfapp.settings import read_settings
from tfapp.training.restore import load_trained

pytestmark = pytest.mark.usefixtures("read_back_here")


def test_figures_are_those_of_the_test_split(digits_run, tmp_path):
    evaluate_run(digits_run)
    card = card_of(export_run(digits_run, tmp_path / "digits").path)
    measured = card["Evaluation"]
    trained = load_trained(digits_run)
    test = load_splits(trained.config.data, data_dir=read_settings().data).test
    guesses = trained.predictor(test.features)["class_id"].numpy()
    assert measured.text[0].startswith(
        f"Measured by tfapp evaluate on {test.size} examples: the test split of digits. They were"
        " neither trained on"
    )
    told = {name: float(value) for name, value in measured.table("metric")}
    assert told["accuracy"] == pytest.approx(np.mean(guesses == test.labels), abs=1e-4)
    precision, recall, _, examples = precision_recall_fscore_support(test.labels, guesses)
    for index, row in enumerate(measured.table("class")):
        assert row[:2] == [str(index), str(examples[index])]
        shares = [float(cell) for cell in row[2:]]
        assert shares == pytest.approx([precision[index], recall[index]], abs=1e-4)
    counts = [[int(cell) for cell in row[1:]] for row in measured.table("true \\ predicted")]
    np.testing.assert_array_equal(counts, confusion_matrix(test.labels, guesses))
    assert not any("test split" in line for line in card["What was not measured"].text)


def test_without_an_evaluation_the_card_says_what_to_type(cli, digits_run, tmp_path):
    card = card_of(export_run(digits_run, tmp_path / "saved_models" / "digits-mlp").path)
    assert card["Evaluation"].text[0].startswith("This checkpoint was not evaluated.")
    assert card["Evaluation"].tables == []
    assert "How good it is on examples" in card["What was not measured"].text[0]
    for line in card["Evaluation"].blocks[0].splitlines():
        tfapp, *words = shlex.split(line)
        assert tfapp == "tfapp"
        assert cli(*words).code == ExitCode.DONE
    again = card_of(tmp_path / "saved_models" / "digits-mlp" / "2")
    assert again["Evaluation"].table("metric")


def test_an_evaluation_of_another_checkpoint_is_not_told_as_this_ones(digits_run, tmp_path):
    first, *_, last = sorted(int(p.name[5:]) for p in digits_run.checkpoints.glob("step-*"))
    evaluate_run(digits_run, step=first)
    evaluation = card_of(export_run(digits_run, tmp_path / "d", step=last).path)["Evaluation"]
    assert f"the last evaluation of the run is of step {first}." in evaluation.text[0]
    assert evaluation.tables == []


@pytest.mark.parametrize(
    ("split", "said"),
    [("train", "It was trained on them."), ("validation", "They decided which checkpoint")],
)
def test_figures_of_another_split_are_told_as_such(digits_run, tmp_path, split, said):
    evaluate_run(digits_run, split=split)
    card = card_of(export_run(digits_run, tmp_path / "digits").path)
    assert f"the {split} split of digits. {said}" in card["Evaluation"].text[0]
    assert "test split" in card["What was not measured"].text[0]


def test_figures_on_other_data_are_told_as_such(digits_run, tmp_path):
    digits = load_digits()
    some = digits.target < 9
    np.savez(tmp_path / "some.npz", x=digits.images[some].astype(np.uint8), y=digits.target[some])
    evaluate_run(digits_run, data=str(tmp_path / "some.npz"))
    card = card_of(export_run(digits_run, tmp_path / "digits").path)
    assert f"on {some.sum():,} examples: all of" in card["Evaluation"].text[0]
    assert card["Evaluation"].text[0].endswith("some.npz. Training did not use this source.")
    assert card["Evaluation"].table("class")[9][1:] == ["0", "0", "no examples"]
    limits = card["What was not measured"].text
    assert "How good it is on the test split, which was held out." in limits
    assert not any("from elsewhere" in line for line in limits)


def test_of_many_classes_the_worst_are_told(tmp_path):
    run = train(
        tmp_path, data__source="synthetic/blobs", data__options={"classes": 60, "examples": 1200}
    )
    evaluate_run(run)
    trained = load_trained(run)
    test = load_splits(trained.config.data, data_dir=tmp_path).test
    matrix = confusion_matrix(
        test.labels, trained.predictor(test.features)["class_id"], labels=range(60)
    )
    card = card_of(export_run(run, tmp_path / "blobs").path)
    table = card["Evaluation"].table("class")
    recalls = np.sort(np.diag(matrix) / matrix.sum(axis=1))[:10]
    assert [float(row[3]) for row in table] == pytest.approx(recalls, abs=1e-3)
    names = trained.predictor.info.classes
    for name, _, precision, _ in table:
        place = names.index(name)
        right, guesses = matrix[place, place], matrix[:, place]
        wanted = f"{right / guesses.sum():.4g}" if guesses.any() else "never predicted"
        assert precision == wanted
    assert "never predicted" in [row[2] for row in table]
    mistakes = np.sort(matrix[~np.eye(60, dtype=bool)])[::-1][:10]
    assert [int(row[2]) for row in card["Evaluation"].table("true")] == mistakes.tolist()
    for true, guess, times in card["Evaluation"].table("true"):
        assert matrix[names.index(true), names.index(guess)] == int(times)
    counts = np.bincount(load_splits(trained.config.data, data_dir=tmp_path).train.labels)
    assert f"from {counts.min()} to {counts.max()} training" in card["Training data"].text[-1]


def test_a_damaged_evaluation_is_named(digits_run, tmp_path):
    evaluate_run(digits_run)
    digits_run.write_json("evaluation.json", {"step": load_trained(digits_run).step})
    with pytest.raises(UsageError, match=r"evaluation\.json is damaged.*tfapp evaluate"):
        export_run(digits_run, tmp_path / "digits")
    assert not (tmp_path / "digits").exists()
