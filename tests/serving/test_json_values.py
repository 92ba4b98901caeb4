from __future__ import annotations

import base64
import json
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tfapp.serving import json_parsing
from tfapp.serving.json_contents import quotes_of_keys
from tfapp.serving.json_examples import parse_examples
from tfapp.serving.json_parsing import parse_object, parse_unusual
from tfapp.serving.json_scanner import scan
from tfapp.serving.json_texts import value_text
from tfapp.serving.json_values import (
    decode_base64,
    output_filter,
    predict_inputs,
    signature_name,
)
from tfapp.serving.servable import TensorInfo
from tfapp.serving.status import Code, ServingError

DEEP = 500_000


def inputs(**dtypes: tf.DType) -> dict[str, TensorInfo]:
    return {name: TensorInfo(name, f"{name}:0", dtype, None) for name, dtype in dtypes.items()}


def convert(body: str | bytes, fast: bool = True, **dtypes: tf.DType) -> dict[str, np.ndarray]:
    document = parse_object(body.encode() if isinstance(body, str) else body)
    return predict_inputs(document, inputs(**dtypes), fast=fast).arrays


def refusal(body: str | bytes, **dtypes: tf.DType) -> tuple[str, str]:
    with pytest.raises(ServingError) as found:
        convert(body, **dtypes)
    return found.value.code.name, str(found.value)


# Parsing


@pytest.mark.parametrize(
    ("body", "reason", "offset"),
    [
        (b"  \n ", "The document is empty.", 4),
        (b"]", "The document is empty.", 0),
        (b"plain text", "Invalid value.", 0),
        (b'{"a": tru}', "Invalid value.", 9),
        (b'{"a": nil}', "Invalid value.", 7),
        (b'{"a": [1, ]}', "Invalid value.", 10),
        (b'{"a": -}', "Invalid value.", 7),
        (b'{"a": Nan}', "Invalid value.", 8),
        (b'{"a": Infinite}', "Invalid value.", 13),
        (b'{"a": .5}', "Invalid value.", 6),
        (b'{"a": +1}', "Invalid value.", 6),
        (b"{a: 1}", "Missing a name for object member.", 1),
        (b'{"a": 1, }', "Missing a name for object member.", 9),
        (b'{"a" 1}', "Missing a colon after a name of object member.", 5),
        (b'{"a": 1', "Missing a comma or } after an object member.", 7),
        (b'{"a": 1]', "Missing a comma or } after an object member.", 7),
        (b'{"a": [1 2]}', "Missing a comma or ] after an array element.", 9),
        (b'{"a": [01]}', "Missing a comma or ] after an array element.", 8),
        (b'{"a": ["\\u12g4"]}', "Incorrect hex digit after \\u escape in string.", 8),
        (b'{"a": "b\\ud800c"}', "The surrogate pair in string is invalid.", 8),
        (b'{"a": "\\udc00"}', "The surrogate pair in string is invalid.", 7),
        (b'{"a": "b\\x"}', "Invalid escape character in string.", 8),
        (b'{"a": "b', "Missing a closing quotation mark in string.", 8),
        (b'{"a": "b\nc"}', "Invalid encoding in string.", 8),
        (b'{"a": 1e400}', "Number too big to be stored in double.", 6),
        (b'{"a": 1.}', "Miss fraction part in number.", 8),
        (b'{"a": 1e+}', "Miss exponent in number.", 9),
    ],
)
def test_what_is_not_json_is_told_with_its_offset(body, reason, offset):
    with pytest.raises(ServingError) as found:
        parse_object(body)

    assert found.value.code is Code.INVALID_ARGUMENT
    assert str(found.value) == f"JSON Parse error: {reason} at offset: {offset}"


def test_an_empty_body_is_told_without_an_offset():
    with pytest.raises(ServingError) as found:
        parse_object(b"")

    assert str(found.value) == "JSON Parse error: The document is empty"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"[]", "JSON Value: [] Is not object"),
        (b"NaN", "JSON Value: NaN Is not object"),
        (b"9000000.0", "JSON Value: 9e+06 Is not object"),
        (b'["a", {"b": null}]', 'JSON Value: [\n    "a",\n    {\n        "b": null\n    }\n]'),
        (b"[" * DEEP + b"]" * DEEP, "JSON Value: [\n    [\n        [\n"),
    ],
)
def test_a_document_that_is_no_object_is_repeated(body, text):
    with pytest.raises(ServingError) as found:
        parse_object(body)

    assert str(found.value).startswith(text)


def test_a_long_value_is_cut_after_256_bytes():
    text = value_text(["é" * 1000])

    assert text == '[\n    "' + "é" * 124  # 7 bytes before; half an é does not fit


