"""Requests whose inputs are numbers: each way to read them gives the same arrays."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

import models_for_tests as written
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from json_for_tests import inputs

from tfapp.serving import json_numbers, rest_requests
from tfapp.serving.json_numbers import NumberInputs, number_inputs
from tfapp.serving.json_parsing import parse_object
from tfapp.serving.json_values import PredictInputs, predict_inputs
from tfapp.serving.models import ModelSpec
from tfapp.serving.rest_requests import Route, plan, read
from tfapp.serving.servable import Servable, load_servable
from tfapp.serving.status import ServingError

_numbers = (
    st.integers(-(2**63), 2**64 - 1)
    | st.integers(-5, 300)
    | st.floats(width=64)
    | st.floats(-3, 3, width=32)
)
_leaves = st.one_of(_numbers, _numbers, _numbers, st.booleans(), st.none(), st.just("1.5"))


@st.composite
def _tensors(draw: st.DrawFn) -> Any:
    """Mostly of one shape and of one kind, which is when NumPy is asked at all."""
    leaves = draw(st.sampled_from([_numbers, st.integers(-5, 300), st.booleans(), _leaves]))
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    ragged = draw(st.integers(0, 9)) == 0

    def build(level: int) -> Any:
        if level == len(shape):
            return draw(leaves)
        size = draw(st.integers(0, 3)) if ragged else shape[level]
        return [build(level + 1) for _ in range(size)]

    return build(0)


def _plain(found: PredictInputs) -> Any:
    return found.rows, {
        name: (array.shape, array.dtype, array.tobytes()) for name, array in found.arrays.items()
    }


def _outcome(document: dict, infos: dict, **options: bool) -> Any:
    try:
        return _plain(predict_inputs(document, infos, **options))
    except ServingError as error:
        return error.code, str(error)


def _read(body: bytes, infos: dict, *, elsewhere: bool = False) -> Any:
    """What is read without a list of Python; None if it is left to others.

    Args:
        elsewhere: Whether it is read by another process than the one that takes it.
    """
    found = number_inputs(body)
    if found is not None and elsewhere:
        packed = found.packed()
        found = None if packed is None else NumberInputs.unpacked(packed)
    arrays = None if found is None else found.take(infos)
    return None if arrays is None else _plain(PredictInputs(arrays, found.rows))


@given(
    tensors=st.lists(_tensors(), min_size=1, max_size=3),
    dtype=st.sampled_from(
        [tf.float32, tf.float64, tf.int8, tf.uint8, tf.int32, tf.int64, tf.uint32, tf.uint64,
         tf.bool]
    ),
    form=st.sampled_from(["rows", "named rows", "rows of one name", "columns", "named columns"]),
    same=st.booleans(),
    indent=st.sampled_from([None, 0, 2]),
    signature=st.sampled_from([None, "before", "after"]),
)  # fmt: skip
@settings(max_examples=600, deadline=None)
@example([1, 2.5, True], tf.float32, "rows", False, None, None)
@example([[1], [True]], tf.int32, "rows", False, None, None)
@example([2**63, 1], tf.uint64, "rows", False, None, None)
@example([16777217, 2**63 + 1], tf.float32, "rows", False, None, None)
@example([[], []], tf.int32, "rows", False, None, None)
@example([[[]], [[], []]], tf.float32, "rows", False, 2, "after")
def test_all_ways_agree(tensors, dtype, form, same, indent, signature):
    values = [tensors[0]] * len(tensors) if same else tensors
    infos, key, body = inputs(x=dtype), "instances", values
    if form == "named rows":
        infos = inputs(x=dtype, y=tf.float64)
        body = [{"x": value, "y": number} for number, value in enumerate(values)]
    elif form == "rows of one name":
        body = [{"x": value} for value in values]
    elif form == "columns":
        key, body = "inputs", values[0]
    elif form == "named columns":
        infos = inputs(x=dtype, y=tf.float64)
        key, body = "inputs", {"x": values[0], "y": values[-1], "unused": values[0]}
    asked = {key: body}
    if signature is not None:
        named = {"signature_name": "s"}
        asked = named | asked if signature == "before" else asked | named
    # NaN and Infinity are read by the scanner alone, all else by the others.
    spelled = json.dumps(asked, indent=indent)
    document = parse_object(spelled.encode())
    bools = "true" in spelled or "false" in spelled

    exact = _outcome(document, infos, fast=False)

    assert _outcome(document, infos, may_hold_bools=bools) == exact
    with mock.patch.object(json_numbers, "_SMALL_ROW", 0):
        assert _read(spelled.encode(), infos) in (exact, None)
        assert _read(spelled.encode(), infos, elsewhere=True) in (exact, None)


@pytest.mark.parametrize(
    ("body", "dtype", "expected"),
    [
        ('{"instances": [1, -2.5, 3e2]}', tf.float32, [1, -2.5, 300]),
        ('{"instances": [[1, 2], [3, 4]]}', tf.float64, [[1, 2], [3, 4]]),
        (' {"signature_name" : "s", "instances":[ [[5]], [[7]] ] } ', tf.float32, [[[5]], [[7]]]),
        ('{"instances":[1,2],"signature_name":"s"}', tf.int32, [1, 2]),
        ('{"inputs":[[-128],[127]]}', tf.int8, [[-128], [127]]),
        ('{"inputs": {"x": [[255]]}}', tf.uint8, [[255]]),
        ('{"inputs":{"other":["a"],"x":[9223372036854775807]}}', tf.int64, None),
        ('{"inputs":{"other":[1.5],"x":[9223372036854775807]}}', tf.int64, [2**63 - 1]),
        ('{"instances":[16777217]}', tf.float32, [16777216]),
        (f'{{"instances":[{{"x": {[*range(128)]}}}]}}', tf.float32, [[*range(128)]]),
        (f'{{"instances":[{{"x":{[[1]] * 140}}},{{"x":{[[2]] * 140}}}]}}', tf.int8,
         [[[1]] * 140, [[2]] * 140]),
    ],
)  # fmt: skip
def test_numbers_of_one_shape_are_read(body, dtype, expected):
    found = number_inputs(body.encode())
    if expected is None:
        assert found is None
        return
    arrays = found.take(inputs(x=dtype))
    assert found.rows is ("instances" in body)
    assert found.signature == ("s" if "signature_name" in body else "")
    assert arrays["x"].dtype == dtype.as_numpy_dtype
    np.testing.assert_array_equal(arrays["x"], np.array(expected, dtype.as_numpy_dtype))


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64, tf.int32])
@pytest.mark.parametrize("body", ['{"instances":[[1,2],[3,4.5]]}', '{"inputs":{"x":[[1],[-2]]}}'])
def test_floats_alone_may_be_read_by_another_process(body, dtype):
    infos = inputs(x=dtype)
    here, elsewhere = (_read(body.encode(), infos, elsewhere=other) for other in (False, True))

    assert elsewhere == (here if dtype.is_floating else None)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[1]",
        '{"instances": 1}',
        '{"instances": []}',
        '{"instances": [[]]}',
        '{"instances": [[1, 2], [3], [4, 5, 6]]}',
        '{"instances": [[[1, 2], [3, 4]], [[1, 2, 3], [4]]]}',
        '{"instances": [[1, [2]], [3, 4]]}',
        '{"instances": [1, [2]]}',
        '{"instances": [1, {"a": 2, "b": 3}]}',
        '{"instances": [{"x": 1}]}',
        '{"instances": [{"x": [1, 2]}]}',
        f'{{"instances": [{{"x": {[1] * 140}}}, {{"x": {[1] * 141}}}]}}',
        f'{{"instances": [{{"x": {[1] * 140}}}, {{"y": {[1] * 140}}}]}}',
        f'{{"instances": [{{"x": {[1] * 140}}}, {[1] * 140}]}}',
        f'{{"instances": [{{"x": {[1] * 140}, "y": 1}}]}}',
        f'{{"instances": [{{"x": {[1] * 140}, "x": {[1] * 140}}}]}}',
        '{"instances": [1, NaN]}',
        '{"instances": [1, 1e999]}',
        '{"instances": [1]} and more',
        '{"instances": [1], "inputs": [1]}',
        '{"instances": [1], "instances": [2]}',
        '{"instances": [1], "output_filter": ["y"]}',
        '{"instances": [1], "signature_name": 5}',
        '{"instances": [[1, 2], [3]], "signature_name": ",["}',
        '{"signature_name": "],[", "instances": [1, 2]}',
        '{"signature_name": "s", "signature_name": "t", "instances": [1, 2]}',
        '{"inputs": {"x": [1], "x": [2]}}',
        '{"inputs": {"x": [1], "y": 2}}',
        '{"inputs": {"x": [1], "x\\u0000": [2]}}',
        '{"inputs": {"\\u0000": [1]}}',
        '{"inputs": {"x": [[1, 2], [3]], ",": [4]}}',
        '{"inputs": {"x": [1], "y": {"z": [1]}}}',
    ],
)
def test_everything_else_is_left_to_others(body):
    assert number_inputs(body.encode()) is None


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ("[[1], []]", tf.float32),
        ("[[[1]], [[]], [[2]]]", tf.int32),
        ('[1, "2"]', tf.float32),
        ("[1, true]", tf.float32),
        ("[1, null]", tf.float32),
        ('[1, {"a": 2}]', tf.float32),
        ("[1, 2.5]", tf.int32),
        ("[1, 3000000000]", tf.int32),
        ("[1, -1]", tf.uint32),
        ("[1, 9223372036854775808]", tf.uint64),
        ("[1, 0]", tf.bool),
        ("[1, 2]", tf.string),
        ("[1, 2]", tf.float16),
    ],
)
def test_what_an_input_does_not_take_is_left_to_others(values, dtype):
    found = number_inputs(f'{{"instances": {values}}}'.encode())
    assert found.take(inputs(x=dtype)) is None


def test_numbers_without_names_are_for_a_single_input():
    assert number_inputs(b'{"inputs": [1]}').take(inputs(x=tf.float32, y=tf.float32)) is None
    assert number_inputs(b'{"inputs": {"y": [1]}}').take(inputs(x=tf.float32)) is None


def test_rows_with_names_have_those_of_the_inputs():
    rows = [{"x": [1] * 140, "y": [2] * 2}, {"x": [3] * 140, "y": [4] * 2}]
    body = json.dumps({"instances": rows}).encode()
    assert number_inputs(body).take(inputs(x=tf.float32)) is None
    arrays = number_inputs(body).take(inputs(y=tf.int32, x=tf.float32))
    assert arrays["x"].tolist() == [row["x"] for row in rows]
    assert arrays["y"].tolist() == [row["y"] for row in rows]


@pytest.mark.parametrize("row", ["[{}]", '{{"x": [{}]}}', '{{"x": [[{}]]}}'])
def test_a_long_first_list_among_many_short_ones_takes_no_memory(row):
    """As many lists as long as the first would be 40 GB."""
    long, short = row.format("0," * 199_999 + "0"), row.format("0")
    body = f'{{"instances": [{long}{f",{short}" * 199_999}]}}'.encode()
    assert number_inputs(body) is None
    body = f'{{"inputs": {{"x": [0], "y": [[[]{",[]" * 199_999}]{",[]" * 199_999}]}}}}'.encode()
    assert number_inputs(body) is None


def test_lists_longer_than_their_parser_counts_are_left_to_others():
    # It counts to 2**24 - 1.
    body = b'{"instances": [%s0]}' % (b"0," * 2**24)
    assert number_inputs(body) is None


def test_more_dimensions_than_an_array_has_are_left_to_others():
    deep = b'{"instances": %s1%s}'
    assert number_inputs(deep % (b"[" * 64, b"]" * 64)).take(inputs(x=tf.float32))["x"].ndim == 64
    assert number_inputs(deep % (b"[" * 65, b"]" * 65)).take(inputs(x=tf.float32)) is None
    assert number_inputs(deep % (b"[" * 5000, b"]" * 5000)) is None


def test_names_without_end_are_not_looked_up():
    # Each look-up goes through all of them: together it would take minutes.
    names = ",".join(f'"n{number}": 1' for number in range(200_000))
    assert number_inputs(f'{{"instances": [1], {names}}}'.encode()) is None
    assert number_inputs(f'{{"inputs": {{"x": [1], {names}}}}}'.encode()) is None


@pytest.fixture(scope="module")
def types(tmp_path_factory):
    return load_servable("m", 1, written.write_types(tmp_path_factory.mktemp("types") / "1"))


def answer(servable: Servable, body: bytes, action: str = "predict") -> bytes | tuple[str, str]:
    try:
        return plan(read(Route(action, ModelSpec("m")), body), servable).result()
    except ServingError as error:
        return error.code.name, str(error)


LONG = [*range(100)] * 5


@pytest.mark.parametrize(
    "values",
    [LONG, [LONG, LONG], [0.5, *LONG], [-1, *LONG], [LONG, LONG[1:]]],
    ids=["list", "lists", "float", "negative", "ragged"],
)
@pytest.mark.parametrize("dtype", ["float32", "int8", "uint32", "bool", "half"])
@pytest.mark.parametrize("form", ["instances", "inputs", "named", "misnamed", "absent signature"])
def test_answers_and_refusals_are_the_same_without_it(types, monkeypatch, values, dtype, form):
    document: dict[str, Any] = {"signature_name": f"echo_{dtype}", "instances": values}
    if form == "inputs":
        document["inputs"] = document.pop("instances")
    elif form == "absent signature":
        document["signature_name"] = "absent"
    elif form != "instances":
        document["instances"] = [{"x" if form == "named" else "y": values}]
    body = json.dumps(document).encode()
    read_numbers = []

    def seen(body: bytes) -> Any:
        read_numbers.append(number_inputs(body))
        return read_numbers[-1]

    monkeypatch.setattr(rest_requests, "number_inputs", seen)
    found = answer(types, body)
    monkeypatch.setattr(rest_requests, "number_inputs", lambda body: None)

    assert found == answer(types, body)
    assert (read_numbers != [None]) is (values != [LONG, LONG[1:]]), "it was read by this way"


def test_examples_are_not_taken_for_inputs(types):
    _, text = answer(types, json.dumps({"instances": LONG}).encode(), "classify")
    assert text.startswith('JSON Value: {\n    "instances": [\n        0,\n        1,')
    assert text.endswith("When method is classify, key 'examples' is expected and was not found")
