from __future__ import annotations

import json
import math
import struct

import ml_dtypes
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfapp.serving.json_answers import (
    classifications_json,
    error_json,
    predictions_json,
    regressions_json,
)
from tfapp.serving.json_texts import decimal_text
from tfapp.serving.status import Code, ServingError


def rows(**outputs: np.ndarray) -> bytes:
    return predictions_json(outputs, rows=True)


def columns(**outputs: np.ndarray) -> bytes:
    return predictions_json(outputs, rows=False)


def strings(*values: bytes) -> np.ndarray:
    return np.array(values, object)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (9_000_000, "9e+06"),
        (999_999, "999999.0"),
        (1_000_000, "1e+06"),
        (0.5, "0.5"),
        (3, "3.0"),
        (-0.0, "-0.0"),
        (0.0003, "0.0003"),
        (0.00003, "3e-05"),
        (555_557.5, "555557.5"),
        (0.1, "0.1"),
        (1 / 3, "0.333333343"),
        (16_777_216, "16777216.0"),
        (123_456_789, "123456792.0"),
        (3.4028235e38, "3.40282347e+38"),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
    ],
)
def test_a_float32_is_written_as_tensorflow_serving_does(value, text):
    assert columns(y=np.array(value, np.float32)) == f'{{"outputs":{text}}}'.encode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1, "0.1"),
        (1 / 3, "0.33333333333333331"),
        (9007199254740993.0, "9007199254740992.0"),
        (1e22, "1e+22"),
        (5e-324, "4.94066e-324"),
        (2.2250738585072014e-308, "2.2250738585072014e-308"),
    ],
)
def test_a_float64_has_seventeen_digits_where_six_are_too_few(value, text):
    assert columns(y=np.array(value)) == f'{{"outputs":{text}}}'.encode()


@given(st.lists(st.floats(width=32), min_size=1))
@settings(deadline=None)
def test_float32_come_back_as_they_were(values):
    array = np.array(values, np.float32)

    text = rows(y=array).decode()

    read = np.array([float(x) for x in json.loads(text)["predictions"]], np.float32)
    np.testing.assert_array_equal(read, array)
    np.testing.assert_array_equal(np.signbit(read), np.signbit(array) & ~np.isnan(array))
    # Each is the shorter of the two spellings of C that reads back as the same number.
    for written, value in zip(text[16:-2].split(","), array.tolist(), strict=True):
        short = f"{value:.6g}"
        if math.isfinite(value):
            exact = struct.pack("f", float(np.float32(float(short)))) == struct.pack("f", value)
            assert written.removesuffix(".0") == (short if exact else f"{value:.9g}")


@given(st.lists(st.floats(), min_size=1))
@settings(deadline=None)
def test_float64_come_back_as_they_were_and_both_ways_agree(values):
    text = rows(y=np.array(values)).decode()

    np.testing.assert_array_equal(json.loads(text)["predictions"], values)
    assert text[16:-2].split(",") == [decimal_text(value) for value in values]


def test_one_output_of_rows_has_no_name():
    assert rows(y=np.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], np.int32)) == (
        b'{"predictions":[[[1,2],[3,4]],[[5,6],[7,8]]]}'
    )


def test_several_outputs_of_rows_are_an_object_a_row():
    answer = rows(
        a=np.array([8.0, 9.0]),
        b=np.array([[True], [False]]),
        **{'100% "s"': strings(b"foo", b"bar")},
    )

    assert json.loads(answer) == {
        "predictions": [
            {"a": 8.0, "b": [True], '100% "s"': "foo"},
            {"a": 9.0, "b": [False], '100% "s"': "bar"},
        ]
    }


def test_columns_keep_their_shapes():
    assert columns(y=np.array([[1.0], [2.0]])) == b'{"outputs":[[1.0],[2.0]]}'
    assert json.loads(columns(a=np.array(1), b=np.array([[2, 3]]))) == {
        "outputs": {"a": 1, "b": [[2, 3]]}
    }


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0), (1, 0, 2)])
def test_empty_arrays_keep_their_shapes(shape):
    array = np.zeros(shape, np.float32)

    assert json.loads(columns(y=array)) == {"outputs": array.tolist()}
    assert json.loads(rows(y=array)) == {"predictions": array.tolist()}
    assert len(json.loads(rows(y=array, z=array))["predictions"]) == shape[0]


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"])
def test_integers_are_written_whole(dtype):
    limits = np.iinfo(dtype)
    array = np.array([limits.min, 0, limits.max], dtype)

    assert orjson.loads(rows(y=array)) == {"predictions": [limits.min, 0, limits.max]}


def test_strings_named_bytes_are_written_in_base64():
    values = strings(b"hello", b"\xff\x00")

    assert json.loads(rows(y_bytes=values)) == {
        "predictions": [{"b64": "aGVsbG8="}, {"b64": "/wA="}]
    }
    assert json.loads(columns(y_bytes=values[0:1].reshape(()))) == {"outputs": {"b64": "aGVsbG8="}}


def test_other_strings_are_written_raw_even_if_they_are_not_utf_8():
    assert rows(y=strings("Zürich".encode(), b'"\\\n\x01', b"\xff")) == (
        b'{"predictions":["Z\xc3\xbcrich","\\"\\\\\\n\\u0001","\xff"]}'
    )


def test_numbers_named_bytes_stay_numbers():
    assert rows(y_bytes=np.array([1])) == b'{"predictions":[1]}'


@pytest.mark.parametrize(
    ("outputs", "by_rows", "text"),
    [
        ({}, True, "Cannot convert empty tensor map to JSON"),
        ({"y": np.array(1)}, True, "Tensor name: y has no shape information "),
        (
            {"a": np.zeros(2), "b": np.zeros((1, 3))},
            True,
            "Tensor name: b has inconsistent batch size: 1 expecting: 2",
        ),
        (
            {"y": np.zeros(2, np.complex64)},
            False,
            "Failed to write JSON value for tensor type: complex64",
        ),
        (
            {"y": np.zeros(2, np.float16)},
            True,
            "Failed to write JSON value for tensor type: half",
        ),
        (
            {"y": np.zeros(2, ml_dtypes.bfloat16)},
            True,
            "Failed to write JSON value for tensor type: bfloat16",
        ),
    ],
)
def test_outputs_that_have_no_json_are_told(outputs, by_rows, text):
    with pytest.raises(ServingError) as found:
        predictions_json(outputs, rows=by_rows)

    assert (found.value.code, str(found.value)) == (Code.INVALID_ARGUMENT, text)


def test_classes_are_pairs_of_label_and_score():
    answer = classifications_json(
        [[("low", 0.1), (b"h\xc3\xb6", 9e6)], [("", 1.0), ("", math.nan)]]
    )

    assert answer == ('{"results":[[["low",0.1],["hö",9e+06]],[["",1.0],["",NaN]]]}'.encode())


def test_regressions_are_a_list_of_numbers():
    assert regressions_json([2.5, 1 / 3, 9e6]) == b'{"results":[2.5,0.333333343,9e+06]}'


@pytest.mark.parametrize(
    ("write", "kind"),
    [(classifications_json, "Classification"), (regressions_json, "Regression")],
)
def test_no_results_have_no_json(write, kind):
    with pytest.raises(ServingError, match=f"Cannot convert empty {kind}Results to JSON"):
        write([])


def test_an_error_is_json_whatever_its_text_holds():
    assert json.loads(error_json('a "b"\n\udcff')) == {"error": 'a "b"\n\ufffd'}
