from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from rest_for_tests import HALF, Kept, ask, load_models

from tfapp.serving.http_server import HttpServer
from tfapp.serving.ports import bound_socket
from tfapp.serving.rest import RestApp, RestOptions


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Kept:
    names = ("half", "several", "strings", "examples", "types", "any/thing:else")
    return load_models(tmp_path_factory.mktemp("rest"), *names)


@pytest.fixture(scope="module")
def app(models) -> Any:
    return RestApp(models)


# Predict


def test_rows_and_columns_are_predicted(app):
    rows = ask(app, "POST", f"{HALF}:predict", {"instances": [[1], [2], [5]]})
    columns = ask(app, "POST", f"{HALF}:predict", {"inputs": {"x": [[1], [2]]}})

    assert (rows.status, rows.json) == (200, {"predictions": [[2.5], [3.0], [4.5]]})
    assert rows.headers["content-type"] == "application/json"
    assert columns.json == {"outputs": [[2.5], [3.0]]}


def test_shapes_unlike_the_signatures_reach_the_graph(app):
    # The placeholder is [?, 1]; TensorFlow Serving does not compare.
    answer = ask(app, "POST", f"{HALF}:predict", {"instances": [1.0, 2.0, 5.0]})

    assert answer.json == {"predictions": [2.5, 3.0, 4.5]}


def test_several_inputs_and_outputs_go_by_name(app):
    inputs = {"a": [[1, 2]], "b": [[3, 4]], "factor": 2}

    answer = ask(app, "POST", "/v1/models/several:predict", {"inputs": inputs})

    assert answer.json == {"outputs": {"sum": [[8.0, 12.0]], "rows": 1, "total": 20.0}}


def test_rows_need_outputs_that_have_rows(app):
    body = {"instances": [{"a": [1, 2], "b": [3, 4], "factor": 2}]}

    code, text = ask(app, "POST", "/v1/models/several:predict", body).error

    # `factor` becomes a vector, which the model multiplies all the same.
    assert code == 400
    assert text.startswith("Tensor name: ")
    assert text.endswith(" has no shape information ")


def test_output_filter_chooses_outputs(app):
    inputs = {"a": [[1, 2]], "b": [[3, 4]], "factor": 2}
    path = "/v1/models/several:predict"

    one = ask(app, "POST", path, {"inputs": inputs, "output_filter": ["total"]})
    unknown = ask(app, "POST", path, {"inputs": inputs, "output_filter": ["z"]})
    wrong = ask(app, "POST", path, {"inputs": inputs, "output_filter": "total"})

    assert one.json == {"outputs": 20.0}
    assert unknown.error[0] == 400
    assert unknown.error[1].startswith("output tensor alias not found in signature: z")
    assert wrong.error == (400, "'output_filter' key must be a list of string values")


def test_strings_come_as_text_or_base64_and_bytes_go_as_base64(app):
    body = {"instances": ["abc", {"b64": "ZGU="}]}

    answer = ask(app, "POST", "/v1/models/strings:predict", body)

    assert answer.json == {
        "predictions": [
            {"length": 3, "upper_bytes": {"b64": "QUJD"}},
            {"length": 2, "upper_bytes": {"b64": "REU="}},
        ]
    }


def test_numbers_that_are_not_finite_go_both_ways(app):
    body = b'{"instances": [NaN, Infinity, -Infinity, 1e30]} trailing'

    answer = ask(app, "POST", f"{HALF}:predict", body)

    assert answer.body == b'{"predictions":[NaN,Infinity,-Infinity,5e+29]}'


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("int32", [1, -2]), ("int64", [2**53 + 1]), ("uint8", [0, 255]), ("int8", [-128]),
        ("bool", [True, False]), ("float64", [0.1]), ("uint64", [2**64 - 1]), ("string", ["é"]),
        ("uint32", [2**32 - 1]), ("int16", [-5]),
    ],
)  # fmt: skip
def test_each_type_goes_through_a_model(app, dtype, values):
    body = {"signature_name": f"echo_{dtype}", "inputs": values}

    assert ask(app, "POST", "/v1/models/types:predict", body).json == {"outputs": values}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "complex64"])
