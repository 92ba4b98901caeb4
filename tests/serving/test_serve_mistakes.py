"""`tfapp serve`: everything a user can get wrong."""

from __future__ import annotations

import re
import shutil
import socket
from pathlib import Path

import pytest
from ports_for_tests import free_port

from tfapp.errors import ExitCode

NOT_STARTED = 255  # as TensorFlow Serving's


@pytest.fixture
def taken():
    with socket.create_server(("", 0)) as found:
        yield found.getsockname()[1]


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
        (("--rest_busy_poll_us=a",), ExitCode.USAGE, "integer range, which is 0<=x<=100000."),
        (("--rest_body_limit_mb=a",), ExitCode.USAGE, "integer range, which is x>=0."),
        (("--rest_busy_poll_us=-1",), ExitCode.USAGE, "-1 is not in the range 0<=x<=100000."),
        (("--rest_readers=-1",), ExitCode.USAGE, "-1 is not in the range x>=0."),
        (("--rest_readers=all",), ExitCode.USAGE, "integer range, which is x>=0."),
        (("--rest_busy_pol_us=1",), ExitCode.USAGE, "Did you mean '--rest_busy_poll_us'?"),
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
def test_what_cannot_be_meant_is_answered(cli, counter, words, code, said):
    Path("empty").mkdir()
    Path("file").touch()
    Path("hollow/1").mkdir(parents=True)
    Path("named").mkdir()
    shutil.copytree(counter / "1", "named/mine")
    result = cli("serve", *words)
    refused(result, code, said)
    start = "error: Failed to start server. Error: " if code == NOT_STARTED else "error: "
    assert result.err.startswith(start)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--rest_body_limit_mb=1"], "--rest_body_limit_mb is an option"),
        (["--rest-gzip-answers"], "--rest_gzip_answers is an option"),
        (["--rest_busy_poll_us=0"], "--rest_busy_poll_us is an option"),
        (["--rest_readers=1"], "--rest_readers is an option"),
        # Even where it says what is the default anyway.
        (
            ["--rest_gzip_answers", "--rest_body_limit_mb", "512"],
            "--rest_body_limit_mb, --rest_gzip_answers are options",
        ),
    ],
    ids=["limit", "gzip", "poll", "readers", "both"],
)
def test_options_of_ours_are_not_dropped_before_the_real_server(
    cli, counter, tmp_path, words, named
):
    program = tmp_path / "server"
    program.touch(mode=0o755)
    result = cli("serve", "counter", "--server", program, *words)
    said = f"{named} of the embedded server only, and {program} would be started. Leave"
    refused(result, ExitCode.USAGE, said, "out, or add --server embedded.")


def test_options_of_ours_may_come_from_the_environment(cli, counter, tmp_path, monkeypatch):
    program = tmp_path / "server"
    program.touch(mode=0o755)
    monkeypatch.setenv("TFAPP_SERVE_REST_BODY_LIMIT_MB", "7")
    result = cli("serve", "counter", "--server", program)
    refused(result, ExitCode.USAGE, "--rest_body_limit_mb is an option of the embedded server only")


def test_a_run_without_an_export_is_told_how_to_make_one(cli, digits_run):
    result = cli("serve", "runs/digits")
    said = "run runs/digits has no SavedModel in saved_models/digits-mlp."
    refused(result, ExitCode.MISSING, said, "Type: tfapp export runs/digits")


def test_the_export_of_a_run_must_be_whole(cli, digits_run, tmp_path, monkeypatch):
    from tfapp.export.saved_model import export_run

    monkeypatch.chdir(tmp_path)
    (export_run(digits_run).path / "assets" / "labels.txt").write_text("other\n")
    result = cli("serve", "runs/digits")
    refused(result, ExitCode.FAILED, "labels.txt is not what was written. Export the run digits")


@pytest.mark.parametrize("flag", ["port", "rest_api_port"])
def test_a_port_in_use_is_named(cli, counter, taken, flag):
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


def test_a_model_that_cannot_be_loaded_makes_the_start_fail(cli, counter):
    (counter / "1" / "saved_model.pb").write_bytes(b"nonsense")
    ports = (f"--port={free_port()}", "--max_num_load_retries=0")
    result = cli("serve", "counter", *ports, f"--rest_api_port={free_port()}")
    refused(result, NOT_STARTED)
    last = result.err.splitlines()[-1]
    assert re.fullmatch(
        r"error: Failed to start server\. Error: UNKNOWN: 1 model\(s\) did not become available:"
        r" \{\{\{name: counter version: 1\} due to error: DATA_LOSS: .*\}, \}",
        last,
    ), result.err
