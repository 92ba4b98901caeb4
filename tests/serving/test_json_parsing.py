"""Bodies read as JSON: the dialect, what is refused where, and each parser against the others."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from json_for_tests import DEEP, convert, refusal

from tfapp.serving import json_parsing
from tfapp.serving.json_parsing import parse_object, parse_unusual
from tfapp.serving.json_scanner import scan
from tfapp.serving.json_texts import value_text
from tfapp.serving.status import Code, ServingError


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


def test_brackets_without_an_end_are_not_read_to_the_end():
    body = b'{"a": ' + b"[" * 1_100_000
    code, text = refusal(body, x=tf.float32)
    assert code == "INVALID_ARGUMENT"
    assert text == "JSON Parse error: Terminate parsing due to Handler error. at offset: 1000006"


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
