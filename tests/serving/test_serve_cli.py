"""`tfapp serve`: a real process under requests, and everything a user can get wrong."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
import tensorflow as tf
from ports_for_tests import free_port
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tfapp.errors import ExitCode
from tfapp.serving.configs import configs_of
from tfapp.serving.flags import Flags, StartError
from tfapp.serving.options import ServerOptions
from tfapp.serving.server import ModelServer
from tfapp.serving.status import Code

NOT_STARTED = 255  # as TensorFlow Serving's


class Counter(tf.Module):
    """Answers which version it is: `x` [?] -> `y` = x + version, at once or after a while."""

    def __init__(self, version):
        super().__init__()
        self.version = tf.Variable(float(version))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def add(self, x):
        return {"y": x + self.version}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, "x"),
            tf.TensorSpec([], tf.float64, "seconds"),
        ]
    )
    def add_slowly(self, x, seconds):
        end = tf.timestamp() + seconds
        turns = tf.while_loop(lambda i: tf.timestamp() < end, lambda i: [i + 1], [0.0])
        return {"y": x + self.version + 0.0 * turns[0]}


def write_counter(base, version):
    """Writes a version as one should: beside its place, then renamed."""
    model = Counter(version)
    beside = base / f".{version}"
    signatures = {"serving_default": model.add, "slow": model.add_slowly}
    tf.saved_model.save(model, str(beside), signatures=signatures)
    beside.rename(base / str(version))


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "counter"
    folder.mkdir()
    write_counter(folder, 1)
    return folder


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


def test_versions_change_and_the_server_ends_without_a_request_lost(base, tmp_path):
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
            write_counter(base, version)
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


def test_a_second_signal_does_not_wait_for_the_request_under_way(base, tmp_path):
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
def test_the_end_is_clean_though_nobody_reads_the_log_any_more(base, tmp_path, log_format):
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


def test_a_request_that_takes_too_long_is_ended_by_the_time_limit(base):
    port = free_port()
    flags = Flags(
        port=free_port(),
        rest_api_port=port,
        rest_api_timeout_in_ms=200,
        model_name="counter",
        model_base_path=str(base),
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


def test_the_real_server_is_used_where_there_is_one(tmp_path):
    program = tmp_path / "bin" / "tensorflow_model_server"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$0"; for word; do echo "$word"; done; exit 7\n')
    program.chmod(0o755)
    words = ["--port", "9", "--enable_batching", "--model_base_path=/m", "--ssl_config_file", "s"]
    done = subprocess.run(
        [sys.executable, "-m", "tfapp", "serve", *words],
        env=os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    expected = ["--port=9", "--ssl_config_file=s", "--model_base_path=/m", "--enable_batching=true"]
    assert done.stdout.splitlines() == [str(program), *expected]
    assert done.stderr == f"serving with {program}\n"
    assert done.returncode == 7


class Replaced(Exception):
    """The process would be another program now."""


@pytest.fixture
def replaced(cli, tmp_path, monkeypatch):
    """Runs a command that ends in the real server, and gives its name, base path and folders."""
    program = tmp_path / "server"
    program.touch(mode=0o755)
    seen = []

    def replace(path, words):
        flags = dict(word.removeprefix("--").split("=", 1) for word in words[1:])
        base = Path(flags.pop("model_base_path"))
        seen.append((flags, base, {p.name: p.resolve() for p in base.iterdir()}))
        raise Replaced

    monkeypatch.setattr(os, "execv", replace)

    def run(*words):
        result = cli("serve", "--server", program, *words)
        assert seen, result.err
        return seen.pop()

    return run


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--rest_body_limit_mb=1"], "--rest_body_limit_mb is an option"),
        (["--rest-gzip-answers"], "--rest_gzip_answers is an option"),
        # Even where it says what is the default anyway.
        (
            ["--rest_gzip_answers", "--rest_body_limit_mb", "512"],
            "--rest_body_limit_mb, --rest_gzip_answers are options",
        ),
    ],
    ids=["limit", "gzip", "both"],
)
def test_options_of_ours_are_not_dropped_before_the_real_server(cli, base, tmp_path, words, named):
    program = tmp_path / "server"
    program.touch(mode=0o755)
    result = cli("serve", "counter", "--server", program, *words)
    said = f"{named} of the embedded server only, and {program} would be started. Leave"
    refused(result, ExitCode.USAGE, said, "out, or add --server embedded.")


def test_options_of_ours_may_come_from_the_environment(cli, base, tmp_path, monkeypatch):
    program = tmp_path / "server"
    program.touch(mode=0o755)
    monkeypatch.setenv("TFAPP_SERVE_REST_BODY_LIMIT_MB", "7")
    result = cli("serve", "counter", "--server", program)
    refused(result, ExitCode.USAGE, "--rest_body_limit_mb is an option of the embedded server only")


def test_options_of_ours_reach_the_server(cli, base, monkeypatch):
    given = []

    class Kept(ModelServer):
        def __init__(self, flags, configs, **options):
            given.append(options["options"])
            raise StartError(Code.UNKNOWN, "enough")

    monkeypatch.setattr("tfapp.serving.server.ModelServer", Kept)
    ports = (f"--port={free_port()}", f"--rest_api_port={free_port()}")
    cli(
        "serve",
        "counter",
        *ports,
        "--rest_body_limit_mb=3",
        "--rest-gzip-answers",
        "--no-adaptive-batching",
    )
    cli("serve", "counter", *ports, "--rest_body_limit_mb=0")
    cli("serve", "counter", *ports)
    assert given == [
        ServerOptions(body_limit=3 * 2**20, gzip_answers=True, adaptive_batching=False),
        ServerOptions(body_limit=None),
        ServerOptions(body_limit=512 * 2**20),
    ]


def test_a_folder_of_versions_is_served_by_its_own_name(replaced, base):
    flags, path, folders = replaced("counter")
    assert flags == {"model_name": "counter", "rest_api_port": "8501"}
    assert (path, folders) == (base, {"1": base / "1"})
    flags, *_ = replaced("counter/", "--rest_api_port", "0", "--model_name=other")
    assert flags == {"model_name": "other"}
    # Typed is typed, even where it is what the real server would take by itself.
    flags, *_ = replaced("counter", "--model-name=default")
    assert flags == {"rest_api_port": "8501"}


def test_one_saved_model_is_served_alone(replaced, base, tmp_path):
    write_counter(base, 7)
    flags, _, folders = replaced("counter/1")
    assert flags["model_name"] == "counter"
    assert folders == {"1": base / "1"}
    (base / "7").rename(tmp_path / "mine")
    flags, path, folders = replaced(tmp_path / "mine")
    assert flags["model_name"] == "mine"
    assert folders == {"1": tmp_path / "mine"}
    again = replaced(tmp_path / "mine", "--model_name=other")[1]
    assert again == path, "the real server cannot clean up: its folder is the same each time"
    assert path.is_relative_to(cache_of(tmp_path)), path
    replaced("counter/1")
    assert len(list((cache_of(tmp_path) / "tfapp" / "serve").iterdir())) == 2


def test_a_saved_model_is_served_without_a_home_to_write_to(replaced, base, tmp_path, monkeypatch):
    cache_of(tmp_path).touch()  # no folder can be made in it
    flags, path, folders = replaced("counter/1")
    assert (flags["model_name"], folders) == ("counter", {"1": base / "1"})
    assert not path.is_relative_to(cache_of(tmp_path))
    shutil.rmtree(path)


def test_the_newest_export_of_a_run_is_served(replaced, digits_run, tmp_path, monkeypatch):
    from tfapp.export.saved_model import export_run

    monkeypatch.chdir(tmp_path)
    exported = [export_run(digits_run).path.resolve() for _ in range(2)]
    (digits_run.path.parent / "latest").symlink_to("digits")
    for run in ("runs/latest", "digits", "latest"):
        flags, _, folders = replaced(run)
        assert flags["model_name"] == exported[0].parent.name
        assert folders == {"2": exported[1]}
    other = exported[1] / "tfapp.json"
    other.write_text(other.read_text().replace('"run": "digits"', '"run": "other"'))
    (exported[1] / "saved_model.pb").unlink()  # which is no matter of this run
    assert replaced("digits")[2] == {"1": exported[0]}


def test_the_export_of_a_run_must_be_whole(cli, digits_run, tmp_path, monkeypatch):
    from tfapp.export.saved_model import export_run

    monkeypatch.chdir(tmp_path)
    (export_run(digits_run).path / "assets" / "labels.txt").write_text("other\n")
    result = cli("serve", "runs/digits")
    refused(result, ExitCode.FAILED, "labels.txt is not what was written. Export the run digits")


@pytest.fixture
def taken():
    with socket.create_server(("", 0)) as found:
        yield found.getsockname()[1]


def cache_of(folder):
    """Returns the folder of caches that `cli` sets."""
    return folder.with_name(f"{folder.name}-cache")


def refused(result, code, *said):
    assert result.code == code, result.err
    assert "Traceback" not in result.err
    assert result.out == ""
    for part in said:
        assert part in result.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), NOT_STARTED, "model_base_path and server_options.model_config_file are empty!"),
        (("--prot=1",), ExitCode.USAGE, "no flag --prot. Did you mean '--port'?"),
        (("--port=x",), ExitCode.USAGE, "--port is a whole number, found 'x'"),
        (("counter", "other"), ExitCode.USAGE, "one MODEL at a time, found counter, other"),
        (("counter", "--model_base_path=/x"), ExitCode.USAGE, "either counter or --model_base"),
        (("counter", "--model_config_file=x"), ExitCode.USAGE, "either counter or --model_config"),
        (("counter", "--mixed_precision=x"), ExitCode.USAGE, "--mixed_precision is not supported"),
        (
            ("counter", "--enable_batching", "--batching_parameters_file=none"),
            NOT_STARTED,
            "cannot read the batching parameters file none",
        ),
        (("counter", "--grpc_channel_arguments=a"), ExitCode.USAGE, "found 'a'"),
        (("counter", "--port=0"), NOT_STARTED, "At least one of server_options.grpc_port"),
        (("counter", "--batching_parameters_file=b"), NOT_STARTED, "without setting"),
        (("nothing",), ExitCode.MISSING, "it is neither a folder of SavedModels nor a run."),
        ((".",), ExitCode.MISSING, "There are models below it: type tfapp serve counter."),
        (("empty",), ExitCode.MISSING, "such as empty/1. Export a run with tfapp export."),
        (("counter", "--server", "nowhere"), ExitCode.MISSING, "no program nowhere"),
        (("--model_config_file=none",), NOT_STARTED, "cannot read the model config file none"),
        (("--model_config_file=empty",), NOT_STARTED, "model config file empty: Is a directory"),
        (("counter/1/saved_model.pb",), ExitCode.USAGE, "is a folder: type tfapp serve counter/1."),
        (("file",), ExitCode.USAGE, "file is a file, and a model is a folder: name a folder"),
        (("hollow",), ExitCode.MISSING, "there is no saved_model.pb in hollow/1. Copy the whole"),
        (("named",), ExitCode.MISSING, "one without a number: type tfapp serve named/mine."),
        (("-x",), ExitCode.USAGE, "no flag -x. "),
        (("--rest_body_limt_mb=1",), ExitCode.USAGE, "Did you mean '--rest_body_limit_mb'?"),
        (("--rest_body_limit_mb=-1",), ExitCode.USAGE, "-1 is not in the range x>=0."),
        (("counter", "--grpc_socket_path=no/s"), NOT_STARTED, "there is no folder no for the"),
        (("counter", "--port=70000"), ExitCode.USAGE, "a port from 1 to 65535, or 0 for none"),
        (
            ("counter", "--enable_model_warmup=maybe"),
            ExitCode.USAGE,
            "true or false, found 'maybe'",
        ),
        (("counter", "--model_name"), ExitCode.USAGE, "--model_name needs a value"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_meant_is_answered(cli, base, words, code, said):
    Path("empty").mkdir()
    Path("file").touch()
    Path("hollow/1").mkdir(parents=True)
    Path("named").mkdir()
    shutil.copytree(base / "1", "named/mine")
    result = cli("serve", *words)
    refused(result, code, said)
    start = "error: Failed to start server. Error: " if code == NOT_STARTED else "error: "
    assert result.err.startswith(start)


def test_a_run_without_an_export_is_told_how_to_make_one(cli, digits_run):
    result = cli("serve", "runs/digits")
    said = "run runs/digits has no SavedModel in saved_models/digits-mlp."
    refused(result, ExitCode.MISSING, said, "Type: tfapp export runs/digits")


@pytest.mark.parametrize("flag", ["port", "rest_api_port"])
def test_a_port_in_use_is_named(cli, base, taken, flag):
    result = cli("serve", "counter", f"--{flag}={taken}")
    refused(result, NOT_STARTED, f"port {taken} is in use. Choose another with --{flag}.")


def test_a_broken_config_file_is_shown_where_it_is_broken(cli, tmp_path):
    (tmp_path / "models.config").write_text("improper model config file")
    result = cli("serve", "--model_config_file=models.config")
    refused(
        result,
        NOT_STARTED,
        "Error parsing text-format tensorflow.serving.ModelServerConfig: models.config:1:1: ",
    )


def test_a_model_that_cannot_be_loaded_makes_the_start_fail(cli, base):
    (base / "1" / "saved_model.pb").write_bytes(b"nonsense")
    ports = (f"--port={free_port()}", "--max_num_load_retries=0")
    result = cli("serve", "counter", *ports, f"--rest_api_port={free_port()}")
    refused(result, NOT_STARTED)
    last = result.err.splitlines()[-1]
    assert re.fullmatch(
        r"error: Failed to start server\. Error: UNKNOWN: 1 model\(s\) did not become available:"
        r" \{\{\{name: counter version: 1\} due to error: DATA_LOSS: .*\}, \}",
        last,
    ), result.err


def test_the_version_is_that_of_tfapp_and_tensorflow(cli):
    result = cli("serve", "--version")
    assert result.code == 0
    first, second = result.out.splitlines()
    assert first.startswith("TensorFlow ModelServer: tfapp ")
    assert second == f"TensorFlow Library: {tf.__version__}"
