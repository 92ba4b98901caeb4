"""`tfapp serve`: what is served by which server, and how options reach it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from counter_for_tests import write_counter
from ports_for_tests import free_port

from tfapp.serving.flags import StartError
from tfapp.serving.options import ServerOptions
from tfapp.serving.server import ModelServer
from tfapp.serving.status import Code


def cache_of(folder):
    """Returns the folder of caches that `cli` sets."""
    return folder.with_name(f"{folder.name}-cache")


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
        counter = Path(flags.pop("model_base_path"))
        seen.append((flags, counter, {p.name: p.resolve() for p in counter.iterdir()}))
        raise Replaced

    monkeypatch.setattr(os, "execv", replace)

    def run(*words):
        result = cli("serve", "--server", program, *words)
        assert seen, result.err
        return seen.pop()

    return run


def test_options_of_ours_reach_the_server(cli, counter, monkeypatch):
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
        "--rest-busy-poll-us=50",
        "--rest-readers=0",
    )
    cli("serve", "counter", *ports, "--rest_body_limit_mb=0", "--rest_busy_poll_us", "0")
    cli("serve", "counter", *ports)
    assert given == [
        ServerOptions(
            body_limit=3 * 2**20,
            gzip_answers=True,
            adaptive_batching=False,
            busy_poll_seconds=50e-6,
            rest_readers=0,
        ),
        ServerOptions(body_limit=None, busy_poll_seconds=0.0),
        ServerOptions(body_limit=512 * 2**20, busy_poll_seconds=200e-6, rest_readers=1),
    ]


def test_a_folder_of_versions_is_served_by_its_own_name(replaced, counter):
    flags, path, folders = replaced("counter")
    assert flags == {"model_name": "counter", "rest_api_port": "8501"}
    assert (path, folders) == (counter, {"1": counter / "1"})
    flags, *_ = replaced("counter/", "--rest_api_port", "0", "--model_name=other")
    assert flags == {"model_name": "other"}
    # Typed is typed, even where it is what the real server would take by itself.
    flags, *_ = replaced("counter", "--model-name=default")
    assert flags == {"rest_api_port": "8501"}


def test_one_saved_model_is_served_alone(replaced, counter, tmp_path):
    write_counter(counter, 7)
    flags, _, folders = replaced("counter/1")
    assert flags["model_name"] == "counter"
    assert folders == {"1": counter / "1"}
    (counter / "7").rename(tmp_path / "mine")
    flags, path, folders = replaced(tmp_path / "mine")
    assert flags["model_name"] == "mine"
    assert folders == {"1": tmp_path / "mine"}
    again = replaced(tmp_path / "mine", "--model_name=other")[1]
    assert again == path, "the real server cannot clean up: its folder is the same each time"
    assert path.is_relative_to(cache_of(tmp_path)), path
    replaced("counter/1")
    assert len(list((cache_of(tmp_path) / "tfapp" / "serve").iterdir())) == 2


def test_a_saved_model_is_served_without_a_home_to_write_to(
    replaced, counter, tmp_path, monkeypatch
):
    cache_of(tmp_path).touch()  # no folder can be made in it
    flags, path, folders = replaced("counter/1")
    assert (flags["model_name"], folders) == ("counter", {"1": counter / "1"})
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


def test_the_version_is_that_of_tfapp_and_tensorflow(cli):
    result = cli("serve", "--version")
    assert result.code == 0
    first, second = result.out.splitlines()
    assert first.startswith("TensorFlow ModelServer: tfapp ")
    assert second == f"TensorFlow Library: {tf.__version__}"
