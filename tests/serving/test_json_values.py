from __future__ import annotations

import json
import math
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
from json_for_tests import DEEP, convert, inputs, refusal

from tfapp.serving.json_contents import quotes_of_keys
from tfapp.serving.json_values import output_filter, predict_inputs, signature_name
from tfapp.serving.status import ServingError

# Rows and columns


def test_rows_of_one_input_are_stacked():
    arrays = convert('{"instances": [[1, 2], [3, 4], [5, 6]]}', x=tf.int32)

    assert arrays["x"].dtype == np.int32
    np.testing.assert_array_equal(arrays["x"], [[1, 2], [3, 4], [5, 6]])


def test_rows_may_name_their_input():
    arrays = convert('{"instances": [{"x": [1.5]}, {"x": [2]}]}', x=tf.float32)

    np.testing.assert_array_equal(arrays["x"], np.array([[1.5], [2]], np.float32))


def test_rows_of_several_inputs_become_an_array_each():
    arrays = convert(
        '{"instances": [{"i": [[1, 2]], "s": "foo", "f": [1, NaN]},'
        ' {"i": [[3, 4]], "s": {"b64": "YmFy"}, "f": [2, Infinity]}]}',
        i=tf.int32,
        s=tf.string,
        f=tf.float64,
    )

    np.testing.assert_array_equal(arrays["i"], [[[1, 2]], [[3, 4]]])
    np.testing.assert_array_equal(arrays["f"], [[1, math.nan], [2, math.inf]])
    assert arrays["s"].tolist() == [b"foo", b"bar"]


@pytest.mark.parametrize("body", ['{"inputs": 3}', '{"inputs": {"x": 3}}'])
def test_a_column_may_be_a_scalar(body):
    x = convert(body, x=tf.int64)["x"]

    assert (x.shape, x.dtype, int(x)) == ((), np.int64, 3)


def test_columns_may_have_unequal_shapes_and_names_of_no_input():
    arrays = convert(
        '{"inputs": {"a": [[1, 2], [3, 4]], "s": {"b64": "aGVsbG8="}, "other": [null]}}',
        a=tf.float32,
        s=tf.string,
    )

    assert arrays["a"].shape == (2, 2)
    assert (arrays["s"].shape, arrays["s"].item()) == ((), b"hello")


def test_rows_and_columns_are_told_apart():
    document = {"instances": [1]}

    assert predict_inputs(document, inputs(x=tf.float32)).rows
    assert not predict_inputs({"inputs": [1]}, inputs(x=tf.float32)).rows


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("{}", "Missing 'inputs' or 'instances' key"),
        (
            '{"instances": [1], "inputs": [1]}',
            'JSON Value: {\n    "instances": [\n        1\n    ],\n    "inputs": [\n        1\n'
            "    ]\n} Not formatted correctly expecting only one of 'inputs' or 'instances' keys to"
            " exist ",
        ),
        (
            '{"instances": 3}',
            "JSON Value: {\n    \"instances\": 3\n} Excepting 'instances' to be an list/array",
        ),
        (
            '{"instances": []}',
            "JSON Value: {\n    \"instances\": []\n} No values in 'instances' array",
        ),
        (
            '{"instances": [[1, 2], [3, 4, 5]]}',
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting"
            " tensor size: 2 but got: 3",
        ),
        (
            '{"instances": [[1, 2], [[3, 4]]]}',
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting"
            " shape [2] but got: [1,2]",
        ),
        (
            '{"instances": [1, [1]]}',
            "Failed to process element: 1 of 'instances' list. Error: INVALID_ARGUMENT: Expecting"
            " shape [] but got: [1]",
        ),
        (
            '{"instances": [{"x": 1}, {"x": "a"}]}',
            "Failed to process element: 1 key: x of 'instances' list. Error: INVALID_ARGUMENT: JSON"
            ' Value: "a" Type: String is not of expected type: float',
        ),
        (
            '{"instances": [{"z": 1}]}',
            "Failed to process element: 0 key: z of 'instances' list. Error: INVALID_ARGUMENT: JSON"
            " object: does not have named input: z. Inputs of the signature: x.",
        ),
        (
            '{"instances": [{"x": 1}, {}]}',
            "Failed to process element: 1 of 'instances' list. JSON object: {} keys must be equal"
            " to: x",
        ),
        (
            '{"instances": [{"x": 1}, [1]]}',
            "Expecting object but got list at item 1 of input list",
        ),
        (
            '{"instances": [1, {"x": 1}]}',
            "Expecting value/list but got object at item 1 of input list",
        ),
        (
            '{"inputs": [[1, 2], [3]]}',
            "Encountered list at unexpected size: 1 at level: 1 expected size: 2",
        ),
        ('{"inputs": [1, [2]]}', "Encountered list at unexpected level: 1 expected < 1"),
        (
            '{"inputs": [[1], 2]}',
            "JSON Value: 2 found at incorrect level: 2 in the JSON DOM. Expected at level: 2",
        ),
        (
            '{"inputs": {"y": 1}}',
            "Missing named input: x in 'inputs' object. Its keys: y.",
        ),
    ],
)
def test_wrong_shapes_and_keys_are_told_in_the_words_clients_match_on(body, text):
    assert refusal(body, x=tf.float32) == ("INVALID_ARGUMENT", text)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            '{"instances": [1, 2]}',
            "instances is a plain list, but expecting list of objects as multiple input tensors"
            " required as per tensorinfo_map",
        ),
        (
            '{"inputs": [1, 2]}',
            "inputs is a plain value/list, but expecting an object as multiple input tensors"
            " required as per tensorinfo_map",
        ),
        (
            '{"instances": [{"b": 1, "a": 1}, {"a": 1}]}',
            "Failed to process element: 1 of 'instances' list. JSON object: {\n    \"a\": 1\n} keys"
            " must be equal to: a,b",
        ),
        (
            '{"instances": [{"a": [1, 2], "b": 1}, {"a": [3], "b": 1}]}',
            "Failed to process element: 1 key: a of 'instances' list. Error: INVALID_ARGUMENT:"
            " Expecting tensor size: 2 but got: 1",
        ),
    ],
)
def test_several_inputs_must_all_be_named(body, text):
    assert refusal(body, a=tf.float32, b=tf.float32) == ("INVALID_ARGUMENT", text)


