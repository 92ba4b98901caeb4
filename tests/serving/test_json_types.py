"""Values of JSON as values of each type of tensor."""

from __future__ import annotations

import base64
import json
import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from json_for_tests import convert, refusal

from tfapp.serving.json_values import decode_base64


@pytest.mark.parametrize(
    ("dtype", "token", "expected"),
    [
        (tf.float32, "1", 1.0),
        (tf.float32, "0.1", np.float32(0.1)),
        (tf.float32, "1e300", math.inf),
        (tf.float32, "-1e300", -math.inf),
        (tf.float32, "-1e-300", -0.0),
        # Halfway between two float32 after it was rounded to a double, and above that before.
        (tf.float32, str(2**60 + 2**36 + 1), 2.0**60),
        (tf.float64, "9007199254740993", 9007199254740992.0),
        (tf.float64, "18446744073709551616", 2.0**64),
        (tf.int32, "-2147483648", -(2**31)),
        (tf.int16, "65537", 1),
        (tf.int8, "-129", 127),
        (tf.uint8, "300", 44),
        (tf.int64, "-9223372036854775808", -(2**63)),
        (tf.uint32, "4294967295", 2**32 - 1),
        (tf.uint64, "18446744073709551615", 2**64 - 1),
        (tf.bool, "true", True),
        (tf.bool, "false", False),
        (tf.string, '"\\u00e9"', b"\xc3\xa9"),
        (tf.string, '{"b64": "AAH/"}', b"\x00\x01\xff"),
    ],
)
@pytest.mark.parametrize("fast", [True, False])
def test_each_type_reads_its_values(dtype, token, expected, fast):
    x = convert(f'{{"instances": [{token}]}}', fast, x=dtype)["x"]

    assert (x.shape, x.dtype) == ((1,), dtype.as_numpy_dtype)
    assert x[0] == expected
    if dtype.is_floating:
        assert math.copysign(1, x[0]) == math.copysign(1, expected)


@pytest.mark.parametrize(
    ("dtype", "token", "type_text", "name"),
    [
        (tf.float32, '"1"', "String", "float"),
        (tf.float32, "null", "Null", "float"),
        (tf.float32, "true", "True", "float"),
        (tf.float64, "false", "False", "double"),
        (tf.int32, "1.0", "Number", "int32"),
        (tf.int32, "2147483648", "Number", "int32"),
        (tf.int16, "2147483648", "Number", "int16"),
        (tf.int8, "true", "True", "int8"),
        (tf.uint8, '"1"', "String", "uint8"),
        (tf.int64, "9223372036854775808", "Number", "int64"),
        (tf.uint32, "-1", "Number", "uint32"),
        (tf.uint64, "-1", "Number", "uint64"),
        (tf.bool, "1", "Number", "bool"),
        (tf.string, "1", "Number", "string"),
        (tf.string, "null", "Null", "string"),
    ],
)
def test_each_type_refuses_other_values(dtype, token, type_text, name):
    code, text = refusal(f'{{"inputs": [{token}]}}', x=dtype)

    assert code == "INVALID_ARGUMENT"
    shown = "1.0" if token == "1.0" else token
    assert text == f"JSON Value: {shown} Type: {type_text} is not of expected type: {name}"


@pytest.mark.parametrize(("value", "other"), [(1, "true"), (1.5, "true"), (1, "null"), (1, '"1"')])
@pytest.mark.parametrize("dtype", [tf.float32, tf.int32])
def test_one_wrong_value_among_many_is_found(value, other, dtype):
    numbers = ",".join([str(1)] * 50 + [other])

    assert "is not of expected type" in refusal(f'{{"inputs": [{numbers}]}}', x=dtype)[1]


@pytest.mark.parametrize(
    ("dtype", "name"),
    [(tf.float16, "half"), (tf.bfloat16, "bfloat16"), (tf.complex64, "complex64")],
)
@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_types_without_json_are_not_implemented(dtype, name, key):
    code, text = refusal(f'{{"{key}": [1.5]}}', x=dtype)

    assert code == "UNIMPLEMENTED"
    assert f"Conversion of JSON Value: 1.5 to type: {name}" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b64": 1}, "not formatted correctly for base64 data"),
        ({"b64": "aa", "c": 1}, "not formatted correctly for base64 data"),
        ({"b64": "-_-_"}, "Unable to base64 decode"),
        ({"b64": "a"}, "Unable to base64 decode"),
    ],
)
def test_base64_of_another_form_is_refused(value, text):
    code, found = refusal(json.dumps({"inputs": [value]}), x=tf.string)

    assert (code, text in found) == ("INVALID_ARGUMENT", True)


def test_an_object_is_no_number():
    code, text = refusal('{"inputs": [{"b64": "aa"}]}', x=tf.float32)

    assert code == "INVALID_ARGUMENT"
    assert text.endswith("Type: Object is not of expected type: float")


@given(st.binary())
def test_base64_gives_the_bytes_back_with_and_without_padding(value):
    packed = base64.b64encode(value).decode()

    assert decode_base64(packed) == value
    assert decode_base64(packed.rstrip("=")) == value
