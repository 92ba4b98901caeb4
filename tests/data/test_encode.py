from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from tfapp.data.encode import encode_rows, read_examples
from tfapp.data.splits import Column, DataInfo
from tfapp.errors import DataError, MissingError

COLUMNS = (Column("age"), Column("town", ("Bern", "Ulm")))
TABLE = DataInfo("t.csv", "regression", (2,), "float32", (), COLUMNS, "")
BARE = DataInfo("t.npz", "regression", (3,), "float32", (), None, "")
IMAGES = DataInfo("pets", "classification", (4, 6, 3), "uint8", ("cat", "dog"), None, "")
GREY = DataInfo("idx", "classification", (4, 6, 1), "uint8", ("0", "1"), None, "")


def test_rows_by_name_and_by_position():
    wanted = np.array([[30, 2], [41.5, 1], [3, 0]], np.float32)
    named = [{"age": 30, "town": "Ulm"}, {"town": " Bern", "age": "41.5"}, {"age": 3, "town": "X"}]
    encoded = encode_rows(named, TABLE, "rows")
    assert encoded.dtype == np.float32
    np.testing.assert_array_equal(encoded, wanted)
    listed = json.loads('[[30, "Ulm"], [41.5, "Bern"], [3, null]]')
    np.testing.assert_array_equal(encode_rows(listed, TABLE, "rows"), wanted)
    np.testing.assert_array_equal(encode_rows([[1, 2, 3]], BARE, "rows"), [[1, 2, 3]])


def test_image_rows():
    image = np.arange(72).reshape(4, 6, 3)
    encoded = encode_rows([image.tolist()], IMAGES, "rows")
    assert encoded.dtype == np.uint8
    np.testing.assert_array_equal(encoded[0], image)


@pytest.mark.parametrize(
    ("info", "rows", "facts"),
    [
        (TABLE, [], ["no examples"]),
        (
            TABLE,
            [{"age": 1, "town": "Ulm"}, {"Age": 1, "town": "Ulm"}],
            ["row 2", "'age'", "'Age'"],
        ),
        (TABLE, [[1]], ["row 1", "1 values", "2 columns"]),
        (TABLE, ["text"], ["row 1", "2 columns"]),
        (TABLE, [["old", "Ulm"]], ["row 1", "'age'", "'old'"]),
        (TABLE, [[True, "Ulm"]], ["'age'", "True"]),
        (TABLE, [[float("nan"), "Ulm"]], ["'age'", "nan"]),
        (TABLE, [[None, "Ulm"]], ["'age'", "None"]),
        (BARE, [[1, 2, 3], [1, 2, "x"]], ["row 2", "'2'", "'x'"]),
        (BARE, [{"a": 1}], ["named values", "[3]"]),
        (IMAGES, [[[1, 2], [3, 4]]], ["[4, 6, 3]", "[2, 2]"]),
        (IMAGES, [[[1, 2], [3]]], ["[4, 6, 3]"]),
        (IMAGES, [np.full((4, 6, 3), 300).tolist()], ["300", "0 to 255"]),
        (IMAGES, [np.full((4, 6, 3), 0.5).tolist()], ["0.5", "0 to 255"]),
        (IMAGES, [np.full((4, 6, 3), np.nan).tolist()], ["row 1", "nan"]),
    ],
)
def test_rows_that_do_not_fit(info, rows, facts):
    with pytest.raises(DataError) as caught:
        encode_rows(rows, info, "in.json")
    for fact in [*facts, "in.json"]:
        assert fact in str(caught.value)


def test_csv_by_column_name_with_or_without_label(write):
    path = write("p.csv", "town,label,age\nUlm,1,30\nRom,0,4\n")
    np.testing.assert_array_equal(read_examples(path, TABLE), [[30, 2], [4, 0]])
    bare = write("b.csv", "a,b,c,label\n1,2,3,9\n")
    np.testing.assert_array_equal(read_examples(bare, BARE), [[1, 2, 3]])
    with pytest.raises(DataError, match=r"p2\.csv, line 2: no column 'age'.*Did you mean 'aged'"):
        read_examples(write("p2.csv", "town,aged\nUlm,3\n"), TABLE)
    with pytest.raises(DataError, match=r"line 3, column 'age'.*'old'"):
        read_examples(write("p3.csv", "town,age\nUlm,3\nUlm,old\n"), TABLE)
    with pytest.raises(DataError, match=r"2 feature columns.*\[3\]"):
        read_examples(write("p4.csv", "a,b\n1,2\n"), BARE)


def test_npz(tmp_path):
    path = tmp_path / "x.npz"
    values = np.arange(6.0).reshape(2, 3)
    for arrays in (
        {"x": values, "y": [0, 1]},
        {"x_test": values, "y_test": [0, 1]},
        {"any": values},
    ):
        np.savez(path, **arrays)
        np.testing.assert_array_equal(read_examples(path, BARE), values)
    np.savez(path, a=values, b=values)
    with pytest.raises(DataError, match="holds the arrays a, b"):
        read_examples(path, BARE)
    np.savez(path, x=values[:, :2])
    with pytest.raises(DataError, match=r"shape \[2\].*\[3\]"):
        read_examples(path, BARE)
    np.savez(path, x=np.arange(48).reshape(2, 4, 6).astype(np.uint8))
    assert read_examples(path, GREY).shape == (2, 4, 6, 1)


def test_images_get_the_channels_and_size_of_the_model(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    path = tmp_path / "a.png"
    path.write_bytes(tf.io.encode_png(pixels).numpy())
    np.testing.assert_array_equal(read_examples(path, IMAGES), pixels[None])
    grey = read_examples(path, GREY)
    assert grey.shape == (1, 4, 6, 1)
    weights = np.array([0.2989, 0.587, 0.114])
    np.testing.assert_allclose(grey[0, ..., 0], pixels @ weights, atol=1.5)
    path.write_bytes(tf.io.encode_png(pixels[:, :, :1]).numpy())
    np.testing.assert_array_equal(
        read_examples(path, IMAGES), np.repeat(pixels[None, ..., :1], 3, axis=-1)
    )
    big = tmp_path / "big.png"
    big.write_bytes(tf.io.encode_png(np.full((8, 12, 3), 40, np.uint8)).numpy())
    with pytest.raises(DataError, match=r"big\.png is 8x12.*trained on 4x6.*data\.image_size"):
        read_examples(big, IMAGES)
    np.testing.assert_array_equal(read_examples(big, IMAGES, (4, 6)), np.full((1, 4, 6, 3), 40))


def test_files_that_cannot_be_examples(tmp_path, write):
    image = tmp_path / "a.png"
    image.write_bytes(tf.io.encode_png(np.zeros((4, 6, 3), np.uint8)).numpy())
    with pytest.raises(DataError, match=r"is an image, but the model was trained on .*\[2\]"):
        read_examples(image, TABLE)
    with pytest.raises(DataError, match=r"not from \.txt"):
        read_examples(write("a.txt", "x"), TABLE)
    image.write_bytes(b"broken")
    with pytest.raises(DataError, match=r"a\.png is not a readable image"):
        read_examples(image, IMAGES)
    with pytest.raises(MissingError, match="no file or folder"):
        read_examples(tmp_path / "none.png", IMAGES)