@pytest.mark.parametrize("key", ["instances", "inputs"])
@pytest.mark.parametrize("depth", [65, 2_000, DEEP])
def test_more_dimensions_than_a_tensor_has_are_refused(key, depth):
    code, text = refusal(f'{{"{key}": {"[" * depth}1{"]" * depth}}}', x=tf.float32)

    assert code == "INVALID_ARGUMENT"
    assert "Encountered list at unexpected level" in text
    assert "a tensor has at most 64 dimensions" in text


@pytest.mark.parametrize("key", ["instances", "inputs"])
def test_more_dimensions_than_strings_may_have_are_refused(key):
    """TensorFlow would end the process."""
    body = f'{{"{key}": {"[" * 32}"a"{"]" * 32}}}'
    assert convert(body, x=tf.string)["x"].shape == (1,) * 32
    code, text = refusal(f'{{"{key}": {"[" * 33}"a"{"]" * 33}}}', x=tf.string)
    assert code == "INVALID_ARGUMENT"
    assert "a tensor has at most 32 dimensions" in text


@pytest.mark.parametrize("key", ["instances", "inputs"])
@pytest.mark.parametrize("fast", [True, False])
def test_as_many_dimensions_as_an_array_has_are_read(key, fast):
    x = convert(f'{{"{key}": {"[" * 64}1{"]" * 64}}}', fast, x=tf.float32)["x"]

    assert (x.shape, x.item()) == ((1,) * 64, 1.0)


# Strings where numbers should be


@pytest.mark.parametrize("form", ['"instances": [%s]', '"inputs": [%s]', '"inputs": {"x": [%s]}'])
@pytest.mark.parametrize("dtype", [tf.float32, tf.int64, tf.bool], ids=lambda dtype: dtype.name)
def test_a_string_among_numbers_takes_no_memory(form, dtype):
    """NumPy would make each of the numbers as long as the string: 1.6 GB here."""
    values = ("true," if dtype is tf.bool else "0,") * 20_000
    document = "{" + form % f'{values}"{"a" * 20_000}"' + "}"
    tracemalloc.start()
    try:
        code, text = refusal(document, x=dtype)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (code, "is not of expected type" in text) == ("INVALID_ARGUMENT", True)
    assert peak < 20 * 2**20


@pytest.mark.parametrize(
    "body",
    [
        '{"instances": [1, "2", 3]}',
        '{"instances": ["1"]}',
        '{"signature_name": "a", "instances": [[1, "2"]]}',
        '{"output_filter": ["y"], "instances": [["1"]]}',
        '{"inputs": {"x": ["1"]}}',
        '{"inputs": {"x": [1], "x": ["1"]}}',
        '{"inputs": "1"}',
        '{"instances": [{"x": 1}, {"x": "1"}]}',
        '{"instances": [{"x": 1, "x": "2"}]}',
        '{"instances": [{"x": "1"}, {}]}',
        '{"instances": [{"x": 1, "y": 2}, {"x": "1"}]}',
    ],
)
def test_no_string_is_taken_for_a_number_by_counting_quotes(body):
    with pytest.raises(ServingError):
        predict_inputs(json.loads(body), inputs(x=tf.float32), quotes=body.count('"'))


@pytest.mark.parametrize(
    "body",
    [
        '{"instances": [1, 2]}',
        '{"signature_name": "a", "output_filter": ["y"], "inputs": {"x": [1, 2]}}',
        '{"instances": [{"x": 1}, {"x": 2}], "signature_name": ""}',
        '{"inputs": [1, 2]}',
        '{"inputs": [1, 2], "more": {"a": ["\\"", "b"]}}',
    ],
)
def test_quotes_are_those_of_keys_where_there_are_no_strings(body):
    document, count = json.loads(body), body.count('"')
    assert (quotes_of_keys(document) == count) is ("more" not in document)
    assert predict_inputs(document, inputs(x=tf.float32), quotes=count).arrays["x"].tolist() == [
        1,
        2,
    ]


def test_what_is_no_name_in_the_output_filter_hides_no_string():
    # A string among numbers would make NumPy write every number as long.
    body = '{"output_filter": [0], "instances": ["' + "a" * 20_000 + '"' + ", 1" * 10_000 + "]}"
    tracemalloc.start()
    try:
        with pytest.raises(ServingError, match="is not of expected type: float"):
            predict_inputs(json.loads(body), inputs(x=tf.float32), quotes=body.count('"'))
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 20e6


# Other keys


def test_the_signature_is_the_default_one_unless_named():
    assert signature_name({}) == "serving_default"
    assert signature_name({"signature_name": "other"}) == "other"


@pytest.mark.parametrize("name", [5, None, ["a"]])
def test_a_signature_that_is_no_string_is_refused(name):
    with pytest.raises(ServingError, match="'signature_name' key must be a string value"):
        signature_name({"signature_name": name})


def test_the_output_filter_is_a_list_of_names():
    assert output_filter({}) == []
    assert output_filter({"output_filter": ["a", "b"]}) == ["a", "b"]
    for wrong in ("a", [1], {"a": 1}):
        with pytest.raises(ServingError, match="'output_filter' key must be a list of string"):
            output_filter({"output_filter": wrong})
