"""The server as an object of this process: its listeners, its config file, its end."""

from __future__ import annotations

import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from models_for_tests import (
    BIAS,
    WEIGHTS,
    write_example_classifier,
    write_half_plus_two,
    write_keras,
    write_tagged,
)
from ports_for_tests import free_port
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tfapp.serving.configs import configs_of
from tfapp.serving.flags import Flags, StartError
from tfapp.serving.models import ModelSpec
from tfapp.serving.observing import Observer
from tfapp.serving.ports import check_ports
from tfapp.serving.server import ModelServer

ENTRY = 'config {{ name: "{}" base_path: "{}" model_platform: "tensorflow" {} }}'


@pytest.fixture
def models(tmp_path):
    """Two models of one version each, by name."""
    write_half_plus_two(tmp_path / "half" / "1")
    write_keras(tmp_path / "keras" / "5")
    return {name: tmp_path / name for name in ("half", "keras")}


def config_of(models, *names, more=""):
    entries = " ".join(ENTRY.format(name, models[name], more) for name in names)
    return f"model_config_list {{ {entries} }}"


@contextmanager
def running(observers=(), **given):
    flags = Flags(**given)
    server = ModelServer(flags, configs_of(flags), observers=observers, drain_seconds=5)
    try:
        assert server.start(lambda: False)
        yield server
    finally:
        server.close()


def ask(port, method, path, content=None, host="localhost", **headers):
    connection = http.client.HTTPConnection(host, port, timeout=30)
    connection.request(method, path, None if content is None else json.dumps(content), headers)
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.02)


def test_several_models_are_served_and_the_file_is_followed(models, tmp_path):
    file = tmp_path / "models.config"
    file.write_text(config_of(models, "half"))
    port = free_port()
    with running(
        port=free_port(),
        rest_api_port=port,
        model_config_file=str(file),
        model_config_file_poll_wait_seconds=1,
        allow_version_labels_for_unavailable_models=True,
    ) as server:
        path = "/v1/models/keras/labels/stable:predict"
        rows = {"instances": [[1.0, 2.0], [0.5, -1.0]]}
        assert ask(port, "POST", path, rows)[0] in (400, 404)
        file.write_text(
            config_of(models, "keras", more="version_labels { key: 'stable' value: 5 }")
        )
        until(lambda: ask(port, "POST", path, rows)[0] == 200)
        answer = json.loads(ask(port, "POST", path, rows)[1])
        expected = np.array(rows["instances"]) @ WEIGHTS + BIAS
        np.testing.assert_allclose(answer["predictions"], expected, rtol=1e-6)
        until(lambda: ask(port, "POST", "/v1/models/half:predict", {"instances": [1.0]})[0] == 404)
        file.write_text("broken")
        time.sleep(1.5)
        assert ask(port, "POST", path, rows)[0] == 200, "what was served is served on"
        assert server.models.names() == ("keras",)


def test_a_reload_by_grpc_returns_when_the_new_model_answers(models):
    port = free_port()
    with running(port=port, model_name="half", model_base_path=str(models["half"])) as server:
        stub = model_service_pb2_grpc.ModelServiceStub(grpc.insecure_channel(f"localhost:{port}"))
        request = model_management_pb2.ReloadConfigRequest()
        text_format.Parse(config_of(models, "half", "keras"), request.config)
        assert stub.HandleReloadConfigRequest(request, timeout=30).status.error_code == 0
        with server.models.use(ModelSpec("keras")) as servable:
            assert servable.version == 5
            (signature,) = [s for n, s in servable.signatures.items() if n == "serving_default"]
            outputs = servable.run(signature, {"features": np.ones([1, 2], np.float32)})
        np.testing.assert_allclose(outputs["output_0"], np.ones([1, 2]) @ WEIGHTS + BIAS)


def test_grpc_may_listen_on_a_socket_alone(models, tmp_path):
    path = tmp_path / "grpc.socket"
    with running(
        port=0,
        grpc_socket_path=str(path),
        model_base_path=str(models["half"]),
        enable_serialization_as_tensor_content=True,
        grpc_channel_arguments="grpc.max_receive_message_length=5000",
    ):
        stub = prediction_service_pb2_grpc.PredictionServiceStub(
            grpc.insecure_channel(f"unix:{path}")
        )
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "default"
        request.inputs["x"].CopyFrom(tf.make_tensor_proto([[1.0], [2.0]], tf.float32))
        answer = stub.Predict(request, timeout=30).outputs["y"]
        assert answer.tensor_content == np.array([2.5, 3.0], np.float32).tobytes()
        request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.zeros([2000, 1], np.float32)))
        with pytest.raises(grpc.RpcError) as caught:
            stub.Predict(request, timeout=30)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_flags_of_rest_and_health_reach_those_who_answer(tmp_path):
    write_example_classifier(tmp_path / "1")
    ports = {"port": free_port(), "rest_api_port": free_port()}
    with running(
        **ports,
        model_base_path=str(tmp_path),
        rest_api_enable_cors_support=True,
        enable_signature_method_name_check=True,
        enable_grpc_healthcheck_service=True,
    ):
        rest = ports["rest_api_port"]
        status, _, headers = ask(rest, "GET", "/v1/models/default")
        assert (status, headers["Access-Control-Allow-Origin"]) == (200, "*")
        # A signature that TensorFlow 2 wrote is for predict, whatever its outputs are.
        body = {"examples": [{"x": [1.0, 2.0]}]}
        assert ask(rest, "POST", "/v1/models/default:classify", body)[0] == 400
        if socket.has_dualstack_ipv6():
            assert ask(rest, "GET", "/readyz", host="127.0.0.1")[0] == 200
            assert ask(rest, "GET", "/readyz", host="::1")[0] == 200
        channel = grpc.insecure_channel(f"localhost:{ports['port']}")
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        assert check(b"", timeout=30) == b"\x08\x01"  # status: SERVING


