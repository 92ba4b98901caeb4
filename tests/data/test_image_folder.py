from __future__ import annotations

import os

import numpy as np
import pytest
import tensorflow as tf

from tfapp.data.pipeline import evaluation_batches
from tfapp.errors import DataError, UsageError

RNG = np.random.default_rng(11)


def write_image(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    encode = tf.io.encode_png if path.suffix == ".png" else tf.io.encode_jpeg
    path.write_bytes(encode(pixels).numpy())
    return pixels


def fill(root, count=10, shape=(4, 6, 3), classes=("cat", "dog")):
    return {
        f"{name}/{i}.png": write_image(
            root / name / f"{i}.png", RNG.integers(0, 256, shape, dtype=np.uint8)
        )
        for name in classes
        for i in range(count)
    }


def test_folders_are_classes_and_pixels_are_kept(load, tmp_path):
    pixels = fill(tmp_path / "pets")
    splits = load(tmp_path / "pets")
    assert splits.info.classes == ("cat", "dog")
    assert splits.info.feature_shape == (4, 6, 3)
    assert splits.info.feature_dtype == "uint8"
    wanted = {name.partition("/")[0]: [] for name in pixels}
    for name, image in pixels.items():
        wanted[name.partition("/")[0]].append(image.tobytes())
    found = {"cat": [], "dog": []}
    for part in (splits.train, splits.validation, splits.test):
        for image, label in zip(part.features, part.labels, strict=True):
            found[splits.info.classes[label]].append(image.tobytes())
    assert {k: sorted(v) for k, v in found.items()} == {k: sorted(v) for k, v in wanted.items()}


def test_part_folders_are_the_splits(load, tmp_path):
    fill(tmp_path / "pets/train", 5)
    fill(tmp_path / "pets/val", 2)
    fill(tmp_path / "pets/test", 3)
    splits = load(tmp_path / "pets")
    assert (splits.train.size, splits.validation.size, splits.test.size) == (10, 4, 6)


def test_the_name_of_a_class_is_utf_8(load, tmp_path):
    fill(tmp_path / "pets", classes=("cat", "café"))
    assert load(tmp_path / "pets").info.classes == ("café", "cat")
    try:
        (tmp_path / "pets" / "café").rename(tmp_path / "pets" / os.fsdecode(b"caf\xe9"))
    except OSError:
        pytest.skip("names are UTF-8 in this file system")
    with pytest.raises(DataError, match=r"folder '.*pets/caf\\udce9' is not UTF-8.*Rename the"):
        load(tmp_path / "pets")


def test_a_class_only_the_test_folder_has(load, tmp_path):
    fill(tmp_path / "pets/train", 5)
    fill(tmp_path / "pets/test", 2, classes=("cat", "zebra"))
    with pytest.raises(DataError, match=r"zebra.0\.png: the label is 'zebra', which the training"):
        load(tmp_path / "pets")


def test_grey_stays_grey_and_mixed_becomes_colour(load, tmp_path):
    fill(tmp_path / "grey", shape=(4, 6, 1))
    assert load(tmp_path / "grey").info.feature_shape == (4, 6, 1)
    grey = write_image(tmp_path / "mixed/a/0.png", np.full((4, 6, 1), 9, np.uint8))
    fill(tmp_path / "mixed", 4)
    write_image(tmp_path / "mixed/a/1.png", np.full((4, 6, 4), 200, np.uint8))
    splits = load(tmp_path / "mixed")
    assert splits.info.feature_shape == (4, 6, 3)
    images = np.concatenate([p.features for p in (splits.train, splits.validation, splits.test)])
    repeated = np.repeat(grey, 3, axis=-1)
    assert any(np.array_equal(image, repeated) for image in images)


def test_different_sizes_need_image_size(load, tmp_path):
    fill(tmp_path / "pets")
    write_image(tmp_path / "pets/dog/big.jpg", np.full((9, 8, 3), 77, np.uint8))
    with pytest.raises(DataError) as caught:
        load(tmp_path / "pets")
    for fact in ("4x6", "9x8", "0.png", "big.jpg", "data.image_size"):
        assert fact in str(caught.value)
    splits = load(tmp_path / "pets", image_size=(5, 5))
    assert splits.info.feature_shape == (5, 5, 3)
    images = np.concatenate([p.features for p in (splits.train, splits.validation, splits.test)])
    # The grey picture stays evenly grey at any size.
    assert any(np.all(np.abs(image.astype(int) - 77) <= 1) for image in images)


def test_above_the_memory_limit_files_are_decoded_by_batch(load, tmp_path):
    fill(tmp_path / "pets", 12, (120, 160, 3))  # 1.4 MB
    lazy = load(tmp_path / "pets", memory_limit_mb=1)
    ready = load(tmp_path / "pets")
    assert lazy.train.load is not None
    assert ready.train.load is None
    assert lazy.info.feature_shape == ready.info.feature_shape
    batches = list(evaluation_batches(lazy.train, 7))
    images = np.concatenate([features.numpy() for features, _ in batches])
    np.testing.assert_array_equal(images, ready.train.features)
    np.testing.assert_array_equal(lazy.train.labels, ready.train.labels)
    assert len(lazy.info.fingerprint) == 64


@pytest.mark.parametrize("content", [b"", b"GIF8", b"hello world", b"\xff\xd8\xff\xe0\x00\x10JFIF"])
def test_files_that_are_no_images(load, tmp_path, content):
    fill(tmp_path / "pets")
    (tmp_path / "pets/cat/bad.jpg").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.jpg is not a readable image") as caught:
        load(tmp_path / "pets")
    assert caught.value.exit_code == 2


def test_image_cut_short_after_its_header(load, tmp_path):
    fill(tmp_path / "pets")
    path = tmp_path / "pets/dog/3.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"3\.png is not a readable image"):
        load(tmp_path / "pets")


def test_jpeg_gif_and_bmp_are_read(load, tmp_path):
    bmp_header = b"BM" + (54 + 72).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little")
    info = (40).to_bytes(4, "little") + (6).to_bytes(4, "little") + (4).to_bytes(4, "little")
    bmp = bmp_header + info + (1).to_bytes(2, "little") + (24).to_bytes(2, "little") + bytes(24)
    for i in range(4):
        write_image(tmp_path / f"pets/a/{i}.jpg", np.full((4, 6, 3), 50 * i, np.uint8))
        (tmp_path / "pets/b").mkdir(exist_ok=True)
        # Rows of 6 pixels take 18 bytes, padded to 20.
        (tmp_path / f"pets/b/{i}.bmp").write_bytes(bmp + bytes([30 * i] * 80))
    splits = load(tmp_path / "pets")
    assert splits.info.feature_shape == (4, 6, 3)
    assert {int(image.mean()) for image in splits.train.features} <= {0, 50, 100, 150, 30, 60, 90}


def test_empty_folders(load, tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match=r"no images in .*nothing; expected one folder for each"):
        load(tmp_path / "nothing")
    fill(tmp_path / "pets/train", 5)
    (tmp_path / "pets/test").mkdir()
    with pytest.raises(DataError, match=r"no images in .*pets.test"):
        load(tmp_path / "pets")


def test_image_size_is_refused_where_it_would_do_nothing(load):
    with pytest.raises(UsageError, match=r"data\.image_size"):
        load("digits", image_size=(4, 4))