def test_types_without_json_are_501(app, dtype):
    body = {"signature_name": f"echo_{dtype}", "inputs": [1.5]}

    code, text = ask(app, "POST", "/v1/models/types:predict", body).error

    name = "half" if dtype == "float16" else dtype
    assert (code, text) == (501, f"Conversion of JSON Value: 1.5 to type: {name}")


# Classify and regress


def test_examples_are_classified_with_and_without_classes(app):
    body = {"signature_name": "classify_both", "examples": [{"x": 2.0}]}

    named = ask(app, "POST", f"{HALF}:classify", body)
    scored = ask(app, "POST", f"{HALF}:classify", {**body, "signature_name": "classify_x_to_y"})

    assert named.json == {"results": [[["low", -3.0], ["high", 3.0]]]}
    assert scored.json == {"results": [[["", 3.0]]]}


def test_the_context_is_a_part_of_each_example(app):
    body = {
        "context": {"name": {"b64": "w7w="}},
        "examples": [{"x": [1.0, 2.0]}, {"x": [3.0, 4.0], "name": "own"}],
    }

    answer = ask(app, "POST", "/v1/models/examples:classify", body)

    assert answer.json == {
        "results": [
            [["ü:first", 1.0], ["ü:second", 2.0]],
            [["own:first", 3.0], ["own:second", 4.0]],
        ]
    }


def test_examples_are_regressed(app):
    body = {"signature_name": "regress_x2_to_y3", "examples": [{"x": 0.0, "x2": 4.0}, {"x": 0.0}]}

    answer = ask(app, "POST", f"{HALF}:regress", body)

    assert answer.json == {"results": [5.0, 3.0]}


def test_an_integer_is_no_float_feature(app):
    body = {"signature_name": "regress_x_to_y", "examples": [{"x": 20}]}

    code, text = ask(app, "POST", f"{HALF}:regress", body).error

    assert code == 400
    assert "Data types don't match" in text


def test_method_names_are_checked_when_asked_for(models):
    body = {"signature_name": "classify_x_to_y", "examples": [{"x": 2.0}]}

    loose = RestApp(models)
    strict = RestApp(models, options=RestOptions(check_method=True))

    assert (
        ask(loose, "POST", "/v1/models/examples:classify", {"examples": [{"x": [1.0, 2.0]}]}).status
        == 200
    )
    code, text = ask(
        strict, "POST", "/v1/models/examples:classify", {"examples": [{"x": [1.0, 2.0]}]}
    ).error
    assert code == 400
    assert "method_name" in text
    assert ask(strict, "POST", f"{HALF}:classify", body).status == 200


# Over the network


@pytest.fixture(scope="module")
def port(app) -> Iterator[int]:
    bound = bound_socket("rest_api_port", 0)
    server = HttpServer(app, bound)
    server.start()
    try:
        yield bound.getsockname()[1]
    finally:
        server.close(time.monotonic() + 5)


def test_a_real_server_keeps_the_connection_and_takes_chunks(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    socket = None
    for path, result in ((f"{HALF}:predict", 2.5), ("/v1/models/any%2Fthing%3Aelse:predict", 2.0)):
        chunks = iter([b'{"instances"', b": [[1]]}"])
        connection.request("POST", path, body=chunks, encode_chunked=True)
        response = connection.getresponse()

        assert response.status == 200
        assert response.getheader("Content-Type") == "application/json"
        assert json.loads(response.read()) == {"predictions": [[result]]}
        assert socket in (None, connection.sock)
        socket = connection.sock
    connection.close()


def test_a_real_server_answers_with_what_numpy_computes(port):
    x = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", f"{HALF}:predict", json.dumps({"instances": x.tolist()}))

    answer = json.loads(connection.getresponse().read())
    connection.close()

    found = np.array(answer["predictions"], np.float32)
    np.testing.assert_array_equal(found, x * np.float32(0.5) + np.float32(2))


def test_a_real_server_tells_errors(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("PUT", f"{HALF}:predict", b"x" * 100_000)
    response = connection.getresponse()

    assert response.status == 400
    told = json.loads(response.read())["error"]
    assert told.startswith(f"Malformed request: PUT {HALF}:predict. Send POST to predict")
    connection.close()
