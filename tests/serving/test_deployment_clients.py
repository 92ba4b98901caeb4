"""The clients and the health checks in serving/, as they are, against a server on real ports."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml
from ports_for_tests import free_port

from tfapp.export.saved_model import export_run
from tfapp.prediction import predict
from tfapp.serving.configs import configs_of
from tfapp.serving.flags import Flags
from tfapp.serving.server import ModelServer

SERVING = Path(__file__).parents[2] / "serving"
CLIENTS = SERVING / "clients"

pytestmark = [
    pytest.mark.usefixtures("read_back_here"),
    pytest.mark.skipif(
        shutil.which("curl") is None or shutil.which("bash") is None,
        reason="one client is curl, one health check is bash: install them",
    ),
]


@contextmanager
def serving(folder):
    """Serves the versions in a folder as `digits-mlp`; gives the ports of REST and gRPC."""
    rest, grpc = free_port(), free_port()
    flags = Flags(
        port=grpc, rest_api_port=rest, model_name="digits-mlp", model_base_path=str(folder)
    )
    server = ModelServer(flags, configs_of(flags), drain_seconds=1)
    try:
        assert server.start(lambda: False)
        yield rest, grpc
    finally:
        server.close()


def run(*words):
    """Runs a client by itself: without tfapp to import."""
    alone = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, env=alone, cwd="/"
    )


def test_clients_answer_as_the_run_that_was_exported(digits_run, tmp_path):
    exported = export_run(digits_run, tmp_path / "models" / "digits-mlp")
    samples = digits_run.path / "samples.npz"
    expected = predict(digits_run.path, [samples]).probabilities
    rows, wrong = tmp_path / "rows.json", tmp_path / "wrong.json"
    rows.write_text(json.dumps({"instances": np.load(samples)["x"].tolist()}))
    wrong.write_text('{"instances": [[1, 2]]}')
    with serving(exported.path.parent) as (rest, grpc):
        url = f"http://localhost:{rest}/v1/models/digits-mlp"
        curl = run(CLIENTS / "predict.sh", url, rows)
        by_curl = json.loads(curl.stdout)["predictions"]
        by_python = lines_of(run(sys.executable, CLIENTS / "rest_client.py", url, rows))
        grpc_client = (sys.executable, CLIENTS / "grpc_client.py", f"localhost:{grpc}")
        by_grpc = lines_of(run(*grpc_client, "digits-mlp", rows))
        for answer in (by_curl, by_python, by_grpc):
            found = [row["probabilities"] for row in answer]
            np.testing.assert_allclose(found, expected, atol=1e-6)
            assert [row["class_id"] for row in answer] == np.argmax(expected, axis=1).tolist()

        refused = run(CLIENTS / "predict.sh", url, wrong)
        assert refused.returncode == 22 and '"error"' in refused.stdout
        refused = run(sys.executable, CLIENTS / "rest_client.py", url + "x", rows)
        assert refused.returncode == 1
        assert f"{url}x: HTTP 404:" in refused.stderr and "Latest(digits-mlpx)" in refused.stderr
        refused = run(*grpc_client, "other", rows)
        assert refused.returncode == 1
        assert "NOT_FOUND: Servable not found for request: Latest(other)" in refused.stderr
    gone = run(sys.executable, CLIENTS / "rest_client.py", url, rows)
    assert gone.returncode == 1 and "Connection refused" in gone.stderr
    assert "Traceback" not in gone.stderr
    assert run(CLIENTS / "predict.sh").stderr.strip().endswith("v1/models/digits-mlp")


def lines_of(done):
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_clients_do_not_know_tfapp_and_are_short():
    for client in CLIENTS.iterdir():
        text = client.read_text(encoding="utf-8")
        assert "tfapp" not in text
        assert len(text.splitlines()) <= 60


def test_health_checks_tell_a_server_that_is_ready(digits_run, tmp_path):
    exported = export_run(digits_run, tmp_path / "models" / "digits-mlp")
    compose = yaml.safe_load((SERVING / "compose.yaml").read_text(encoding="utf-8"))
    of_compose = compose["services"]["tensorflow-serving"]["healthcheck"]["test"]
    (line,) = [
        line.strip().removeprefix("CMD ")
        for line in (SERVING / "Dockerfile").read_text(encoding="utf-8").splitlines()
        if line.startswith("    CMD ")
    ]
    assert of_compose[0] == "CMD"
    with serving(exported.path.parent) as (rest, _):
        checks = [
            [word.replace("8501", str(rest)) for word in words]
            for words in (of_compose[1:], [sys.executable, *json.loads(line)[1:]])
        ]
        assert [run(*check).returncode for check in checks] == [0, 0]
        missing = [word.replace("digits-mlp", "other") for word in checks[0]]
        assert run(*missing).returncode == 1
        for path in ("/readyz", "/healthz", "/v1/models/digits-mlp"):
            connection = http.client.HTTPConnection("localhost", rest, timeout=30)
            connection.request("GET", path)
            assert connection.getresponse().status == 200
            connection.close()
    assert all(run(*check).returncode == 1 for check in checks)
