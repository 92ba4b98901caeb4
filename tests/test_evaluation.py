from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_score, recall_score

from tfapp.config import load_config
from tfapp.data import load_splits
from tfapp.errors import DataError, ExitCode
from tfapp.evaluation import evaluate_run
from tfapp.runs import Run
from tfapp.settings import read_settings
from tfapp.training.restore import load_trained
from tfapp.training.train import train_model


def predicted_and_true(run, split):
    trained = load_trained(run)
    examples = getattr(load_splits(trained.config.data, data_dir=read_settings().data), split)
    probabilities = trained.predictor(examples.features)["probabilities"].numpy()
    return probabilities, examples.labels


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_an_evaluation_agrees_with_scikit_learn(digits_run, split):
    found = evaluate_run(digits_run, split=split)
    probabilities, true = predicted_and_true(digits_run, split)
    predicted = probabilities.argmax(axis=1)
    np.testing.assert_array_equal(found.confusion, confusion_matrix(true, predicted))
    assert found.examples == len(true)
    assert found.metrics["accuracy"] == pytest.approx(np.mean(predicted == true))
    entropy = -np.log(probabilities[np.arange(len(true)), true])
    assert found.metrics["loss"] == pytest.approx(entropy.mean(), rel=1e-4)
    recalls = recall_score(true, predicted, average=None)
    precisions = precision_score(true, predicted, average=None)
    for score, recall, precision in zip(found.classes, recalls, precisions, strict=True):
        assert (score.recall, score.precision) == pytest.approx((recall, precision))


def test_the_evaluation_is_kept_in_the_run(digits_run):
    found = evaluate_run(digits_run)
    kept = json.loads((digits_run.path / "evaluation.json").read_text())
    assert kept["schema_version"] == 1
    assert kept["metrics"] == found.metrics
    assert kept["split"] == "test"


@pytest.fixture(scope="module")
def shop_run(tmp_path_factory):
    """A model of a table with a text column."""
    folder = tmp_path_factory.mktemp("shop")
    rows = [f"{i % 5},{['red', 'blue'][i % 2]},{['low', 'high'][i % 2]}" for i in range(80)]
    (folder / "shop.csv").write_text("\n".join(["size,colour,price", *rows]))
    config = load_config(
        overrides={
            "data.source": str(folder / "shop.csv"),
            "data.batch_size": 16,
            "train.epochs": 30,
            "train.optimizer.learning_rate": 0.01,
            "model.options": {"hidden": [16]},
        }
    )
    return Run(train_model(config, runs=folder, name="shop").path)


def test_other_data_is_coded_as_in_training(shop_run, tmp_path):
    """Columns in another order, texts that training never saw, all rows taken."""
    other = tmp_path / "other.csv"
    other.write_text("price,colour,size\nhigh,blue,1\nlow,red,4\nhigh,blue,3\nlow,green,2\n")
    found = evaluate_run(shop_run, data=str(other))
    assert (found.split, found.examples) == ("all", 4)
    scores = {score.name: score for score in found.classes}
    assert scores["high"].recall == 1.0
    assert scores["low"].examples == 2


def test_other_data_without_a_column_of_training_is_refused(shop_run, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("price,color,size\nhigh,blue,1\nlow,red,4\n")
    with pytest.raises(DataError, match=r"no column 'colour'.*Did you mean 'color'") as caught:
        evaluate_run(shop_run, data=str(other))
    assert caught.value.exit_code == ExitCode.USAGE


def test_other_data_with_an_unknown_class_is_refused(shop_run, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("price,colour,size\nhigh,blue,1\nmiddling,red,4\n")
    with pytest.raises(DataError, match="middling"):
        evaluate_run(shop_run, data=str(other))


def test_other_data_of_another_shape_is_refused(digits_run):
    with pytest.raises(DataError, match=r"\[4\], but the model was trained on \[8, 8, 1\]"):
        evaluate_run(digits_run, data="iris")


def test_regression_has_no_confusion(tmp_path):
    config = load_config(
        overrides={
            "data.source": "synthetic/linear",
            "train.epochs": 20,
            "train.optimizer.learning_rate": 0.01,
        }
    )
    result = train_model(config, runs=tmp_path)
    found = evaluate_run(result.path)
    assert (found.confusion, found.classes) == ((), ())
    trained = load_trained(Run(result.path))
    examples = load_splits(trained.config.data, data_dir=tmp_path).test
    error = trained.predictor(examples.features)["value"].numpy() - examples.labels
    assert found.metrics["mean_absolute_error"] == pytest.approx(np.abs(error).mean(), rel=1e-4)
    assert found.metrics["loss"] == pytest.approx(np.square(error).mean(), rel=1e-4)
