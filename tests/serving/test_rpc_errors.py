"""What gRPC answers to requests that cannot be meant, in the words clients match on."""

from __future__ import annotations

import logging

import grpc
import pytest
from rpc_for_tests import INVALID, Served, load_models, predict_request, refused
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import classification_pb2, predict_pb2, regression_pb2


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return load_models(tmp_path_factory.mktemp("rpc"), "half")


@pytest.fixture(scope="module")
def served(models):
    served = Served(models)
    yield served
    served.close()


def test_models_that_are_not_there_are_told_by_the_texts_clients_wait_for(served):
    missing, other = predict_request("none", x=[1.0]), predict_request("half", x=[1.0])
    other.model_spec.version.value = 7
    label = predict_request("half", x=[1.0])
    label.model_spec.version_label = "canary"
    call = served.predictions.Predict

    not_found = grpc.StatusCode.NOT_FOUND
    assert refused(call, missing) == (
        not_found,
        "Servable not found for request: Latest(none)",
    )
    assert refused(call, other) == (
        not_found,
        "Servable not found for request: Specific(half, 7)",
    )
    assert refused(call, label) == (INVALID, "Unrecognized servable version label: canary")


REQUESTS = {
    "Predict": predict_pb2.PredictRequest,
    "Classify": classification_pb2.ClassificationRequest,
    "Regress": regression_pb2.RegressionRequest,
}


@pytest.mark.parametrize("method", REQUESTS)
def test_a_request_without_a_model_or_its_name_is_refused(served, method):
    call, request = getattr(served.predictions, method), REQUESTS[method]()
    assert refused(call, request) == (INVALID, "Missing ModelSpec")

    request.model_spec.signature_name = "x"
    assert refused(call, request) == (INVALID, "ModelSpec has no name specified.")


def test_errors_of_inputs_and_signatures_reach_the_client(served):
    call = served.predictions.Predict
    signature = predict_request("half", x=[1.0])
    signature.model_spec.signature_name = "none"
    broken = predict_request("half", x=[1.0])
    broken.inputs["x"].tensor_content = b"123"

    code, text = refused(call, signature)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert text.startswith('Serving signature key "none" not found.')
    code, text = refused(call, broken)
    assert code is INVALID
    assert text.startswith("tensor parsing error: x")
    code, text = refused(call, predict_request("half", z=[1.0], x=[1.0]))
    assert (code, text) == (
        INVALID,
        "input size does not match signature: 2!=1 len({x,z}) != len({x})."
        " Sent extra: {z}. Missing but required: {}.",
    )
    code, text = refused(call, predict_request("half", x=[1]))
    assert (code, text.splitlines()[0]) == (
        INVALID,
        "Type mismatch: actual int32 vs. expect float",
    )


def test_names_are_checked_before_tensors_are_read(served):
    request = predict_request("half")
    for number in range(3):
        tensor = request.inputs[f"t{number}"]
        tensor.dtype = types_pb2.DT_FLOAT
        tensor.float_val.append(1.0)
        tensor.tensor_shape.dim.add(size=2**40)
    code, text = refused(served.predictions.Predict, request)
    assert (code, text[:38]) == (INVALID, "input size does not match signature: 3")
    request.model_spec.signature_name = "none"
    code, text = refused(served.predictions.Predict, request)
    assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert text.startswith('Serving signature key "none" not found.')


def test_long_errors_are_cut_after_1024_bytes(served):
    names = {f"zürich{number:04}": [1.0] for number in range(400)}

    code, text = refused(served.predictions.Predict, predict_request("half", **names))

    assert code is INVALID
    assert text.startswith("input size does not match signature: 400!=1 len({zürich0000,")
    assert text.endswith("...TRUNCATED")
    assert 1023 <= len(text.removesuffix("...TRUNCATED").encode()) <= 1024


def test_an_error_of_our_own_is_internal_and_logged(served, monkeypatch, caplog):
    monkeypatch.setattr(served.models, "use", lambda spec: 1 / 0)

    with caplog.at_level(logging.ERROR, "tfapp.serving.rpc"):
        answer = refused(served.predictions.Predict, predict_request("half", x=[1.0]))

    assert answer == (grpc.StatusCode.INTERNAL, "ZeroDivisionError: division by zero")
    assert "ZeroDivisionError" in caplog.text
