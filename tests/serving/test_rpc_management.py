"""Metadata, status, new configs and health by gRPC, while models are busy too."""

from __future__ import annotations

import threading
from contextlib import closing

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import json_format
from rpc_for_tests import INVALID, Served, load_models, predict_request, refused
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
)

from tfapp.serving.rpc import RpcOptions


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return load_models(tmp_path_factory.mktemp("rpc"), "half", "keras")


@pytest.fixture(scope="module")
def served(models):
    served = Served(models)
    yield served
    served.close()


def test_metadata_is_a_map_of_signatures(served):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "keras"

    response = served.predictions.GetModelMetadata(request)

    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    default = signatures.signature_def["serving_default"]
    assert default.inputs["features"].dtype == tf.float32
    assert default.method_name == "tensorflow/serving/predict"
    assert json_format.MessageToDict(response.model_spec) == {"name": "keras", "version": "1"}


def test_wrong_questions_for_metadata_are_refused(served):
    call = served.predictions.GetModelMetadata
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    assert refused(call, request) == (INVALID, "Missing ModelSpec")
    request.model_spec.name = "keras"
    text = "GetModelMetadataRequest must specify at least one metadata_field"
    assert refused(call, request) == (INVALID, text)
    request.metadata_field.extend(["signature_def", "assets"])
    assert refused(call, request) == (INVALID, "Metadata field assets is not supported")


def test_status_tells_state_and_error_of_every_version_newest_first(served):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "half"

    every = served.management.GetModelStatus(request).model_version_status
    request.model_spec.version.value = 1
    one = served.management.GetModelStatus(request).model_version_status

    assert [(found.version, found.state) for found in every] == [(2, 30), (1, 50)]
    assert (every[0].status.error_code, every[0].status.error_message) == (0, "")
    assert (every[1].status.error_code, every[1].status.error_message) == (15, "broken")
    assert [found.version for found in one] == [1]


def test_status_without_a_model_is_refused(served):
    call = served.management.GetModelStatus
    request = get_model_status_pb2.GetModelStatusRequest()
    assert refused(call, request) == (INVALID, "Missing ModelSpec")

    request.model_spec.name = "none"
    assert refused(call, request) == (
        grpc.StatusCode.NOT_FOUND,
        "Could not find any versions of model none",
    )


def test_a_new_config_is_handed_over_and_its_error_answered(served):
    request = model_management_pb2.ReloadConfigRequest()
    added = request.config.model_config_list.config.add(name="good", base_path="/models/good")

    response = served.management.HandleReloadConfigRequest(request)
    added.name = "bad"
    bad = refused(served.management.HandleReloadConfigRequest, request)

    assert response.status.error_code == 0
    assert served.reloaded[-2].model_config_list.config[0].base_path == "/models/good"
    assert bad == (grpc.StatusCode.UNKNOWN, "1 model(s) did not become available: {bad}")


def test_only_lists_of_models_can_be_reloaded(served):
    request = model_management_pb2.ReloadConfigRequest()
    custom = model_management_pb2.ReloadConfigRequest()
    custom.config.custom_model_config.SetInParent()
    text = (
        "ServerModelConfig type not supported by HandleReloadConfigRequest. Only ModelConfigList"
        " is currently supported"
    )

    for wrong in (request, custom):
        assert refused(served.management.HandleReloadConfigRequest, wrong) == (INVALID, text)


def test_reloads_that_wait_keep_nobody_from_an_answer_and_end_with_their_clients(served):
    request = model_management_pb2.ReloadConfigRequest()
    request.config.model_config_list.config.add(name="late", base_path="/models/late")
    waiting = [
        served.management.HandleReloadConfigRequest.future(request, timeout=60) for _ in range(5)
    ]
    for _ in range(3):
        response = served.predictions.Predict(predict_request("half", x=[1.0]), timeout=20)
        np.testing.assert_array_equal(tf.make_ndarray(response.outputs["y"]), [2.5])
    assert not any(call.done() for call in waiting)
    for call in waiting:
        call.cancel()
    assert served.given_up.wait(20)


def health_of(served: Served, service: str) -> bytes:
    # The protocol: `string service = 1` asked, `ServingStatus status = 1` answered.
    check = served.channel.unary_unary("/grpc.health.v1.Health/Check")
    return check(b"\x0a" + bytes([len(service)]) + service.encode() if service else b"", timeout=20)


def test_health_is_answered_if_asked_for_until_the_server_is_stopped(models):
    served = Served(models, RpcOptions(health=True))
    try:
        before = [health_of(served, name) for name in ("", "ModelService", "PredictionService")]
        with pytest.raises(grpc.RpcError) as unknown:
            health_of(served, "Other")
        served.health.stop()
        after = health_of(served, "")
    finally:
        served.close()

    assert before == [b"\x08\x01"] * 3  # SERVING
    assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
    assert after == b"\x08\x02"  # NOT_SERVING


def test_health_is_not_offered_by_default(served):
    with pytest.raises(grpc.RpcError) as caught:
        health_of(served, "")

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_who_watches_is_answered_while_all_others_compute(models, monkeypatch):
    half = models.servables["half", 2]
    go, run = threading.Event(), half.compute
    monkeypatch.setattr(half, "compute", lambda *given: go.wait(60) and run(*given))
    with closing(Served(models, RpcOptions(health=True))) as served:
        busy = [
            served.predictions.Predict.future(predict_request("half", x=[1.0]), timeout=60)
            for _ in range(6)
        ]
        check = served.channel.unary_unary("/grpc.health.v1.Health/Check")
        asked = get_model_status_pb2.GetModelStatusRequest()
        asked.model_spec.name = "half"
        for _ in range(3):
            assert check(b"", timeout=20) == b"\x08\x01"
            assert (
                len(served.management.GetModelStatus(asked, timeout=20).model_version_status) == 2
            )
        assert not any(call.done() for call in busy)
        go.set()
        for call in busy:
            assert call.result().outputs["y"].float_val == [2.5]
