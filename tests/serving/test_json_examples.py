"""Examples in JSON as records of tf.Example."""

from __future__ import annotations

import math

import pytest
import tensorflow as tf

from tfapp.serving.json_examples import parse_examples
from tfapp.serving.json_parsing import parse_object
from tfapp.serving.status import Code, ServingError


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