def test_after_the_end_nobody_listens_and_the_ports_are_free(models):
    ports = {"port": free_port(), "rest_api_port": free_port()}
    with running(**ports, model_base_path=str(models["half"])):
        for flag, port in ports.items():
            with pytest.raises(StartError, match=f"port {port} is in use"):
                check_ports(Flags(**{"port": 0, flag: port}))
    for port in ports.values():
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("localhost", port), timeout=5)
    with running(**ports, model_base_path=str(models["half"])):
        assert ask(ports["rest_api_port"], "GET", "/readyz")[0] == 200


def test_who_gives_up_while_models_load_does_not_listen(tmp_path):
    (tmp_path / "empty").mkdir()
    port = free_port()
    flags = Flags(port=port, model_base_path=str(tmp_path / "empty"))
    server = ModelServer(flags, configs_of(flags))
    try:
        assert not server.start(lambda: True)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("localhost", port), timeout=5)
    finally:
        server.close()


def test_the_graph_of_the_given_tags_is_loaded(tmp_path):
    write_tagged(tmp_path / "1", "tpu", "serve")
    given = {"port": free_port(), "model_base_path": str(tmp_path), "max_num_load_retries": 0}
    with running(**given, saved_model_tags="tpu,serve") as server:
        assert server.models.ready()
    with pytest.raises(StartError, match="Could not find meta graph"), running(**given):
        pass


def test_a_load_is_tried_as_often_and_as_fast_as_the_flags_say(tmp_path, caplog):
    (tmp_path / "1").mkdir()
    retries = {"max_num_load_retries": 2, "load_retry_interval_micros": 1000}
    with (
        pytest.raises(StartError, match="did not become available"),
        running(port=free_port(), model_base_path=str(tmp_path), **retries),
    ):
        pass
    assert caplog.text.count("cannot load default version 1") == 3
    assert "Trying again in 0.001 s." in caplog.text


@pytest.mark.parametrize("per_model", [False, True], ids=["server", "version"])
def test_requests_are_batched_as_the_file_says(models, tmp_path, per_model):
    file = tmp_path / "batching.config"
    small = "max_batch_size { value: 4 } batch_timeout_micros { value: 20000 }"
    file.write_text("" if per_model else small)
    if per_model:
        (models["half"] / "1" / "batching_params.pbtxt").write_text(small)
    rest = free_port()
    batches = []

    class Seen(Observer):
        def batch(self, record):
            batches.append(record)

    with running(
        [Seen()],
        port=free_port(),
        rest_api_port=rest,
        model_base_path=str(models["half"]),
        enable_batching=True,
        batching_parameters_file=str(file),
        enable_per_model_batching_parameters=per_model,
    ):
        url = "/v1/models/default:predict"
        with ThreadPoolExecutor(8) as pool:
            answers = list(
                pool.map(lambda i: ask(rest, "POST", url, {"instances": [float(i)]}), range(40))
            )
        large = ask(rest, "POST", url, {"instances": [1.0] * 5})
        scalar = ask(rest, "POST", url, {"inputs": 1.0})

    assert [json.loads(body)["predictions"] for _, body, _ in answers] == [
        [i / 2 + 2] for i in range(40)
    ]
    assert max(len(batch.rows) for batch in batches) > 1
    assert all(batch.padded_rows <= 4 for batch in batches)
    assert large[0] == 400
    assert b"Task size 5 is larger than maximum input batch size 4" in large[1]
    assert scalar[0] == 400
    assert b"input tensors must have at least one dimension" in scalar[1]


def test_a_wrong_file_of_a_version_is_an_error_of_that_version(models):
    (models["half"] / "1" / "batching_params.pbtxt").write_text("max_batch_size: 4")
    with (
        pytest.raises(StartError, match=r"batching_params.pbtxt:1:"),
        running(
            port=free_port(),
            model_base_path=str(models["half"]),
            max_num_load_retries=0,
            enable_batching=True,
            enable_per_model_batching_parameters=True,
        ),
    ):
        pass
