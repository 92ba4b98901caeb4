from __future__ import annotations

import errno
import shutil
import socket
import time
import urllib.request

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tfapp.config import DataConfig
from tfapp.data import network
from tfapp.data import tfds as tfds_source
from tfapp.data.embedded import quiet_tfds
from tfapp.data.pipeline import evaluation_batches
from tfapp.data.sources import load_splits
from tfapp.data.splits import ArraySplit, StreamSplit
from tfapp.errors import DataError, MissingError, StorageError, UsageError

RNG = np.random.default_rng(2)
ROWS = RNG.normal(size=(3000, 100)).astype(np.float32)  # 1.2 MB
LABELS = np.arange(3000) % 3
PICTURES = [RNG.integers(0, 256, (4 + i % 2, 6, 3), dtype=np.uint8) for i in range(24)]


class Made(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A table in one split."""

    VERSION = tfds.core.Version("1.2.0")
    label = tfds.features.ClassLabel(names=["x", "y", "z"])
    features = tfds.features.Tensor(shape=(100,), dtype=np.float32)
    sizes: dict = {"train": 3000}  # noqa: RUF012
    keys = ("features", "label")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict({"features": self.features, "label": self.label}),
            supervised_keys=self.keys,
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {name: self._generate_examples(size) for name, size in self.sizes.items()}

    def _generate_examples(self, size):
        for i in range(size):
            yield i, {"features": ROWS[i], "label": LABELS[i]}


class MadePictures(Made, skip_registration=True):
    """Pictures of two sizes."""

    features = tfds.features.Image(shape=(None, None, 3))
    sizes: dict = {"train": 18, "val": 6}  # noqa: RUF012

    def _generate_examples(self, size):
        for i in range(size):
            yield i, {"features": PICTURES[i], "label": LABELS[i]}


class MadeUnlabelled(Made, skip_registration=True):
    """No supervised keys and a text for a label."""

    label = tfds.features.Text()
    keys = None

    def _generate_examples(self, size):
        for i in range(6):
            yield i, {"features": ROWS[i], "label": "text"}


@pytest.fixture(scope="module")
def made_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    for builder in (Made, MadePictures, MadeUnlabelled):
        with quiet_tfds():
            builder(data_dir=str(folder)).download_and_prepare()
    return folder


def load_made(source, made_dir, **settings):
    return load_splits(DataConfig(source=str(source), **settings), data_dir=made_dir)


def test_by_name_version_and_folder(made_dir):
    by_name = load_made("made", made_dir)
    assert isinstance(by_name.train, ArraySplit)
    assert by_name.info.classes == ("x", "y", "z")
    sizes = (by_name.train.size, by_name.validation.size, by_name.test.size)
    assert sizes == (2295, 255, 450)
    for source in ("made:1.2.0", "made:1.*.*", made_dir / "made/1.2.0"):
        again = load_made(source, made_dir)
        assert again.info.fingerprint == by_name.info.fingerprint
    with pytest.raises(DataError, match=r"prepared by TFDS; name one: .*made.1\.2\.0"):
        load_made(made_dir / "made", made_dir)


def test_class_names_can_be_reordered_or_replaced(made_dir):
    plain = load_made("made", made_dir)
    ordered = load_made("made", made_dir, classes=["z", "y", "x"])
    np.testing.assert_array_equal(
        np.bincount(ordered.test.labels), np.bincount(plain.test.labels)[::-1]
    )
    first = np.flatnonzero((ordered.train.features[0] == ROWS).all(axis=1))[0]
    assert ordered.info.classes[ordered.train.labels[0]] == "xyz"[LABELS[first]]
    renamed = load_made("made", made_dir, classes=["a", "b", "c"])
    np.testing.assert_array_equal(renamed.train.labels, plain.train.labels)
    with pytest.raises(DataError, match="the label is 2, which is not a class"):
        load_made("made", made_dir, classes=["a", "b"])


def test_above_the_memory_limit_it_is_a_stream(made_dir):
    splits = load_made("made", made_dir, memory_limit_mb=1)
    assert isinstance(splits.train, StreamSplit)
    sizes = (splits.train.size, splits.validation.size, splits.test.size)
    assert sizes == (2295, 255, 450)
    parts = (splits.train, splits.validation, splits.test)
    batches = [batch for part in parts for batch in evaluation_batches(part, 500)]
    np.testing.assert_array_equal(np.concatenate([f for f, _ in batches]), ROWS)
    np.testing.assert_array_equal(np.concatenate([y for _, y in batches]), LABELS)
    assert splits.info.feature_shape == (100,)
    again = load_made("made", made_dir, memory_limit_mb=1)
    assert splits.info.fingerprint == again.info.fingerprint
    other = load_made("made", made_dir, memory_limit_mb=1, test=0.2)
    assert splits.info.fingerprint != other.info.fingerprint


def test_stream_labels_follow_the_classes_of_the_user(made_dir):
    splits = load_made("made", made_dir, memory_limit_mb=1, classes=["z", "y", "x"])
    labels = np.concatenate([y for _, y in evaluation_batches(splits.train, 500)])
    np.testing.assert_array_equal(labels, 2 - LABELS[: len(labels)])


def test_pictures_of_several_sizes_need_image_size(made_dir):
    with pytest.raises(DataError, match=r"\[None, None, 3\].*data\.image_size"):
        load_made("made_pictures", made_dir)
    splits = load_made("made_pictures", made_dir, image_size=(4, 6))
    assert splits.info.feature_shape == (4, 6, 3)
    assert splits.info.feature_dtype == "uint8"
    assert splits.validation.size == 6  # its split is called `val`
    # A picture that has the size already is left as it is.
    np.testing.assert_array_equal(splits.validation.features[0], PICTURES[0])


def test_data_sets_without_usable_labels(made_dir):
    with pytest.raises(DataError, match=r"made_unlabelled.*cannot be used.*label \(Text\)"):
        load_made("made_unlabelled", made_dir)


@pytest.mark.parametrize("limit", [1, 2048])
def test_damaged_record_files(made_dir, tmp_path, limit):
    folder = tmp_path / "1.2.0"
    shutil.copytree(made_dir / "made/1.2.0", folder)
    (record,) = folder.glob("*.tfrecord*")
    record.write_bytes(record.read_bytes()[:5000])
    with pytest.raises(DataError, match=f"{folder} cannot be read: .*prepare the data set again"):
        load_made(folder, tmp_path, memory_limit_mb=limit)
    record.unlink()
    with pytest.raises(DataError, match=f"{folder} cannot be read"):
        load_made(folder, tmp_path, memory_limit_mb=limit)
    (folder / "dataset_info.json").write_text("broken")
    with pytest.raises(DataError, match=r"holds dataset_info\.json, but TFDS cannot open it"):
        load_made(folder, tmp_path, memory_limit_mb=limit)


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(urllib.request, "getproxies", dict)


def test_without_network_the_answer_is_fast_and_says_what_to_do(tmp_path, no_network):
    (tmp_path / "mnist/2.0.0").mkdir(parents=True)
    (tmp_path / "mnist/2.0.0/dataset_info.json").write_text("{}")
    start = time.monotonic()
    with pytest.raises(MissingError) as caught:
        load_made("mnist", tmp_path)
    assert time.monotonic() - start < 10
    assert caught.value.exit_code == 4
    for fact in (
        f"'mnist' is not prepared in {tmp_path}",
        "other versions: 2.0.0",
        "cannot be reached",
        "tfapp data prepare mnist",
        str(tmp_path / "mnist"),
        "TFAPP_DATA",
        "breast_cancer, digits, iris, wine",
    ):
        assert fact in str(caught.value)


class Failing:
    """Stands for a TFDS builder whose download fails."""

    url_infos = None

    def __init__(self, folder, error):
        self.data_dir = str(folder / "failing/1.0.0")
        self.error = error

    def download_and_prepare(self, **_):
        raise self.error


@pytest.mark.parametrize(
    ("error", "kind", "fact"),
    [
        (ConnectionError("no route"), MissingError, "the download failed: no route"),
        (OSError(errno.ENOSPC, "No space left"), StorageError, "No space left"),
        (PermissionError(errno.EACCES, "Permission denied"), StorageError, "Permission denied"),
        (AssertionError("Manual directory is empty.\nmore"), MissingError, "Manual directory"),
    ],
)
def test_failures_while_preparing(tmp_path, monkeypatch, error, kind, fact):
    monkeypatch.setattr(tfds, "builder", lambda *_, **__: Failing(tmp_path, error))
    with pytest.raises(kind, match=fact):
        tfds_source.open_tfds("mnist", tmp_path)


@pytest.mark.parametrize("source", ["mnist/large", "mnist:9.9.9"])
def test_config_or_version_that_does_not_exist(tmp_path, source):
    with pytest.raises(UsageError, match=f"TFDS cannot open '{source}'"):
        load_made(source, tmp_path)


def test_probe_passes_when_one_host_answers(monkeypatch):
    monkeypatch.setattr(urllib.request, "getproxies", dict)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert network.first_unreachable([f"http://127.0.0.1:{port}/x"]) is None
    assert network.first_unreachable([f"http://127.0.0.1:{port}/x"]) == "127.0.0.1"
    assert network.first_unreachable(["file:///x"]) is None


def test_probe_waits_no_longer_than_its_limit(monkeypatch):
    monkeypatch.setattr(urllib.request, "getproxies", dict)

    def hang(*args, **kwargs):
        time.sleep(1.5)
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", hang)
    start = time.monotonic()
    assert network.first_unreachable(["https://slow.invalid/x"], timeout_s=0.1) == "slow.invalid"
    assert time.monotonic() - start < 1


def test_probe_is_left_to_a_proxy(no_network, monkeypatch):
    monkeypatch.setattr(urllib.request, "getproxies", lambda: {"https": "http://proxy:3128"})
    assert network.first_unreachable(["https://slow.invalid/x"]) is None
