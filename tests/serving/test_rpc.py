from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import models_for_tests as written
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from tfapp.serving import calls
from tfapp.serving.models import ModelSpec, State, VersionStatus
from tfapp.serving.observing import Observer, RequestRecord
from tfapp.serving.rpc import RpcOptions, add_services, make_server
from tfapp.serving.servable import Servable, load_servable
from tfapp.serving.status import Code, ServingError

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
FEATURES = np.array([[1, 2], [3, 4]], np.float32)


class LoadedModels:
    """Models that are always there; of each only the versions it was given."""

    def __init__(self) -> None:
        self.servables: dict[tuple[str, int], Servable] = {}
        self.labels: dict[str, int] = {"stable": 1}
        self.specs: list[ModelSpec] = []
        self.gate = threading.Event()
        self.gate.set()

    @contextmanager
    def use(self, spec: ModelSpec) -> Iterator[Servable]:
        self.specs.append(spec)
        self.gate.wait(20)
        if spec.label is not None and spec.label not in self.labels:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {spec.label}"
            )
        version = self.labels[spec.label] if spec.label else spec.version
        versions = [key[1] for key in self.servables if key[0] == spec.name]
        wanted = max(versions, default=0) if version is None else version
        if wanted not in versions:
            request = f"Latest({spec.name})" if version is None else f"Specific({spec.name}, 7)"
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {request}")
        yield self.servables[spec.name, wanted]

    def statuses(self, name: str, version: int | None = None) -> list[VersionStatus]:
        if name != "half":
            text = f"Could not find any versions of model {name}"
            raise ServingError(Code.NOT_FOUND, text)
        known = [
            VersionStatus(2, State.AVAILABLE),
            VersionStatus(1, State.END, Code.DATA_LOSS, "broken"),
        ]
        return [status for status in known if version in (None, status.version)]


class Served:
    """A server on a port of its own, and clients made of the published stubs."""

    def __init__(
        self,
        models: LoadedModels,
        options: RpcOptions | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.models = models
        options = options or RpcOptions()
        self.reloaded = []
        self.given_up = threading.Event()
        self.server = make_server(threads=2)
        self.health = add_services(
            self.server, models, self.reload, options=options, observer=observer
        )
        port = self.server.add_insecure_port("localhost:0")
        self.server.start()
        largest = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(f"localhost:{port}", options=largest)
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.management = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def reload(self, config, stopped) -> None:
        self.reloaded.append(config)
        if config.model_config_list.config[0].name == "late":
            while not stopped():
                time.sleep(0.01)
            self.given_up.set()
        if config.model_config_list.config[0].name == "bad":
            raise ServingError(Code.UNKNOWN, "1 model(s) did not become available: {bad}")

    def close(self) -> None:
        self.channel.close()
        self.server.stop(None).wait()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rpc")
    found = LoadedModels()
    for name, write in {
        "half": written.write_half_plus_two,
        "several": written.write_several,
        "strings": written.write_strings,
        "any": written.write_unknown_rank,
        "types": written.write_types,
        "classifier": written.write_example_classifier,
        "keras": written.write_keras,
    }.items():
        path = write(folder / name)
        for version in (1, 2) if name == "half" else (1,):
            found.servables[name, version] = load_servable(name, version, path)
    return found


@pytest.fixture(scope="module")
def served(models):
    served = Served(models)
    yield served
    served.close()


def predict_request(name: str, /, **inputs) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    for alias, value in inputs.items():
        request.inputs[alias].CopyFrom(tf.make_tensor_proto(value))
    return request


def refused(call, request) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=20)
    return caught.value.code(), caught.value.details()


INVALID = grpc.StatusCode.INVALID_ARGUMENT


def test_predict_answers_with_typed_fields_and_the_version_it_used(served):
    response = served.predictions.Predict(predict_request("half", x=[[1.0], [2.0]]))

    assert response.model_spec.name == "half"
    assert response.model_spec.signature_name == "serving_default"
    assert response.model_spec.version.value == 2
    assert list(response.outputs) == ["y"]
    y = response.outputs["y"]
    assert (y.dtype, [dim.size for dim in y.tensor_shape.dim]) == (tf.float32, [2, 1])
    assert list(y.float_val) == [2.5, 3.0]
    assert y.tensor_content == b""


def test_predict_reads_contents_and_values_one_of_which_fills_the_shape(served):
    request = predict_request("any", x=np.arange(6, dtype=np.float32).reshape(2, 3))
    assert request.inputs["x"].tensor_content
    one = predict_pb2.PredictRequest()
    one.CopyFrom(request)
    one.inputs["x"].tensor_content = b""
    one.inputs["x"].float_val.append(1.5)

    many = tf.make_ndarray(served.predictions.Predict(request).outputs["double"])
    filled = tf.make_ndarray(served.predictions.Predict(one).outputs["double"])

    np.testing.assert_array_equal(many, [[0, 2, 4], [6, 8, 10]])
    np.testing.assert_array_equal(filled, [[3, 3, 3], [3, 3, 3]])


