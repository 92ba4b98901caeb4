from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import datasets

from tfapp.config import DataConfig
from tfapp.data.inspection import describe_source, list_sources, prepare_source
from tfapp.errors import UsageError


def test_listing_tells_what_is_prepared(tmp_path):
    (tmp_path / "mnist/3.0.1").mkdir(parents=True)
    info = {"description": "Handwritten\ndigits. More text."}
    (tmp_path / "mnist/3.0.1/dataset_info.json").write_text(json.dumps(info))
    (tmp_path / "glue/cola/2.0.0").mkdir(parents=True)
    (tmp_path / "glue/cola/2.0.0/dataset_info.json").write_text("broken")
    before = {source.name: source for source in list_sources(tmp_path)}
    assert not before["iris"].prepared
    assert before["synthetic/blobs"].prepared
    assert before["mnist:3.0.1"].kind == "tfds"
    assert before["mnist:3.0.1"].description == "Handwritten digits"
    assert before["glue/cola:2.0.0"].description == "dataset_info.json cannot be read"
    prepared = prepare_source("iris", tmp_path)
    after = {source.name: source for source in list_sources(tmp_path)}
    assert after["iris"].prepared
    assert after.keys() == before.keys()
    assert prepared.path == tmp_path / "iris/1.0.0"
    files = [file.stat().st_size for file in prepared.path.iterdir()]
    assert prepared.size_bytes == sum(files) > 1000
    assert list_sources(tmp_path / "none")[0].name == "breast_cancer"


def test_description_of_a_table(prepared_dir):
    report = describe_source(DataConfig(source="iris"), prepared_dir)
    assert report.task == "classification"
    assert report.feature_shape == (4,)
    counts = {name: split.class_counts for name, split in report.splits.items()}
    assert sum(split.size for split in report.splits.values()) == 150
    assert counts["test"] == {"setosa": 10, "versicolor": 10, "virginica": 10}
    first = report.columns[0]
    assert first.name == "sepal length (cm)"
    assert 4.3 <= first.minimum < first.mean < first.maximum <= 7.9 + 1e-6
    data = datasets.load_iris().data
    assert report.minimum == pytest.approx(data.min())
    assert report.mean == pytest.approx(data.mean(), abs=0.2)


def test_description_of_texts_and_targets(write, prepared_dir):
    text = "n,word,label\n" + "".join(f"{i},{'ab'[i % 2]},{i / 7}\n" for i in range(30))
    report = describe_source(DataConfig(source=str(write("t.csv", text))), prepared_dir)
    assert report.task == "regression"
    assert report.classes == ()
    assert report.splits["train"].class_counts is None
    assert report.columns[1].texts == 2
    assert report.columns[1].mean is None
    assert report.minimum == report.columns[0].minimum
    assert report.maximum == report.columns[0].maximum


def test_description_of_images(load, prepared_dir):
    report = describe_source(DataConfig(source="digits"), prepared_dir)
    train = load("digits").train.features
    assert (report.minimum, report.maximum) == (0, 16)
    assert report.mean == pytest.approx(np.mean(train))
    assert report.columns is None


@pytest.mark.parametrize("source", ["synthetic/blobs", "."])
def test_what_needs_no_preparing(tmp_path, source):
    with pytest.raises(UsageError, match="needs no preparing"):
        prepare_source(source, tmp_path)
