"""`tfapp serve` as a real process: under requests, and on its way to the end."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import grpc
import numpy as np
import psutil
import pytest
import tensorflow as tf
from counter_for_tests import write_counter
from ports_for_tests import free_port
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tfapp.errors import ExitCode
from tfapp.serving.configs import configs_of
from tfapp.serving.flags import Flags
from tfapp.serving.server import ModelServer


@contextmanager
def server(folder, *words):
    """Gives the process of `tfapp serve`, which is killed if nobody has ended it."""
    command = [sys.executable, "-m", "tfapp", "serve", *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


class Client(threading.Thread):
    """Asks one question after the other until the server may no longer be asked."""

    def __init__(self, ask, refusal):
        super().__init__(daemon=True)
        self._ask, self._refusal = ask, refusal
        self.answers = []
        self.lost = []

    def run(self):
        while True:
            try:
                self.answers.append(self._ask())
            except self._refusal:
                return
            except Exception as error:
                self.lost.append(repr(error))
                return


def rest_client(port):
    connection = http.client.HTTPConnection("localhost", port, timeout=60)

    def ask(signature="serving_default", **inputs):
        body = json.dumps({"signature_name": signature, "inputs": inputs or {"x": [0.5]}})
        connection.request("POST", "/v1/models/counter:predict", body)
        answer = connection.getresponse()
        content = json.loads(answer.read())
        assert answer.status == 200, (answer.status, content)
        return content["outputs"]

    return ask


def grpc_predict(stub, signature="serving_default", **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "counter"
    request.model_spec.signature_name = signature
    for name, value in (inputs or {"x": np.array([0.5], np.float32)}).items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    answer = stub.Predict(request, timeout=60)
    return tf.make_ndarray(answer.outputs["y"]).tolist()


class Refused(Exception):
    """The server said that it does not take the request."""


def grpc_client(channel):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

    def ask():
        try:
            return grpc_predict(stub)
        except grpc.RpcError as error:
            # What arrives while gRPC closes its connections is not run, and answered so.
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
                raise Refused from error
            raise

    return ask


def until(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.02)


def test_versions_change_and_the_server_ends_without_a_request_lost(counter, tmp_path):
    ports = {"rest": free_port(), "grpc": free_port()}
    words = ("counter", "--port", ports["grpc"], f"--rest_api_port={ports['rest']}")
    with server(tmp_path, *words) as process:
        told = process.stdout.readline()
        assert told == (
            "counter version 1 (serving_default, slow):"
            f" REST http://localhost:{ports['rest']}/v1/models/counter:predict,"
            f" gRPC 0.0.0.0:{ports['grpc']}\n"
        )
        channel = grpc.insecure_channel(f"localhost:{ports['grpc']}")
        refusal = (ConnectionRefusedError, Refused)
        clients = [Client(rest_client(ports["rest"]), refusal) for _ in range(2)]
        clients += [Client(grpc_client(channel), refusal) for _ in range(2)]
        for client in clients:
            client.start()
        until(lambda: all(len(client.answers) > 5 for client in clients))
        for version in (2, 3):
            write_counter(counter, version)
            until(lambda version=version: all(c.answers[-1] == [version + 0.5] for c in clients))
        status = get_model_status_pb2.GetModelStatusRequest()
        status.model_spec.name = "counter"
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        until(lambda: models.GetModelStatus(status).model_version_status[1].state == 50)
        known = models.GetModelStatus(status).model_version_status
        assert [(v.version, v.state) for v in known] == [(3, 30), (2, 50), (1, 50)]

        slow = {"rest": [], "grpc": []}
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        seconds = {"x": np.array([1], np.float32), "seconds": np.array(2.0)}
        asked = [
            threading.Thread(
                target=lambda: slow["grpc"].append(grpc_predict(stub, "slow", **seconds))
            ),
            threading.Thread(
                target=lambda: slow["rest"].append(
                    rest_client(ports["rest"])("slow", x=[1.0], seconds=2.0)
                )
            ),
        ]
        for thread in asked:
            thread.start()
        time.sleep(0.7)
        process.send_signal(signal.SIGTERM)
        signalled = time.monotonic()
        for thread in (*asked, *clients):
            thread.join(60)
        out, err = process.communicate(timeout=60)
    assert slow == {"rest": [[4.0]], "grpc": [[4.0]]}
    assert time.monotonic() - signalled > 0.5, "the slow requests were under way"
    assert [client.lost for client in clients] == [[]] * 4
    for client in clients:
        versions = [answer[0] - 0.5 for answer in client.answers]
        assert versions == sorted(versions), "nobody was sent back"
        assert set(versions) == {1, 2, 3}
    assert process.returncode == 0, err
    assert out == ""
    assert "stopping" in err
    assert "Traceback" not in err
    assert f"Running gRPC ModelServer at 0.0.0.0:{ports['grpc']} ..." in err
    assert f"Exporting HTTP/REST API at:localhost:{ports['rest']} ..." in err


def test_a_second_signal_does_not_wait_for_the_request_under_way(counter, tmp_path):
    port = free_port()
    words = ("counter", "--port", port, "--rest_api_port=0", "--access_log")
    with server(tmp_path, *words) as process:
        assert process.stdout.readline().startswith("counter version 1 ")
        watched = psutil.Process(process.pid)
        channel = grpc.insecure_channel(f"localhost:{port}")
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        assert grpc_predict(stub) == [1.5]
        request = predict_pb2.PredictRequest()
        request.model_spec.name, request.model_spec.signature_name = "counter", "slow"
        request.inputs["x"].CopyFrom(tf.make_tensor_proto([1.0]))
        request.inputs["seconds"].CopyFrom(tf.make_tensor_proto(600.0, tf.float64))
        used = watched.cpu_times().user
        asked = stub.Predict.future(request)
        until(lambda: watched.cpu_times().user > used + 0.5)  # it computes
        process.send_signal(signal.SIGTERM)
        next(line for line in process.stderr if line.startswith("stopping;"))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        asked.cancel()
    assert process.returncode == ExitCode.INTERRUPTED
    assert "stopping" not in err, "it is not promised twice"
    assert "error" not in err


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_the_end_is_clean_though_nobody_reads_the_log_any_more(counter, tmp_path, log_format):
    words = ("counter", "--port", free_port(), "--rest_api_port=0", f"--log_format={log_format}")
    with server(tmp_path, *words) as process:
        assert process.stdout.readline().startswith("counter version 1 ")
        process.stderr.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == ExitCode.DONE


def test_a_line_that_was_lost_with_the_reader_does_not_change_the_exit_code():
    script = (
        "import contextlib, os, sys; from tfapp.cli import serve\n"
        "sys.stderr = os.fdopen(os.dup(2), 'w', buffering=1, closefd=False)\n"  # as cli.quiet does
        "sys.stdin.readline()\n"
        "with contextlib.suppress(OSError): print('lost', file=sys.stderr)\n"
        "serve._pass_over_lost_stderr()"
    )
    pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", script], **pipes) as process:
        process.stderr.close()
        process.stdin.write("go on\n")
        process.stdin.close()
        assert process.wait(60) == ExitCode.DONE


def test_a_request_that_takes_too_long_is_ended_by_the_time_limit(counter):
    port = free_port()
    flags = Flags(
        port=free_port(),
        rest_api_port=port,
        rest_api_timeout_in_ms=200,
        model_name="counter",
        model_base_path=str(counter),
    )
    server = ModelServer(flags, configs_of(flags))
    try:
        assert server.start(lambda: False)
        with pytest.raises(AssertionError) as caught:
            rest_client(port)("slow", x=[1.0], seconds=1.0)
        assert "504" in str(caught.value)
    finally:
        server.close()


def test_a_signal_while_waiting_for_a_model_ends_it(tmp_path):
    (tmp_path / "empty").mkdir()
    with server(tmp_path, "--model_base_path=empty", "--port", free_port()) as process:
        line = next(line for line in process.stderr if "No versions of servable default" in line)
        assert "(eg. '/1/')?" in line
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == ExitCode.DONE, err