def test_predict_takes_several_inputs_and_filters_outputs(served):
    request = predict_request("several", a=FEATURES, b=FEATURES, factor=np.float32(3))
    everything = served.predictions.Predict(request).outputs
    request.output_filter.append("total")
    filtered = served.predictions.Predict(request).outputs

    np.testing.assert_array_equal(tf.make_ndarray(everything["sum"]), 6 * FEATURES)
    assert (everything["rows"].int_val, len(everything["rows"].tensor_shape.dim)) == ([2], 0)
    assert list(filtered) == ["total"]
    assert list(filtered["total"].float_val) == [60.0]


def test_strings_are_answered_as_bytes(served):
    text = np.array([[b"a\0b", b"\xff"]], object)

    outputs = served.predictions.Predict(predict_request("strings", text=text)).outputs

    assert list(outputs["upper_bytes"].string_val) == [b"A\0B", b"\xff"]
    assert list(outputs["length"].int_val) == [3, 1]


@pytest.mark.parametrize("dtype", written.TYPES, ids=lambda dtype: dtype.name)
def test_every_type_goes_through_the_server_unchanged(served, dtype):
    value = np.array([[b"1", b"0"]], object)
    if dtype != tf.string:
        value = np.array([[1, 0]]).astype(dtype.as_numpy_dtype)
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "types", f"echo_{dtype.name}"
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(value, dtype))

    answer = served.predictions.Predict(request).outputs["y"]

    assert answer.dtype == dtype.as_datatype_enum
    np.testing.assert_array_equal(tf.make_ndarray(answer), value)


def test_the_option_puts_outputs_into_tensor_content(models):
    served = Served(models, RpcOptions(tensor_content=True))
    try:
        y = served.predictions.Predict(predict_request("half", x=[[1.0]])).outputs["y"]
        text = predict_request("strings", text=[b"ab"])
        upper = served.predictions.Predict(text).outputs["upper_bytes"]
    finally:
        served.close()

    assert (y.tensor_content, list(y.float_val)) == (np.float32(2.5).tobytes(), [])
    assert tf.make_ndarray(upper).tolist() == [b"AB"]  # what no Python client reads otherwise


def test_messages_may_be_larger_than_the_4_megabytes_of_grpc(served):
    x = np.arange(2**21, dtype=np.float32)  # 8 MB

    response = served.predictions.Predict(predict_request("any", x=x), timeout=60)

    np.testing.assert_array_equal(tf.make_ndarray(response.outputs["double"]), 2 * x)


def test_versions_and_labels_choose_the_model(served):
    by_version, by_label = predict_request("half", x=[[1.0]]), predict_request("half", x=[[1.0]])
    by_version.model_spec.version.value = 1
    by_label.model_spec.version_label = "stable"

    for request in (by_version, by_label):
        assert served.predictions.Predict(request).model_spec.version.value == 1
    assert served.models.specs[-2:] == [
        ModelSpec("half", version=1),
        ModelSpec("half", label="stable"),
    ]


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


def test_long_errors_are_cut_after_1024_bytes(served):
    names = {f"zürich{number:04}": [1.0] for number in range(400)}

    code, text = refused(served.predictions.Predict, predict_request("half", **names))

    assert code is INVALID
    assert text.startswith("input size does not match signature: 400!=1 len({zürich0000,")
    assert text.endswith("...TRUNCATED")
    assert 1023 <= len(text.removesuffix("...TRUNCATED").encode()) <= 1024


def classify_request(name: str, signature: str = "") -> classification_pb2.ClassificationRequest:
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = name, signature
    return request


def test_classify_answers_per_example(served):
    request = classify_request("half", "classify_both")
    request.input.example_list.examples.extend([written.example(x=2.0), written.example(x=4.0)])

    response = served.predictions.Classify(request)

    rows = response.result.classifications
    assert [[(c.label, c.score) for c in row.classes] for row in rows] == [
        [("low", -3.0), ("high", 3.0)],
        [("low", -4.0), ("high", 4.0)],
    ]
    assert response.model_spec.signature_name == "classify_both"
    assert response.model_spec.version.value == 2