@pytest.mark.parametrize("spelled", ["Infinity", "Inf"])
def test_numbers_that_are_not_finite_are_read(spelled):
    document = parse_object(f'{{"a": [NaN, {spelled}, -{spelled}, -NaN]}}'.encode())

    np.testing.assert_array_equal(document["a"], [math.nan, math.inf, -math.inf, math.nan])


@pytest.mark.parametrize("rest", [b"}", b"]]", b" trailing text", b"\0", b'{"a": 2}'])
def test_what_follows_the_document_is_ignored(rest):
    assert parse_object(b'{"a": 1}' + rest) == {"a": 1}


def test_any_depth_is_read_in_a_key_that_is_not_used():
    nested = b"[" * DEEP + b"]" * DEEP
    objects = b'{"k":' * 100_000 + b"1" + b"}" * 100_000

    arrays = convert(b'{"x": %b, "y": %b, "instances": [1]}' % (nested, objects), x=tf.float32)

    np.testing.assert_array_equal(arrays["x"], [1.0])


def test_a_byte_order_mark_is_passed_over():
    assert parse_object(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


def test_strings_that_are_not_utf_8_keep_their_bytes():
    arrays = convert(b'{"instances": ["\xff\xfe", "\xc3\xa9"]}', x=tf.string)

    assert arrays["x"].tolist() == [b"\xff\xfe", b"\xc3\xa9"]


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(value=_json, indent=st.sampled_from([None, 0, 3]), ascii_only=st.booleans())
@settings(max_examples=200, deadline=None)
@example(value={"a": [[], {}, [{}], '\U0001f600\x00"\\/']}, indent=None, ascii_only=True)
def test_the_scanner_reads_what_pythons_json_writes(value, indent, ascii_only):
    body = json.dumps(value, indent=indent, ensure_ascii=ascii_only)

    read = scan(body.encode("utf-8"))

    assert _typed(read) == _typed(value)


def test_the_scanner_makes_floats_of_integers_that_fit_no_64_bits():
    body = (
        b"[18446744073709551615, -9223372036854775808, 18446744073709551616, -9223372036854775809]"
    )

    numbers = [2**64 - 1, -(2**63), 2.0**64, -(2.0**63)]
    assert _typed(scan(body)) == _typed(numbers)
    assert _typed(scan(b"[" + b"9" * 300 + b"]")) == _typed([1e300])


@given(st.binary(max_size=12) | st.text('[]{},:"\\ue0123.+-aNI ', max_size=12).map(str.encode))
@settings(max_examples=500, deadline=None)
def test_scanner_and_orjson_take_the_same_objects(body):
    # orjson refuses more than the dialect does, but what it takes means the same.
    import orjson

    try:
        expected = orjson.loads(body)
    except orjson.JSONDecodeError:
        return
    assert _typed(scan(body)) == _typed(expected)


def _read_or_refused(parse, body):
    try:
        return repr(_typed(parse(body)))  # NaN equals itself there
    except ServingError as error:
        assert error.code is Code.INVALID_ARGUMENT
        return "refused"


_TOKENS = st.lists(
    st.sampled_from(
        ["[", "]", "{", "}", ",", ":", " ", "\n", '"a"', '"NaN, Inf"',
         '"\\\"Inf"', '"\\ud83d\\ude00"',
         '"\\ude00"', '"\\ud83d"', "NaN", "-NaN", "Inf", "-Inf", "Infinity", "-Infinity", "1", "-0",
         "1.5", "1e999", "1E+40", "18446744073709551616", "-9223372036854775809", "9" * 400, "true",
         "null", "\0", "\x01"]
    ),
    max_size=8,
).map("".join)  # fmt: skip


@given(body=_TOKENS | _TOKENS.map('{{"a": [NaN, {}]}} x'.format))
@settings(max_examples=1000, deadline=None)
@example(body='{"a": [NaN, "\udcff\udce2"]}')
@example(body="\ufeff [NaN]")
@example(body="[" * 5000)
def test_large_bodies_are_read_and_refused_as_the_scanner_does(body):
    # Those are read by another parser, since the scanner would take a minute for some.
    encoded = body.encode("utf-8", "surrogateescape")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_parsing, "_SCANNED", -1)
        found = _read_or_refused(parse_unusual, encoded)
    assert found == _read_or_refused(scan, encoded)


def test_where_a_large_body_is_wrong_is_told_in_bytes():
    body = b'{"a": ["\xc3\xa9", NaN, 1' + b", 1" * 2**21 + b" 2]}"

    with pytest.raises(ServingError) as found:
        parse_object(body)

    offset = body.index(b" 2]") + 1
    assert str(found.value).startswith("JSON Parse error: ")
    assert str(found.value).endswith(f" at offset: {offset}")


