from __future__ import annotations

import concurrent.futures
import multiprocessing

import numpy as np
import pytest
import tensorflow_datasets as tfds
from sklearn import datasets

from tfapp.config import DataConfig
from tfapp.data.embedded import open_embedded
from tfapp.data.sources import load_splits
from tfapp.errors import StorageError

LOADERS = {
    "digits": datasets.load_digits,
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
}


def rows(features, labels):
    return sorted((row.tobytes(), int(label)) for row, label in zip(features, labels, strict=True))


@pytest.mark.parametrize("name", LOADERS)
def test_all_examples_of_scikit_learn_are_there_once(load, name):
    splits = load(name)
    data, target = LOADERS[name](return_X_y=True)
    dtype = np.uint8 if name == "digits" else np.float32
    parts = (splits.train, splits.validation, splits.test)
    features = np.concatenate([part.features.reshape(part.size, -1) for part in parts])
    labels = np.concatenate([part.labels for part in parts])
    assert features.dtype == dtype
    assert rows(features, labels) == rows(data.astype(dtype), target)
    names = [str(n) for n in LOADERS[name]().target_names]
    assert list(splits.info.classes) == names


@pytest.mark.parametrize("name", LOADERS)
def test_test_split_is_a_stratified_fifth_whatever_the_config(load, name):
    splits = load(name)
    target = LOADERS[name]().target
    assert splits.test.size == round(len(target) * 0.2)
    share = np.bincount(splits.test.labels) / splits.test.size
    np.testing.assert_allclose(share, np.bincount(target) / len(target), atol=0.02)
    other = load(name, split_seed=5, test=0.4)
    np.testing.assert_array_equal(other.test.features, splits.test.features)
    assert not np.array_equal(other.validation.features, splits.validation.features)


def test_columns_have_their_names(load):
    columns = load("iris").info.columns
    assert [column.name for column in columns] == datasets.load_iris().feature_names
    assert load("digits").info.columns is None
    assert load("digits").info.feature_shape == (8, 8, 1)


def test_fingerprint_tells_configs_apart(load):
    first = load("iris").info.fingerprint
    assert first == load("iris").info.fingerprint
    assert first != load("iris", split_seed=1).info.fingerprint
    assert len(first) == 64


def test_tfds_semantics_hold(prepared_dir):
    builder = open_embedded("digits", prepared_dir)
    assert str(builder.version) == "1.0.0"
    assert builder.info.splits["train"].num_examples == 1438
    part = tfds.load("digits", split="train[:10]", data_dir=str(prepared_dir), as_supervised=True)
    images = [image.numpy() for image, _ in part]
    assert np.shape(images) == (10, 8, 8, 1)
    # Our iris must not take the place of TFDS's own.
    open_embedded("iris", prepared_dir)
    assert tfds.builder_cls("iris").__module__.startswith("tensorflow_datasets")


def test_preparing_is_silent_and_leaves_nothing_beside(tmp_path, capfd):
    from tensorflow_datasets.core.utils import tqdm_utils

    before = tqdm_utils._active
    load_splits(DataConfig(source="wine"), data_dir=tmp_path)
    assert tqdm_utils._active == before
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "Generating" not in captured.err
    assert [path.name for path in tmp_path.iterdir()] == ["wine"]


def prepare_iris(data_dir):
    return load_splits(DataConfig(source="iris"), data_dir=data_dir).info.fingerprint


def test_two_processes_may_prepare_at_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        prints = set(pool.map(prepare_iris, [tmp_path, tmp_path]))
    assert len(prints) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["iris"]


def test_being_second_is_no_error(tmp_path, monkeypatch):
    from tfapp.data import embedded

    write = embedded._write

    def write_and_lose_the_race(builder, data_dir):
        write(builder, data_dir)
        if data_dir == tmp_path and not (tmp_path / "iris/1.0.0/dataset_info.json").exists():
            monkeypatch.setattr(embedded, "_write", write)
            embedded.open_embedded("iris", tmp_path)

    monkeypatch.setattr(embedded, "_write", write_and_lose_the_race)
    builder = embedded.open_embedded("iris", tmp_path)
    assert builder.info.splits["train"].num_examples == 120
    assert [path.name for path in tmp_path.iterdir()] == ["iris"]


def test_data_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write .*file") as caught:
        load_splits(DataConfig(source="iris"), data_dir=tmp_path / "file")
    assert caught.value.exit_code == 1
