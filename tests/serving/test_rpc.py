from __future__ import annotations

import grpc
import models_for_tests as written
import numpy as np
import pytest
import tensorflow as tf
from rpc_for_tests import Served, load_models, predict_request, refused
from tensorflow_serving.apis import predict_pb2

from tfapp.serving import calls
from tfapp.serving.models import ModelSpec
from tfapp.serving.observing import Observer, RequestRecord
from tfapp.serving.rpc import RpcOptions, make_server
from tfapp.serving.status import Code

FEATURES = np.array([[1, 2], [3, 4]], np.float32)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    names = ("half", "several", "strings", "any", "types")
    return load_models(tmp_path_factory.mktemp("rpc"), *names)


@pytest.fixture(scope="module")
def served(models):
    served = Served(models)
    yield served
    served.close()


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


def test_many_clients_at_once_get_their_own_answers(served):
    calls = [
        served.predictions.Predict.future(predict_request("half", x=[[float(number)]]))
        for number in range(200)
    ]

    found = [call.result(timeout=60).outputs["y"].float_val[0] for call in calls]

    assert found == [number / 2 + 2 for number in range(200)]


def test_a_request_whose_time_is_over_does_not_run_the_model(models, monkeypatch):
    served, runs, execute = Served(models), [], calls.execute
    monkeypatch.setattr(calls, "execute", lambda *given: runs.append(given) or execute(*given))
    request = predict_request("half", x=[[1.0]])
    try:
        models.gate.clear()
        models.specs.clear()
        with pytest.raises(grpc.RpcError) as caught:
            served.predictions.Predict(request, timeout=1)
        assert models.specs, "it has begun"
        models.gate.set()
        assert served.predictions.Predict(request, timeout=20).outputs["y"].float_val == [2.5]
    finally:
        models.gate.set()
        served.close()  # waits for the late request

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(runs) == 1


def test_a_port_that_is_taken_is_not_shared():
    first, second = make_server(1), make_server(1)
    try:
        port = first.add_insecure_port("localhost:0")
        with pytest.raises(RuntimeError, match="Failed to bind"):
            second.add_insecure_port(f"localhost:{port}")
    finally:
        for server in (first, second):
            server.stop(None)


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
