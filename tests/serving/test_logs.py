"""The log of the server: lines for requests, failures that repeat, text and JSON."""

from __future__ import annotations

import http.client
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
from models_for_tests import write_half_plus_two
from ports_for_tests import free_port

from tfapp.cli.server_log import LogOptions, server_log
from tfapp.errors import ExitCode
from tfapp.serving import logs
from tfapp.serving.logs import AccessLog, FailureLog, JsonFormatter, LineHandler
from tfapp.serving.observing import RequestRecord
from tfapp.serving.status import Code

SERVED = RequestRecord(
    entrypoint="REST",
    api="predict",
    model="digits",
    version=7,
    signature="serving_default",
    rows=32,
    queue_seconds=0.00125,
    run_seconds=0.0005,
    batch_rows=64,
    seconds=0.0021239,
    request_bytes=2048,
    answer_bytes=640,
)
REFUSED = RequestRecord("GRPC", "Predict", "no such", code=Code.NOT_FOUND, message='Not "there"\n.')
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}"


@pytest.fixture
def stream():
    return io.StringIO()


@pytest.fixture
def logging_to(stream):
    """Gives a function that begins to log to the stream, as text or as JSON."""
    logger = logging.getLogger("tfapp.serving")
    before = logger.level, logger.propagate
    handlers = []

    def begin(*, as_json):
        handlers.append(LineHandler(stream, as_json=as_json))
        logger.addHandler(handlers[0])
        logger.setLevel(logging.INFO)
        logger.propagate = False

    yield begin
    logger.removeHandler(handlers[0])
    logger.setLevel(before[0])
    logger.propagate = before[1]


def told(*records):
    log = AccessLog()
    for record in records:
        log.request(record)
    log.close()


def test_a_request_is_a_line_of_text(logging_to, stream):
    logging_to(as_json=False)
    told(SERVED, REFUSED)
    first, second = stream.getvalue().splitlines()
    assert re.fullmatch(
        f"{TIME} I REST predict digits OK version=7 rows=32 batch=64 queue=1.250ms run=0.500ms"
        " total=2.124ms bytes=2048/640",
        first,
    )
    assert re.fullmatch(
        f'{TIME} I GRPC Predict "no such" NOT_FOUND version=- rows=0 batch=0 queue=0.000ms'
        r' run=0.000ms total=0.000ms bytes=0/0 error="Not \\"there\\"\\n\."',
        second,
    )


def test_a_request_is_an_object_with_numbers(logging_to, stream):
    logging_to(as_json=True)
    began = time.time()
    told(SERVED, REFUSED)
    first, second = map(json.loads, stream.getvalue().splitlines())
    stamp = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})Z", first.pop("time"))
    shown = time.strptime(stamp[1][:19], "%Y-%m-%dT%H:%M:%S")
    assert abs(began - (time.mktime(shown) - time.timezone)) < 10
    assert first == {
        "level": "INFO",
        "logger": "tfapp.serving.access",
        "message": "REST predict digits OK",
        "model": "digits",
        "version": 7,
        "signature": "serving_default",
        "entrypoint": "REST",
        "api": "predict",
        "code": "OK",
        "rows": 32,
        "batch_rows": 64,
        "queue_ms": 1.25,
        "run_ms": 0.5,
        "total_ms": 2.124,
        "request_bytes": 2048,
        "answer_bytes": 640,
    }
    expected = {"model": "no such", "version": None, "code": "NOT_FOUND", "error": 'Not "there"\n.'}
    assert second.items() >= expected.items()


def test_every_request_of_many_threads_has_its_line_in_the_order_of_its_thread(logging_to, stream):
    logging_to(as_json=True)
    log = AccessLog()

    def ask(name):
        for index in range(1, 501):
            log.request(RequestRecord("REST", "predict", name, index))

    threads = [threading.Thread(target=ask, args=[f"m{index}"]) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    for index in range(4):
        versions = [line["version"] for line in lines if line["model"] == f"m{index}"]
        assert versions == list(range(1, 501))


def test_lines_that_nobody_reads_do_not_fill_the_memory_and_are_told_of(
    logging_to, stream, monkeypatch
):
    monkeypatch.setattr(logs, "_MOST_WAITING", 10)
    logging_to(as_json=True)
    blocked, entered, write = threading.Event(), threading.Event(), stream.write

    def wait(text):
        entered.set()
        blocked.wait(20)
        return write(text)

    monkeypatch.setattr(stream, "write", wait)
    log = AccessLog()
    log.request(SERVED)
    assert entered.wait(20)
    for _ in range(100):
        log.request(SERVED)
    blocked.set()
    log.close()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    missing = [line["message"] for line in lines if line["level"] == "WARNING"]
    assert missing == ["90 requests are missing here: their lines could not be written in time"]
    assert len(lines) == 1 + 10 + 1


def test_failures_of_the_server_are_told_once_until_some_time_has_passed(
    logging_to, stream, monkeypatch
):
    logging_to(as_json=False)
    log = FailureLog()
    failed = RequestRecord("REST", "predict", "digits", code=Code.UNAVAILABLE, message="full")
    for record in (SERVED, REFUSED, failed, failed, failed):
        log.request(record)
    log.request(RequestRecord("GRPC", "Predict", "digits", code=Code.INTERNAL, message="x" * 999))
    later = time.monotonic() + 11
    monkeypatch.setattr(time, "monotonic", lambda: later)
    log.request(failed)
    first, second, third = (line.split(" E ")[1] for line in stream.getvalue().splitlines())
    assert first == "REST predict of digits failed: UNAVAILABLE: full"
    assert second.startswith("GRPC Predict of digits failed: INTERNAL: xxx")
    assert len(second) < 400
    assert third == f"{first} (and 2 like it since the last line)"


def test_exceptions_and_odd_texts_are_fields_of_one_line():
    try:
        raise ValueError("a\nb \ud800")
    except ValueError:
        info = sys.exc_info()
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "odd %s", ("\ud800\n",), info)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    told = json.loads(line)
    assert told["message"] == "odd \ud800\n"
    assert told["level"] == "ERROR"
    assert told["exception"].startswith("Traceback (most recent call last):\n")
    assert told["exception"].endswith("ValueError: a\nb \ud800")


