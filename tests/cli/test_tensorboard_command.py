"""`tfapp tensorboard`: a real server, asked as a browser asks it; and what is refused."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
from journals import ended, make_search

from tfapp.errors import ExitCode
from tfapp.training.hparams import write_experiment, write_session
from tfapp.trials import read_search

TRIALS = [
    ended({"train.epochs": 2, "data.batch_size": 12}, 0.5),
    ended({"train.epochs": 3, "data.batch_size": 24}, 0.75),
]


@contextmanager
def server(folder, *words):
    """Gives the process and the address of `tfapp tensorboard`; ends it if nobody has."""
    command = [sys.executable, "-m", "tfapp", "tensorboard", "--port", "0", *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, **pipes) as process:
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def fetch(url, **body):
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def wait_for(url, done, **body):
    """Asks until what the server has read so far will do."""
    for _ in range(100):
        if done(answer := fetch(url, **body)):
            return answer
        time.sleep(0.3)
    raise AssertionError(answer)


def end(process, number):
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    return process.returncode, err


@pytest.fixture
def events(digits_run):
    """The run `digits`, as `latest` too."""
    (digits_run.path.parent / "latest").symlink_to("digits")
    return digits_run


def test_the_latest_run_is_shown_until_ctrl_c(events, tmp_path):
    with server(tmp_path) as (process, url):
        assert re.fullmatch(r"http://localhost:\d+/", url)
        runs = wait_for(url + "data/runs", lambda found: len(found) == 2)
        assert sorted(runs) == ["train", "validation"]
        tags = fetch(url + "data/plugin/scalars/tags")
        assert tags.keys() == {"train", "validation"}
        assert {"loss", "accuracy"} <= tags["validation"].keys()
        points = fetch(url + "data/plugin/scalars/scalars?run=validation&tag=loss")
        rows = [row for row in events.metrics() if row["split"] == "validation"]
        assert [point[1:] for point in points] == [
            [row["step"], pytest.approx(row["loss"])] for row in rows
        ]
        graphs = fetch(url + "data/plugin/graphs/info")
        assert graphs["train"]["run_graph"]
        code, err = end(process, signal.SIGINT)
    assert code == ExitCode.DONE
    assert err.split("\n", 1)[0] == "TensorBoard of runs/digits; Ctrl-C ends it"
    assert err.splitlines()[1:] == ["", "stopping"], "nothing of what TensorBoard says"
    with pytest.raises(OSError):
        urllib.request.urlopen(url, timeout=5)


def test_all_runs_are_shown_once_each_and_new_ones_appear(events, tmp_path):
    runs = events.path.parent
    search = read_search(make_search(runs, "searched", TRIALS))
    for trial in search.trials:
        shutil.copytree(events.path, search.run_of(trial).path)
        write_session(search, trial, started=1_800_000_000.0)
    write_experiment(search)
    shutil.copytree(events.path, runs / ".removed-old.1")
    trials = [f"searched/tune/{trial.name}/tensorboard" for trial in search.trials]
    splits = [f"{folder}/{split}" for folder in trials for split in ("train", "validation")]
    expected = {"digits/train", "digits/validation", "searched/tune/tensorboard", *trials, *splits}
    with server(tmp_path, "--all") as (process, url):
        wait_for(url + "data/runs", lambda found: set(found) == expected)
        groups = fetch(
            url + "data/plugin/hparams/session_groups",
            allowedStatuses=["STATUS_SUCCESS"],
            colParams=[],
            startIndex=0,
            sliceSize=10,
        )["sessionGroups"]
        found = {
            group["name"]: (group["hparams"], group["metricValues"][0]["value"]) for group in groups
        }
        assert found == {
            "0000 of searched": ({"train.epochs": 2, "data.batch_size": 12}, 0.5),
            "0001 of searched": ({"train.epochs": 3, "data.batch_size": 24}, 0.75),
        }
        maps = Path(f"/proc/{process.pid}/maps")
        assert not maps.exists() or "tensorflow" not in maps.read_text()
        shutil.copytree(events.path, runs / "newer")
        shutil.rmtree(events.path)
        new = {"newer/train", "newer/validation"}
        gone = {"digits/train", "digits/validation"}
        wait_for(url + "data/runs", lambda found: set(found) == (expected | new) - gone)
        code, _ = end(process, signal.SIGTERM)
    assert code == ExitCode.DONE


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("nothing",), ExitCode.MISSING, ("no run 'nothing'", "tfapp runs list")),
        (("digits", "--all"), ExitCode.USAGE, ("either --all or digits", "--runs")),
        (("--port", "99999"), ExitCode.USAGE, ("99999", "0<=x<=65535")),
        (("--host", "no.such.host.invalid"), ExitCode.USAGE, ("no address of this machine",)),
        (("--host", "192.0.2.1"), ExitCode.USAGE, ("'192.0.2.1'", "--host localhost")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_meant_is_refused(cli, events, words, code, said):
    result = cli("tensorboard", *words)
    assert result.code == code, result.err
    assert result.err.startswith("error: ")
    assert result.err.count("error: ") == 1
    for part in said:
        assert part in result.err


def test_a_port_in_use_is_answered_with_a_free_one(cli, events):
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        result = cli("tensorboard", "--port", port)
    assert result.code == ExitCode.USAGE
    told = re.fullmatch(
        r"error: port (\d+) is in use\. Type: tfapp tensorboard --port (\d+)\n", result.err
    )
    assert told is not None, result.err
    assert int(told[1]) == port
    socket.create_server(("localhost", int(told[2]))).close()


def test_a_port_for_administrators_is_refused(cli, events, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refuse)
    result = cli("tensorboard", "--port", "80")
    assert result.code == ExitCode.USAGE
    assert "port 80 needs the rights of an administrator" in result.err
    assert "--port 6006" in result.err


@pytest.mark.parametrize("words", [("digits",), ("--all",), ("runs",)])
def test_without_event_files_there_is_nothing_to_show(cli, events, words):
    shutil.rmtree(events.path / "tensorboard")
    result = cli("tensorboard", *words)
    assert result.code == ExitCode.MISSING
    assert "TensorBoard has nothing to show" in result.err
    assert "tfapp train" in result.err


def test_without_runs_the_way_to_make_one_is_told(cli):
    result = cli("tensorboard")
    assert result.code == ExitCode.MISSING
    assert "Make one with tfapp train" in result.err