def _typed(value: Any) -> Any:
    if isinstance(value, list):
        return [_typed(inner) for inner in value]
    if isinstance(value, dict):
        return {key: _typed(inner) for key, inner in value.items()}
    return type(value).__name__, value


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
    with pytest.raises(ServingError, match="is not of expected type: float"):
        predict_inputs(json.loads(body), inputs(x=tf.float32), quotes=body.count('"'))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20e6


def test_brackets_without_an_end_are_not_read_to_the_end():
    body = b'{"a": ' + b"[" * 1_100_000
    code, text = refusal(body, x=tf.float32)
    assert code == "INVALID_ARGUMENT"
    assert text == "JSON Parse error: Terminate parsing due to Handler error. at offset: 1000006"


@pytest.mark.parametrize("key", ["instances", "inputs"])
@pytest.mark.parametrize("fast", [True, False])
def test_as_many_dimensions_as_an_array_has_are_read(key, fast):
    x = convert(f'{{"{key}": {"[" * 64}1{"]" * 64}}}', fast, x=tf.float32)["x"]

    assert (x.shape, x.item()) == ((1,) * 64, 1.0)


# Types


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


# Examples


def parsed(body: str, number: int = 0) -> dict[str, list]:
    example_ = tf.train.Example.FromString(parse_examples(parse_object(body.encode()))[number])
    features = {}
    for name, feature in example_.features.feature.items():
        kind = feature.WhichOneof("kind")
        features[name] = [kind, *getattr(feature, kind).value] if kind else []
    return features


def test_features_are_of_the_kind_their_json_is():
    assert parsed(
        '{"examples": [{"name": "foo", "raw": {"b64": "AP8="}, "ratings": [8.0, NaN, 1e39],'
        ' "age": 20, "flags": [true, false], "none": [], "exponent": 2e0}]}'
    ) == {
        "name": ["bytes_list", b"foo"],
        "raw": ["bytes_list", b"\x00\xff"],
        "ratings": ["float_list", 8.0, pytest.approx(math.nan, nan_ok=True), math.inf],
        "age": ["int64_list", 20],
        "flags": ["int64_list", 1, 0],
        "none": [],
        "exponent": ["float_list", 2.0],
    }


def test_each_example_is_merged_with_the_context():
    body = '{"context": {"a": 1, "b": "x"}, "examples": [{"a": 2}, {"c": 3.5}]}'

    assert parsed(body, 0) == {"a": ["int64_list", 2], "b": ["bytes_list", b"x"]}
    assert parsed(body, 1) == {
        "a": ["int64_list", 1],
        "b": ["bytes_list", b"x"],
        "c": ["float_list", 3.5],
    }


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("{}", "{} When method is classify, key 'examples' is expected and was not found"),
        ('{"examples": 3}', "Expecting 'examples' value to be an list/array"),
        ('{"examples": []}', "'examples' value is an empty array"),
        ('{"examples": [3]}', "Example must be JSON object but got JSON Number"),
        (
            '{"context": [], "examples": [{"a": 1}]}',
            "Example must be JSON object but got JSON Array",
        ),
        (
            '{"examples": [{"f": [1, "a"]}]}',
            "Unexpected element type in feature: f expecting type: int64",
        ),
        (
            '{"examples": [{"f": [1.5, true]}]}',
            "Unexpected element type in feature: f expecting type: float",
        ),
        (
            '{"examples": [{"f": ["a", 1]}]}',
            "Unexpected element type in feature: f expecting type: bytes",
        ),
        (
            '{"examples": [{"f": null}]}',
            "Feature: f has element with unexpected JSON type: Null",
        ),
        (
            '{"examples": [{"f": [[1]]}]}',
            "Feature: f has element with unexpected JSON type: Array",
        ),
        (
            '{"examples": [{"f": {"c": 1}}]}',
            "Feature: f has element with unexpected JSON type: Object",
        ),
        (
            '{"examples": [{"f": 9223372036854775808}]}',
            "Feature: f has uint64_t element. Only int64_t is supported.",
        ),
        ('{"examples": [{"f": {"b64": "?"}}]}', "Unable to base64 decode"),
    ],
)
def test_wrong_examples_are_told_in_the_words_clients_match_on(body, text):
    with pytest.raises(ServingError) as found:
        parse_examples(parse_object(body.encode()))

    assert found.value.code is Code.INVALID_ARGUMENT
    assert str(found.value).endswith(text)
