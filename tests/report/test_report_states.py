"""Reports of runs that have no good end, no data, or nothing to predict."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import tensorflow as tf
from page_reading import ReadPage

from tfapp.config import load_config
from tfapp.data import load_splits
from tfapp.data.splits import StreamSplit
from tfapp.errors import Diverged
from tfapp.report.reports import write_report
from tfapp.report.survey import examples_at, survey_splits
from tfapp.runs import Run
from tfapp.settings import data_folder
from tfapp.training.train import train_model
from tfapp.training.writers import Writer


def write_shop(file, blue="blue"):
    """A table with a text column, from which the price follows."""
    rows = [f"{n % 5},{['red', blue][n % 2]},{['low', 'high'][n % 2]}" for n in range(60)]
    file.write_text("\n".join(["size,colour,price", *rows]))


@pytest.fixture(scope="module")
def _shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    write_shop(folder / "shop.csv")
    settings = {"data.source": str(folder / "shop.csv"), "train.epochs": 2}
    config = load_config(overrides=settings | {"model.options": {"hidden": []}})
    return folder, train_model(config, runs=folder, name="shop").path


@pytest.fixture
def shop(_shop):
    """The file of a run's data, there again for every test, and the run."""
    folder, path = _shop
    write_shop(folder / "shop.csv")
    return folder / "shop.csv", Run(path)


def test_texts_of_a_table_are_shown_as_texts(shop):
    page = ReadPage(write_report(shop[1]).path)
    rows = page.rows("The first examples of each class in train")
    assert {row["colour"] for row in rows if row["price"] == "low"} == {"red"}
    assert {row["colour"] for row in rows if row["price"] == "high"} == {"blue"}


def test_a_run_whose_data_is_gone_says_so_and_shows_the_rest(shop):
    data, run = shop
    data.unlink()
    report = write_report(run)
    page = ReadPage(report.path)
    (reason,) = report.missing
    assert "cannot be loaded: no file or folder" in reason
    assert reason in page.words
    assert page.headings == [
        *("Summary", "Learning curves", "Measurements", "Data", "Weights and gradients"),
        *("Configuration", "Environment"),
    ]
    # From the examples that the run keeps; there are no gradients.
    assert page.rows("The first examples of each class in validation")
    assert "gradient" not in page.rows("Norm of each variable")[0]
    assert "Gradients need the data" in page.words


def test_data_that_has_changed_is_not_measured_on(shop):
    data, run = shop
    write_shop(data, blue="green")
    (reason,) = write_report(run).missing
    assert "has changed since training" in reason


def test_a_model_that_is_gone_leaves_the_curves(iris_run):
    config = iris_run.path / "config.toml"
    config.write_text(config.read_text().replace('name = "mlp"', 'name = "nowhere:Mine"'))
    report = write_report(iris_run)
    page = ReadPage(report.path)
    assert "the model cannot be loaded" in report.missing[0]
    assert "nowhere" in report.missing[0]
    assert page.headings[:3] == ["Summary", "Learning curves", "Measurements"]
    assert [path.name for path in report.plots] == ["curves.svg"]


def test_a_run_without_a_finished_epoch_has_sentences_for_figures(iris_run):
    iris_run.metrics_file.unlink()
    shutil.rmtree(iris_run.checkpoints)
    report = write_report(iris_run)
    page = ReadPage(report.path)
    assert report.plots == ()
    assert page.figures == {}
    assert "No epoch is finished, so there are no curves." in page.words
    assert report.missing == ("There is no checkpoint, so nothing is measured.",)
    assert report.missing[0] in page.words


def test_a_run_that_diverged_says_at_what(tmp_path):
    settings = {
        "data.source": "synthetic/linear",
        "train.optimizer": {"name": "sgd", "learning_rate": 1e30},
    }
    with pytest.raises(Diverged):
        train_model(load_config(overrides=settings), runs=tmp_path, name="wild")
    page = ReadPage(write_report(tmp_path / "wild").path)
    assert page.pairs("What this run is")["state"] == "diverged, 0 epochs, 0 steps"
    assert "The last line of its log: Diverged: step" in page.words
    assert "is not finite" in page.words


class Reporter(Writer):
    """Writes a report after the second epoch, while training goes on."""

    def __init__(self, path):
        self.path, self.page = path, None

    def scalars(self, split, progress, values):
        if progress.epoch == 2 and split == "validation":
            self.page = ReadPage(write_report(self.path).path)


def test_a_run_that_is_still_going_has_a_report(tmp_path):
    reporter = Reporter(tmp_path / "busy")
    config = load_config(overrides={"data.source": "iris", "train.epochs": 3})
    run = train_model(config, runs=tmp_path, name="busy", writers=[reporter])
    assert reporter.page.pairs("What this run is")["state"].startswith("running, 1 epoch")
    assert "Classes" in reporter.page.headings
    assert run.state == "done"
    again = ReadPage(write_report(run.path).path)
    assert again.pairs("What this run is")["state"].startswith("done, 3 epochs")


def test_a_model_that_gives_its_loss_has_nothing_to_predict(tmp_path):
    settings = {
        "data.source": "synthetic/coefficients",
        "model.name": "quadratic",
        "train.epochs": 2,
    }
    run = train_model(load_config(overrides=settings), runs=tmp_path, name="quadratic")
    report = write_report(run.path)
    assert report.missing == ("The model gives what is minimized; it has nothing to predict.",)
    (row,) = ReadPage(report.path).rows("Norm of each variable")
    assert (row["variable"], row["shape"]) == ("quadratic/w", "-")
    # J = w^2 - 10 w + 25 has the gradient 2 w - 10, whatever the batch.
    best = next(float(value) for name, value in row.items() if "best" in name)
    assert float(row["gradient"]) == pytest.approx(abs(2 * best - 10), rel=1e-2)


def test_a_search_that_cannot_be_read_is_no_reason_to_fail(iris_run):
    shutil.rmtree(iris_run.checkpoints)
    (iris_run.path / "tune").mkdir()
    (iris_run.path / "tune" / "journal.jsonl").write_text("{}\n")
    report = write_report(iris_run)
    page = ReadPage(report.path)
    assert report.missing == ()
    assert page.headings == ["Summary", "Search", "Configuration", "Environment"]
    assert "is no journal of a search" in page.words
    assert page.pairs("What this run is")["state"].startswith("searched, not trained")


def test_a_stream_is_surveyed_as_arrays_are():
    """What memory does not hold is read in order."""
    arrays = load_splits(
        load_config(overrides={"data.source": "iris"}).data, data_dir=data_folder()
    )

    def stream(split):
        pairs = tf.data.Dataset.from_tensor_slices((split.features, split.labels))
        return StreamSplit(pairs, split.size)

    names = ("train", "validation", "test")
    streams = type(arrays)(**{n: stream(getattr(arrays, n)) for n in names}, info=arrays.info)
    found, expected = survey_splits(streams), survey_splits(arrays)
    assert (found.sizes, found.counts) == (expected.sizes, expected.counts)
    np.testing.assert_array_equal(found.features, expected.features)
    np.testing.assert_array_equal(found.labels, expected.labels)
    places = [7, 2, 29]
    np.testing.assert_array_equal(examples_at(streams.test, places), arrays.test.features[places])