def test_a_context_is_part_of_every_example_that_does_not_say_otherwise(served):
    request = classify_request("classifier")
    examples = request.input.example_list_with_context
    examples.context.CopyFrom(written.example(name=b"shared"))
    examples.examples.append(written.example(x=[1.0, 2.0]))
    examples.examples.append(written.example(x=[3.0, 4.0], name=b"own"))

    response = served.predictions.Classify(request)

    rows = response.result.classifications
    assert [[c.label for c in row.classes] for row in rows] == [
        ["shared:first", "shared:second"],
        ["own:first", "own:second"],
    ]
    assert [c.score for c in rows[1].classes] == [3.0, 4.0]
    assert response.model_spec.signature_name == "serving_default"


def test_labels_that_are_no_text_are_sent_readable(served):
    request = classify_request("classifier")
    request.input.example_list.examples.append(written.example(x=[1.0, 2.0], name=b"\xff"))

    row = served.predictions.Classify(request).result.classifications[0]

    assert [c.label for c in row.classes] == ["\ufffd:first", "\ufffd:second"]


def test_regress_answers_a_value_per_example(served):
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = "half"
    request.model_spec.signature_name = "regress_x_to_y"
    request.input.example_list.examples.extend([written.example(x=2.0), written.example(x=0.5)])

    response = served.predictions.Regress(request)

    assert [found.value for found in response.result.regressions] == [3.0, 2.25]
    assert response.model_spec.signature_name == "regress_x_to_y"


@pytest.mark.parametrize("kind", [None, "example_list", "example_list_with_context"])
def test_an_empty_input_is_refused(served, kind):
    request = classify_request("half", "classify_x_to_y")
    if kind:
        getattr(request.input, kind).SetInParent()
    assert refused(served.predictions.Classify, request) == (INVALID, "Input is empty.")

    regress = regression_pb2.RegressionRequest(model_spec=request.model_spec, input=request.input)
    regress.model_spec.signature_name = "regress_x_to_y"
    assert refused(served.predictions.Regress, regress) == (INVALID, "Input is empty.")


def test_an_unknown_signature_and_a_bad_example_are_refused(served):
    request = classify_request("half", "none")
    request.input.example_list.examples.append(written.example(x=1.0))
    code, text = refused(served.predictions.Classify, request)
    assert code is INVALID
    assert text.startswith("No signature was found with the name: none")

    request.model_spec.signature_name = "classify_x_to_y"
    request.input.example_list.examples.append(written.example(x=1))  # int64, not float
    code, text = refused(served.predictions.Classify, request)
    assert code is INVALID
    assert "Data types don't match" in text


def multi_request(*tasks: tuple[str, str, str]) -> inference_pb2.MultiInferenceRequest:
    request = inference_pb2.MultiInferenceRequest()
    for model, signature, method in tasks:
        task = request.tasks.add(method_name=method)
        task.model_spec.name, task.model_spec.signature_name = model, signature
    request.input.example_list.examples.extend([written.example(x=2.0), written.example(x=4.0)])
    return request


def test_multi_inference_answers_in_order_with_the_version_of_the_first_task(served):
    request = multi_request(
        ("half", "regress_x_to_y2", REGRESS), ("half", "classify_x_to_y", CLASSIFY)
    )
    request.tasks[0].model_spec.version.value = 1

    results = served.predictions.MultiInference(request).results

    assert [found.value for found in results[0].regression_result.regressions] == [4.0, 5.0]
    rows = results[1].classification_result.classifications
    assert [row.classes[0].score for row in rows] == [3.0, 4.0]
    assert [result.model_spec.version.value for result in results] == [1, 1]
    assert results[1].model_spec.signature_name == "classify_x_to_y"


