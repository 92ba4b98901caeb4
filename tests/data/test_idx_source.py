from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tfapp.data.idx import read_idx_file
from tfapp.errors import DataError, MissingError

IMAGES = np.random.default_rng(3).integers(0, 256, (40, 3, 5), dtype=np.uint8)
LABELS = (np.arange(40) % 4).astype(np.uint8)


def idx_bytes(array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def write_idx(folder, part, separator="-", gz=False, images=IMAGES, labels=LABELS):
    folder.mkdir(exist_ok=True)
    for kind, axes, array in (("images", 3, images), ("labels", 1, labels)):
        data = idx_bytes(array)
        name = f"{part}-{kind}{separator}idx{axes}-ubyte" + (".gz" if gz else "")
        (folder / name).write_bytes(gzip.compress(data) if gz else data)
    return folder


@pytest.mark.parametrize("separator", ["-", "."])
@pytest.mark.parametrize("gz", [False, True])
def test_both_spellings_plain_and_compressed(load, tmp_path, separator, gz):
    folder = write_idx(tmp_path / "idx", "train", separator, gz)
    write_idx(folder, "t10k", separator, gz, IMAGES[:8], LABELS[:8])
    splits = load(folder)
    np.testing.assert_array_equal(splits.test.features, IMAGES[:8, ..., None])
    np.testing.assert_array_equal(splits.test.labels, LABELS[:8])
    assert splits.info.feature_shape == (3, 5, 1)
    assert splits.info.feature_dtype == "uint8"
    assert splits.info.classes == ("0", "1", "2", "3")
    assert splits.train.size == 36
    assert splits.validation.size == 4


def test_without_test_files_the_test_split_is_cut(load, tmp_path):
    splits = load(write_idx(tmp_path / "idx", "train"))
    assert (splits.train.size, splits.validation.size, splits.test.size) == (31, 3, 6)


def test_truncated_file_names_expected_and_found_bytes(load, tmp_path):
    folder = write_idx(tmp_path / "idx", "train")
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(DataError) as caught:
        load(folder)
    assert caught.value.exit_code == 2
    for fact in (str(path), f"expected {16 + 600} bytes", f"found {16 + 593}", "[40, 3, 5]"):
        assert fact in str(caught.value)


def test_truncated_archive(load, tmp_path):
    folder = write_idx(tmp_path / "idx", "train", gz=True)
    path = folder / "train-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"labels-idx1-ubyte\.gz cannot be unpacked"):
        load(folder)
    path.write_bytes(b"plain text")
    with pytest.raises(DataError, match=r"labels-idx1-ubyte\.gz cannot be unpacked"):
        load(folder)


@pytest.mark.parametrize(
    ("content", "fact"),
    [
        (b"", "an empty file"),
        (b"\x00\x00\x09\x01", "found 00 00 09"),
        (b"\x00\x00\x08\x03\x00", "expected 16 bytes, found 5"),
        (idx_bytes(LABELS), "has 1 axes"),
    ],
)
def test_wrong_header(load, tmp_path, content, fact):
    folder = write_idx(tmp_path / "idx", "train")
    (folder / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=fact):
        load(folder)


def test_images_and_labels_belong_together(load, tmp_path):
    folder = write_idx(tmp_path / "idx", "train", labels=LABELS[:-1])
    with pytest.raises(DataError, match=r"40 images.* 39 labels"):
        load(folder)
    (folder / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(MissingError, match="no train-labels-idx1-ubyte") as caught:
        load(folder)
    assert caught.value.exit_code == 4


@settings(max_examples=40, deadline=None)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, max_side=6)), st.booleans())
def test_a_written_array_is_read_back(tmp_path_factory, array, gz):
    path = tmp_path_factory.mktemp("idx") / ("a.gz" if gz else "a")
    path.write_bytes(gzip.compress(idx_bytes(array)) if gz else idx_bytes(array))
    np.testing.assert_array_equal(read_idx_file(path), array)
