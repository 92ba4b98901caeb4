"""Hints come after the texts that clients match on, and say what was meant."""

from __future__ import annotations

import time

import models_for_tests as written
import numpy as np
import pytest

from tfapp.serving import inference
from tfapp.serving.hints import names_hint, path_hint, version_hint
from tfapp.serving.json_values import predict_inputs
from tfapp.serving.models import ModelSpec, State, VersionStatus
from tfapp.serving.rest_requests import Route, parse_route, plan, read
from tfapp.serving.servable import load_servable
from tfapp.serving.status import ServingError


@pytest.fixture(scope="module")
def keras(tmp_path_factory):
    """`features` float [?, 2]."""
    return load_servable("keras", 1, written.write_keras(tmp_path_factory.mktemp("hints") / "1"))


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """`a`, `b` float [?, 2], `factor` float []."""
    path = written.write_several(tmp_path_factory.mktemp("hints") / "1")
    return load_servable("several", 1, path)


def refusal(call, *arguments):
    with pytest.raises(ServingError) as caught:
        call(*arguments)
    return str(caught.value)


def ask(servable, body):
    route = Route("predict", ModelSpec(servable.name))
    return plan(read(route, body), servable).result()


def predict(servable, name, inputs):
    return inference.predict(servable, name, inputs).result()


def test_a_wrong_shape_is_told_with_the_right_one(keras):
    told = refusal(ask, keras, b'{"instances": [[1, 2, 3]]}')
    first, _, hint = told.partition(" The input ")
    assert "Matrix size-incompatible" in first, "TensorFlow's own text comes first"
    assert hint == "features of signature serving_default is float32 [?,2]; the request has [1,3]."


def test_a_wrong_rank_is_told_with_the_right_one(keras):
    told = refusal(ask, keras, b'{"instances": [1, 2, 3]}')
    assert told.endswith("is float32 [?,2]; the request has [3].")


def test_a_wrong_type_is_told_with_the_right_one(keras):
    told = refusal(predict, keras, "", {"features": np.array([[1, 2]], np.int64)})
    assert told.endswith("is float32 [?,2]; the request has int64 [1,2].")


def test_only_the_inputs_that_are_wrong_are_named(several):
    body = b'{"inputs": {"a": [[1, 2]], "b": [[1, 2, 3]], "factor": 1}}'
    told = refusal(ask, several, body)
    assert told.endswith(
        "The input b of signature serving_default is float32 [?,2]; the request has [1,3]."
    )
    assert told.count("The input") == 1


def test_what_fails_for_another_reason_gets_no_hint(several):
    """The rows of `a` and `b` differ, and each is as the signature has it."""
    rows = {"a": np.zeros((2, 2), np.float32), "b": np.zeros((3, 2), np.float32)}
    inputs = {**rows, "factor": np.array(1, np.float32)}
    assert "The input" not in refusal(predict, several, "", inputs)


@pytest.mark.parametrize(
    ("method", "path", "hint"),
    [
        ("POST", "/v1/models/m", "Add what to do: :predict, :classify or :regress."),
        ("POST", "/v1/models/m/versions/3", "Add what to do: :predict, :classify or :regress."),
        ("POST", "/v1/models/m/predict", "Write :predict, with a colon."),
        ("POST", "/v1/models/m:predcit", "Did you mean ':predict'? Known: :predict"),
        ("POST", "/v1/models/a/b:predict", "A / in a name is written %2F"),
        ("POST", "/v1/models/m/metadata/x", "A path is /v1/models/NAME:predict"),
        ("POST", "/v1/models/m/versions/1.5:predict", "A version is a whole number, found '1.5'"),
        ("GET", "/v1/models/m/versions/latest", "A version is a whole number, found 'latest'"),
        ("POST", "/v1/models/m/versions/:predict", "A version is a whole number, found ''"),
        ("POST", "/v1/models/m/versions/1/labels/a:predict", "Give a version or a label, not both"),
        ("GET", "/v1/models/m:predict", "Send it by POST, with a body."),
        ("GET", "/v1/models/m/signatures", "GET is for /v1/models/NAME and"),
        ("PUT", "/v1/models/m:predict", "Send POST to predict"),
        ("POST", "/v1/model/m:predict", "Paths begin with /v1/models/."),
    ],
)  # fmt: skip
def test_a_malformed_path_is_told_what_was_meant(method, path, hint):
    told = refusal(parse_route, method, path)
    assert told.startswith(f"Malformed request: {method} {path}. ")
    assert hint in told


def test_names_that_are_near_are_offered():
    known = ["digits", "toy"]
    assert names_hint("Models", "digts", known) == " Did you mean 'digits'? Models: digits, toy."
    assert names_hint("Models", "qqq", known) == " Models: digits, toy."
    assert names_hint("Models", "m", []) == " Models: none."
    many = [f"m{number:02d}" for number in range(30)]
    assert names_hint("Models", "q", many) == f" Models: {', '.join(many[:20])}, …."


def test_versions_that_answer_are_told_and_what_the_others_do():
    statuses = [
        VersionStatus(4, State.LOADING),
        VersionStatus(3, State.AVAILABLE),
        VersionStatus(2, State.END),
        VersionStatus(1, State.END, message="broken"),
    ]
    told = version_hint("m", statuses)
    assert told == " Versions of m that answer: 3. Version 4 is LOADING, 1 is END."


def test_names_of_signatures_and_inputs_are_offered(keras):
    told = refusal(ask, keras, b'{"signature_name": "serving_defualt", "instances": [[1, 2]]}')
    assert told.startswith('Serving signature name: "serving_defualt" not found in signature def.')
    assert told.endswith(
        "Did you mean 'serving_default'? Signatures of the model: serve, serving_default."
    )
    told = refusal(ask, keras, b'{"instances": [{"feature": [1, 2]}]}')
    assert "does not have named input: feature. Did you mean 'features'?" in told


@pytest.mark.parametrize("kind", ["path", "name", "keys", "signature"])
def test_hints_on_hostile_names_are_quick(keras, kind):
    long = "x" * 3_000_000
    began = time.process_time()
    if kind == "path":
        path_hint("POST", "/v1/models/m" + "/versions/1" * 6000)
        path_hint("POST", "/v1/models/m" + "/labels/:" * 6000 + ":x")
    elif kind == "name":
        assert len(names_hint("Models", long, [f"m{n}" for n in range(5000)])) < 1000
    elif kind == "keys":
        document = {"inputs": {f"key {number}" * 100: 1 for number in range(20_000)}}
        refusal(lambda: predict_inputs(document, keras.signatures["serving_default"].inputs))
    else:
        refusal(ask, keras, b'{"signature_name": "%s"}' % long.encode())
    assert time.process_time() - began < 1.0