@pytest.mark.parametrize(
    ("tasks", "code", "text"),
    [
        ((), INVALID, "ModelSpec has no name specified."),
        ((("", "", REGRESS),), INVALID, "ModelSpec has no name specified."),
        (
            (("half", "regress_x_to_y", REGRESS), ("", "regress_x_to_y2", REGRESS)),
            INVALID,
            "Found ModelSpec with an empty model name.",
        ),
        (
            (("half", "regress_x_to_y", REGRESS), ("any", "", REGRESS)),
            INVALID,
            "All ModelSpecs in a MultiInferenceRequest must access the same model name.",
        ),
        (
            (("half", "regress_x_to_y", REGRESS), ("half", "regress_x_to_y", REGRESS)),
            INVALID,
            "Duplicate evaluation of signature: regress_x_to_y",
        ),
        (
            (("half", "", "tensorflow/serving/predict"),),
            grpc.StatusCode.UNIMPLEMENTED,
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
    ],
)
def test_wrong_tasks_are_refused(served, tasks, code, text):
    assert refused(served.predictions.MultiInference, multi_request(*tasks)) == (code, text)


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
    assert served.reloaded[0].model_config_list.config[0].base_path == "/models/good"
    assert bad == (grpc.StatusCode.UNKNOWN, "1 model(s) did not become available: {bad}")


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


def test_who_watches_is_answered_while_all_others_compute(models, monkeypatch):
    served, half = Served(models, RpcOptions(health=True)), models.servables["half", 2]
    go, run = threading.Event(), half.compute
    monkeypatch.setattr(half, "compute", lambda *given: go.wait(60) and run(*given))
    busy = [
        served.predictions.Predict.future(predict_request("half", x=[1.0]), timeout=60)
        for _ in range(6)
    ]
    check = served.channel.unary_unary("/grpc.health.v1.Health/Check")
    asked = get_model_status_pb2.GetModelStatusRequest()
    asked.model_spec.name = "half"
    for _ in range(3):
        assert check(b"", timeout=20) == b"\x08\x01"
        assert len(served.management.GetModelStatus(asked, timeout=20).model_version_status) == 2
    assert not any(call.done() for call in busy)
    go.set()
    for call in busy:
        assert call.result().outputs["y"].float_val == [2.5]
    served.close()


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


def test_a_request_whose_time_is_over_does_not_run_the_model(models, monkeypatch):
    served, runs, execute = Served(models), [], calls.execute
    monkeypatch.setattr(calls, "execute", lambda *given: runs.append(given) or execute(*given))
    request = predict_request("half", x=[[1.0]])
    try:
        models.gate.clear()
        with pytest.raises(grpc.RpcError) as caught:
            served.predictions.Predict(request, timeout=0.3)
        models.gate.set()
        assert served.predictions.Predict(request, timeout=20).outputs["y"].float_val == [2.5]
    finally:
        models.gate.set()
        served.close()  # waits for the late request

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(runs) == 1


def test_an_error_of_our_own_is_internal_and_logged(served, monkeypatch, caplog):
    monkeypatch.setattr(served.models, "use", lambda spec: 1 / 0)

    with caplog.at_level(logging.ERROR, "tfapp.serving.rpc"):
        answer = refused(served.predictions.Predict, predict_request("half", x=[1.0]))

    assert answer == (grpc.StatusCode.INTERNAL, "ZeroDivisionError: division by zero")
    assert "ZeroDivisionError" in caplog.text


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


def test_method_names_are_checked_if_asked_for(models):
    served = Served(models, RpcOptions(check_method_name=True))
    request = classify_request("half", "regress_x_to_y")
    request.input.example_list.examples.append(written.example(x=1.0))
    try:
        answer = refused(served.predictions.Classify, request)
    finally:
        served.close()

    text = f"Expected classification signature method_name to be {CLASSIFY}. Was: {REGRESS}"
    assert answer == (INVALID, text)


def test_many_clients_at_once_get_their_own_answers(served):
    calls = [
        served.predictions.Predict.future(predict_request("half", x=[[float(number)]]))
        for number in range(200)
    ]

    found = [call.result(timeout=60).outputs["y"].float_val[0] for call in calls]

    assert found == [number / 2 + 2 for number in range(200)]


def test_a_port_that_is_taken_is_not_shared(served):
    first, second = make_server(1), make_server(1)
    port = first.add_insecure_port("localhost:0")

    with pytest.raises(RuntimeError, match="Failed to bind"):
        second.add_insecure_port(f"localhost:{port}")


class Records(Observer):
    """What is told of requests."""

    def __init__(self) -> None:
        self.told: list[RequestRecord] = []

    def request(self, record: RequestRecord) -> None:
        self.told.append(record)


@pytest.fixture
def told(models):
    """A server, and what it tells of its requests."""
    records = Records()
    served = Served(models, observer=records)
    yield served, records.told
    served.close()


def test_sizes_of_request_and_answer_are_those_of_the_messages(told):
    served, records = told
    request = predict_request("half", x=np.zeros((3, 1), np.float32))
    response = served.predictions.Predict(request)
    (record,) = records
    assert (record.code, record.model, record.rows) == (Code.OK, "half", 3)
    assert record.request_bytes == request.ByteSize()
    assert record.answer_bytes == response.ByteSize()


@pytest.mark.parametrize("method", ["Predict", "Classify", "Regress", "MultiInference"])
def test_what_is_no_message_is_refused_and_told_of(told, method):
    served, records = told
    call = served.channel.unary_unary(f"/tensorflow.serving.PredictionService/{method}")
    assert refused(call, b"\xff\xff") == (
        grpc.StatusCode.INTERNAL,
        "Exception deserializing request!",
    )
    (record,) = records
    assert (record.api, record.code, record.request_bytes) == (method, Code.INTERNAL, 2)
