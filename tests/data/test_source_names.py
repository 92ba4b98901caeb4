from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from tfapp import data, names
from tfapp.config import DataConfig
from tfapp.data.builders import BUILDERS
from tfapp.data.inspection import DESCRIPTIONS
from tfapp.data.labels import settle_labels
from tfapp.data.raw import RawData, RawPart, indexed
from tfapp.data.sources import find_source, read_raw
from tfapp.data.synthetic import OPTIONS
from tfapp.errors import DataError, MissingError, UnknownName, UsageError


def test_every_known_name_has_its_maker():
    assert sorted(BUILDERS) == sorted(names.EMBEDDED)
    assert sorted(OPTIONS) == sorted(names.SYNTHETIC)
    assert sorted(DESCRIPTIONS) == sorted([*names.EMBEDDED, *names.SYNTHETIC])


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("digits", "embedded"),
        ("synthetic", "synthetic"),
        ("synthetic/linear", "synthetic"),
        ("mnist", "tfds"),
        ("cifar10:3.*.*", "tfds"),
        ("mnist_corrupted/identity:1.0.0", "tfds"),
    ],
)
def test_kinds_of_names(tmp_path, source, kind):
    assert find_source(source, tmp_path) == kind


def test_paths_win_over_names_only_when_they_look_like_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("mnist", "digits", "pets"):
        (tmp_path / folder).mkdir()
    assert find_source("mnist", tmp_path / "data") == "tfds"
    assert find_source("digits", tmp_path / "data") == "embedded"
    assert find_source("./mnist", tmp_path / "data") == "path"
    (tmp_path / "mnist/mine").mkdir()
    assert find_source("mnist/mine", tmp_path / "data") == "path"
    assert find_source("pets", tmp_path / "data") == "path"
    assert find_source(str(tmp_path / "pets"), tmp_path / "data") == "path"


def test_a_data_set_prepared_by_the_user_is_known_by_its_name(tmp_path):
    (tmp_path / "mine/1.0.0").mkdir(parents=True)
    (tmp_path / "mine/1.0.0/dataset_info.json").write_text("{}")
    assert find_source("mine", tmp_path) == "tfds"


@pytest.mark.parametrize(
    ("typed", "meant"), [("digit", "digits"), ("mnits", "mnist"), ("cifra10", "cifar10")]
)
def test_unknown_name_gives_the_nearest_of_all(tmp_path, typed, meant):
    with pytest.raises(UnknownName) as caught:
        find_source(typed, tmp_path)
    message = str(caught.value)
    assert caught.value.exit_code == 2
    assert f"no data set named {typed!r}. Did you mean {meant!r}?" in message
    assert "breast_cancer, digits, iris, wine, synthetic/blobs" in message
    assert "any of TFDS's 4" in message
    assert "caltech" not in message


def test_unknown_synthetic_name(tmp_path):
    with pytest.raises(UnknownName, match="Did you mean 'synthetic/blobs'"):
        find_source("synthetic/blob", tmp_path)


@pytest.mark.parametrize("source", ["data/none.csv", "none.npz", "./none", "~/none-such", "a/b/c"])
def test_a_path_that_is_not_there(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingError) as caught:
        find_source(source, tmp_path)
    assert caught.value.exit_code == 4
    assert f"no file or folder {source}" in str(caught.value)


def test_a_typo_is_answered_without_tensorflow(tmp_path):
    program = (
        "import sys; from pathlib import Path\n"
        "from tfapp.config import DataConfig\n"
        "from tfapp.data import load_splits\n"
        "from tfapp.errors import UnknownName\n"
        "try: load_splits(DataConfig(source='digit'), data_dir=Path('none'))\n"
        "except UnknownName: pass\n"
        "else: raise SystemExit('no error')\n"
        "from tfapp.data import list_sources\n"
        "assert len(list_sources(Path('none'))) == 8\n"
        "sys.exit('tensorflow' in sys.modules or 'sklearn' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False)
    assert done.returncode == 0


def test_public_names_can_all_be_imported():
    for name in data.__all__:
        assert getattr(data, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'load_split'"):
        data.load_split  # noqa: B018


@pytest.mark.parametrize("source", ["iris", "synthetic/linear"])
def test_raw_examples_are_those_of_the_splits(load, prepared_dir, source):
    raw = read_raw(DataConfig(source=source), data_dir=prepared_dir)
    splits = load(source)
    sizes = [splits.train.size, splits.validation.size, splits.test.size]
    assert sum(len(part.labels) for part in raw.parts.values()) == sum(sizes)
    assert sorted(raw.parts) == (["test", "train"] if source == "iris" else ["train"])


def test_one_class_is_allowed_where_nothing_is_trained():
    at = indexed("rows")
    raw = RawData({"train": RawPart(np.ones((3, 1)), np.array(["b", "b", "b"]), at, at)})
    settled = settle_labels(raw, "classification", ("a", "b"), one_class=True)
    assert settled.by_part["train"].tolist() == [1, 1, 1]
    with pytest.raises(DataError, match="at least two classes"):
        settle_labels(raw, "classification", ("a", "b"))


def test_unsuitable_files_and_folders(load, tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    with pytest.raises(DataError, match=r"is a \.txt file; a source is a \.csv or \.npz file"):
        load(text)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(b"")
    with pytest.raises(DataError, match=f"Give its folder, {tmp_path}"):
        load(tmp_path / "train-images-idx3-ubyte")


def test_a_file_without_permission(load, tmp_path, monkeypatch):
    path = tmp_path / "secret.csv"
    path.write_text("a,label\n1,x\n2,y\n")

    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(DataError, match=r"cannot read .*secret\.csv: Permission denied") as caught:
        load(path)
    assert caught.value.exit_code == 2


def test_a_folder_without_permission(load, tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    for method in ("exists", "is_file"):
        with monkeypatch.context() as patch:
            patch.setattr(type(tmp_path), method, refuse)
            with pytest.raises(DataError, match=f"cannot read {tmp_path}: Permission denied"):
                load(tmp_path)


def test_label_is_for_tables_and_arrays(load):
    with pytest.raises(UsageError, match=r"data\.label names the label column"):
        load("iris", label="species")