@pytest.mark.parametrize(
    ("as_json", "access", "quiet", "expected"),
    [
        (False, None, False, False),
        (True, None, False, True),
        (True, None, True, False),
        (False, True, True, True),
        (True, False, False, False),
    ],
)
def test_there_is_a_line_for_each_request_where_it_is_expected(
    capsys, as_json, access, quiet, expected
):
    before = logging.getLogger().handlers[:]
    with server_log(LogOptions(as_json, access, quiet)) as observer:
        observer.request(SERVED)
        logging.getLogger("tfapp.serving.server").info("not when it is quiet")
    err = capsys.readouterr().err
    assert ("predict digits" in err) is expected
    assert ("not when it is quiet" in err) is not quiet
    assert logging.getLogger().handlers == before
    assert logging.getLogger("tfapp.serving").handlers == []


def test_lines_of_other_libraries_are_json_too(capsys):
    import tensorflow as tf

    kept = tf.get_logger().handlers[:]
    with server_log(LogOptions(as_json=True, access=None, quiet=False)):
        tf.get_logger().warning("of TensorFlow")
        logging.getLogger("asyncio").error("of asyncio")
        logging.getLogger("grpc._server").warning("of gRPC")
        __import__("warnings").warn("of Python", stacklevel=1)
    assert tf.get_logger().handlers == kept
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["logger"] for line in lines] == [
        "tensorflow",
        "asyncio",
        "grpc._server",
        "py.warnings",
    ]


NATIVE = r"""
import os, time
from tfapp.cli import quiet

told = []
quiet._filter_native_stderr(told.append)
os.write(2, b"worth \xff reading\nW0000 00:00:17.5 1 kernel.cc:1] OP_REQUIRES failed\n")
os.write(2, b"\t [[{{node add}}]]\nlast\n")
while len(told) < 2:
    time.sleep(0.01)
print(told)
"""


def test_lines_that_cpp_writes_can_be_logged():
    command = [sys.executable, "-c", NATIVE]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "['worth \ufffd reading', 'last']\n"
    assert done.stderr == ""


# A process of `tfapp serve`.


@pytest.fixture
def base(tmp_path):
    return write_half_plus_two(tmp_path / "half" / "1").parent


def serve(base, *words):
    command = [sys.executable, "-m", "tfapp", "serve", str(base), *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # Who sets this wants to read what C++ writes, as it is.
    env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.Popen(command, cwd=base.parent, env=env, **pipes)


def test_every_line_of_a_server_is_json_when_that_is_asked_for(base):
    port = free_port()
    words = (f"--port={free_port()}", f"--rest_api_port={port}", "--log-format=json")
    with serve(base, *words) as process:
        try:
            assert process.stdout.readline().startswith("half version 1 ")
            connection = http.client.HTTPConnection("localhost", port, timeout=30)
            connection.request("POST", "/v1/models/half:predict", '{"instances": [1.0]}')
            assert connection.getresponse().status == 200
            connection.close()
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 0
    lines = [json.loads(line) for line in err.splitlines()]
    messages = [line["message"] for line in lines]
    assert f"Exporting HTTP/REST API at:localhost:{port} ..." in messages
    assert "stopping" in messages
    assert "unloaded half version 1" in messages
    (asked,) = [line for line in lines if line["logger"] == "tfapp.serving.access"]
    expected = {"message": "REST predict half OK", "version": 1, "rows": 1, "request_bytes": 20}
    assert asked.items() >= (expected | {"signature": "serving_default"}).items()
    assert 0 < asked["run_ms"] < asked["total_ms"]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)


def test_an_error_that_ends_a_server_is_json_too(base):
    (base / "1" / "saved_model.pb").write_bytes(b"nonsense")
    words = (f"--port={free_port()}", "--max_num_load_retries=0", "--log_format", "json")
    with serve(base, *words) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (ExitCode.NOT_STARTED, "")
    lines = [json.loads(line) for line in err.splitlines()]
    assert lines[-1]["level"] == "ERROR"
    assert lines[-1]["message"].startswith("Failed to start server. Error: UNKNOWN: 1 model(s) did")


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("--log_format=json",), "log_format"),
        (("--access-log",), "access_log"),
        (("--no_access_log",), "access_log"),
        (("--rest_tls",), "rest_tls"),
    ],
    ids=lambda words: "".join(words),
)
def test_the_real_server_is_not_started_with_options_it_does_not_have(
    cli, base, tmp_path, monkeypatch, words, name
):
    program = tmp_path / "real"
    program.touch(mode=0o755)
    monkeypatch.setattr(os, "execv", lambda *given: pytest.fail("it was started"))
    result = cli("serve", base, "--server", program, *words)
    assert result.code == ExitCode.USAGE
    assert result.err == (
        f"error: --{name} is an option of the embedded server only, and {program} would be started."
        " Leave it out, or add --server embedded.\n"
    )


def test_a_form_that_there_is_not_is_refused(cli, base):
    result = cli("serve", base, "--log_format=xml")
    assert result.code == ExitCode.USAGE
    assert "'text', 'json'" in result.err
