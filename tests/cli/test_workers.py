"""`tfapp train` on several devices, as typed: what is refused, and a run whose chief is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfapp.config import load_config
from tfapp.errors import ExitCode, Interrupted, TfappError
from tfapp.runs import Run, claim_run
from tfapp.training import workers
from tfapp.training.workers import free_addresses, newest_step, supervise

SMALL = ("train", "--data", "iris", "--epochs", "2", "-q")
CLUSTER = '{"cluster": {"worker": [%s]}, "task": {"type": "worker", "index": 0}}'
TWO = CLUSTER % '"localhost:2222", "localhost:2223"'


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (("--strategy", "mirored"), {}, ("no strategy named 'mirored'", "Did you mean 'mirrored'")),
        (("--strategy", "mirrored"), {}, ("two devices", "TFAPP_CPU_DEVICES=2")),
        (("--strategy", "multiworker"), {}, ("needs TF_CONFIG", "--workers 2")),
        (("--strategy", "tpu"), {}, ("needs TPU_NAME",)),
        (("--strategy", "multiworker"), {"TF_CONFIG": "{"}, ("TF_CONFIG is not JSON",)),
        ((), {"TF_CONFIG": '{"cluster": {}}'}, ("names no workers",)),
        (("--workers", "2", "--strategy", "one"), {}, ("--workers 2", "'one'")),
        (("--workers", "2"), {"TF_CONFIG": TWO}, ("TF_CONFIG is set", "unset TF_CONFIG")),
        (("--workers", "2", "--batch-size", "1"), {}, ("Use 2.",)),
        (("--workers", "3", "--batch-size", "64"), {}, ("Use 63 or 66.",)),
        (("--workers", "1"), {}, ("--workers", "1")),
        ((), {"TFAPP_CPU_DEVICES": "two"}, ("TFAPP_CPU_DEVICES is a whole number", "'two'")),
        ((), {"TFAPP_CPU_DEVICES": "2"}, ("comes too late",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_devices_that_cannot_be_meant_are_refused(
    cli, tmp_path, monkeypatch, words, environment, said
):
    tf.config.list_logical_devices()  # TensorFlow is in use, as in a notebook
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    result = cli(*SMALL, *words)
    assert result.code == ExitCode.USAGE, result.err
    assert result.err.startswith("error: ")
    assert result.err.count("error: ") == 1
    for part in said:
        assert part in result.err
    assert not (tmp_path / "runs").exists()


def test_a_worker_that_does_not_answer_is_named(cli, monkeypatch):
    own, other = free_addresses(2)
    monkeypatch.setenv("TF_CONFIG", CLUSTER % f'"{own}", "{other}"')
    monkeypatch.setenv("TFAPP_WAIT_SECONDS", "1")
    result = cli(*SMALL)
    assert result.code == ExitCode.FAILED
    assert f"no answer from {other} within 1 s" in result.err


def test_a_dry_run_waits_for_nobody(cli, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", TWO)
    result = cli(*SMALL, "--dry-run")
    assert result.code == 0, result.err
    assert 'strategy = "multiworker"' in result.out


def test_a_dry_run_shows_what_workers_would_train(cli, tmp_path):
    result = cli(*SMALL, "--workers", "2", "--dry-run")
    assert result.code == 0, result.err
    assert 'strategy = "multiworker"' in result.out
    assert 'loop = "streaming"' in result.out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--batch-size", "63"), "Use 62 or 64."),
        (("--loss", "dice"), "'dice' is no mean over examples"),
        (("--set", "train.loop=resident"), "train.loop 'resident' is for one device"),
    ],
)
def test_a_dry_run_refuses_what_workers_would(cli, monkeypatch, words, said):
    started = cli(*SMALL, "--workers", "2", *words, "--dry-run")
    assert (started.code, started.out) == (ExitCode.USAGE, ""), started.err
    assert said in started.err
    monkeypatch.setenv("TF_CONFIG", TWO)
    connected = cli(*SMALL, *words, "--dry-run")
    assert (connected.code, connected.out) == (ExitCode.USAGE, ""), connected.err
    assert said in connected.err


def test_what_is_typed_for_the_terminal_reaches_the_workers(cli, tmp_path, monkeypatch):
    claim_run(tmp_path / "runs", load_config(), name="mine")
    commands = []

    def keep(count, command, run, *, stop, tell):
        commands.append((command(False), command(True)))
        return 0

    monkeypatch.setattr(workers, "supervise", keep)
    typed = ("--workers", "2", "--debug", "--json", "--quiet")
    assert cli("train", "--data", "iris", *typed).code == 0
    assert cli("train", "--resume", "mine", *typed).code == 0
    assert cli(*SMALL, "--workers", "2").code == 0
    for begin, again in commands[:2]:
        assert {"--debug", "--json", "--quiet"} <= set(begin) & set(again)
    assert "--debug" not in commands[2][0]


@pytest.fixture
def play(tmp_path, monkeypatch):
    """Supervises workers that do, by attempt and index, what a script says."""

    def supervised(script: str, count: int = 2, stop=lambda: None):
        run, told = Run(tmp_path / "run"), []
        program = (
            "import json, os, signal, sys, time, pathlib\n"
            f"run = pathlib.Path({str(run.path)!r})\n"
            "index = json.loads(os.environ['TF_CONFIG'])['task']['index']\n"
            "again = sys.argv[1] == 'True'\n"
            "def save(step):\n"
            "    (run / 'checkpoints' / f'step-{step:09d}').mkdir(parents=True, exist_ok=True)\n"
            "    (run / 'config.toml').touch()\n" + script
        )
        (tmp_path / "worker.py").write_text(program)
        popen = subprocess.Popen

        def start(command, **kwargs):
            return popen([sys.executable, tmp_path / "worker.py", command[-1]], **kwargs)

        monkeypatch.setattr(workers.subprocess, "Popen", start)
        monkeypatch.setattr(workers, "_GRACE_SECONDS", 0.5)
        code = supervise(
            count, lambda again: ["train", str(again)], run, stop=stop, tell=told.append
        )
        return code, told

    return supervised


def test_killed_workers_are_started_again_as_long_as_that_helps(play):
    code, told = play(
        "if not again:\n    save(5)\n"
        "    if index == 1: os.kill(os.getpid(), signal.SIGKILL)\n    time.sleep(60)\n"
    )
    assert code == 0
    assert told == ["worker 1 was ended by signal 9: starting all 2 again from step 5"]
    with pytest.raises(TfappError, match=r"died 4 times without a new checkpoint after step 5"):
        play("save(5)\nos.kill(os.getpid(), signal.SIGKILL)\n")


def test_a_workers_own_error_ends_all_and_is_told_once(play):
    with pytest.raises(TfappError, match=r"^no such thing$") as caught:
        play(
            "if index: print('error: no such thing', file=sys.stderr)\n"
            f"sys.exit(4 if index else {workers.LOST})"
        )
    assert caught.value.exit_code == ExitCode.MISSING
    assert play("sys.exit(5)") == (5, []), "the chief has said it"


def test_a_signal_is_handed_on_and_ends_with_its_code(play):
    obeying = (
        "save(3)\ngot = []\nsignal.signal(signal.SIGTERM, lambda *_: got.append(1))\n"
        "(run / f'ready{index}').touch()\nother = run / 'stop'\n"
        "while not got and not other.exists(): time.sleep(0.01)\n"
        "other.touch()\nsys.exit(143)\n"
    )
    started = time.monotonic()
    assert (
        play(obeying, stop=lambda: ExitCode.TERMINATED if time.monotonic() > started + 2 else None)[
            0
        ]
        == 143
    )
    said = "stopped; the newest checkpoint of .*run is of step 3. Continue .* --workers 2"
    with pytest.raises(Interrupted, match=said) as caught:
        play("time.sleep(60)", stop=lambda: ExitCode.INTERRUPTED)
    assert caught.value.exit_code == ExitCode.INTERRUPTED


def test_a_checkpoint_that_is_not_there_is_not_named(play):
    with pytest.raises(Interrupted, match=r"^stopped; nothing was saved yet\.$"):
        play("time.sleep(60)", stop=lambda: ExitCode.INTERRUPTED)
    with pytest.raises(TfappError, match="died 4 times before the first checkpoint"):
        play("os.kill(os.getpid(), signal.SIGKILL)\n")


def test_what_an_earlier_session_has_done_is_not_this_ones_work(play, tmp_path):
    run = Run(tmp_path / "run")
    run.path.mkdir()
    (run.path / "config.toml").touch()
    run.write_json("status.json", {"state": "done", "pid": 1, "step": 20})
    refused = f"sys.exit({ExitCode.USAGE:d})"
    assert play(refused) == (ExitCode.USAGE, []), "the chief has said that it is complete"
    die = "os.kill(os.getpid(), signal.SIGKILL)\n"
    once = f"first = run / f'first{{index}}'\nif not first.exists():\n    first.touch()\n    {die}"
    assert play(once) == (
        0,
        [
            "worker 0 was ended by signal 9, worker 1 was ended by signal 9:"
            " starting all 2 again from the beginning"
        ],
    )
    on_its_way_out = f"(run / 'status.json').write_text('{{\"state\": \"done\"}}')\n{die}"
    assert play(on_its_way_out) == (0, [])


@pytest.mark.parametrize("code", [7, 120])
def test_a_code_of_no_meaning_here_does_not_hide_the_error(play, code):
    with pytest.raises(TfappError, match=r"^something odd$") as caught:
        play(
            "if index: print('error: something odd', file=sys.stderr)\n"
            f"sys.exit({code} if index else {workers.LOST})"
        )
    assert caught.value.exit_code == ExitCode.FAILED


def test_a_half_written_directory_does_not_block_its_name(play, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config.toml.4711.tmp").write_text("seed")
    assert play("sys.exit(run.exists())") == (0, [])


def test_no_worker_is_left_when_the_next_cannot_be_started(tmp_path, monkeypatch):
    started, popen = [], subprocess.Popen

    def start(command, **kwargs):
        if started:
            raise OSError("no more processes")
        started.append(popen([sys.executable, "-c", "import time; time.sleep(60)"], **kwargs))
        return started[0]

    monkeypatch.setattr(workers.subprocess, "Popen", start)
    with pytest.raises(OSError, match="no more processes"):
        supervise(2, lambda again: [], Run(tmp_path / "run"), stop=lambda: None, tell=print)
    try:
        assert started[0].poll() == -signal.SIGKILL
    finally:
        started[0].kill()


TRAINED = (
    *("train", "--data", "iris", "--batch-size", "12", "--epochs", "30"),
    *(
        "--set",
        "model.options={hidden=[8],dropout=0.2}",
        "--set",
        "train.checkpoint.every_steps=20",
    ),
)


def start(*words) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tfapp", *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )


OWN_MODEL = """
import keras
class Mine(keras.Sequential):
    def __init__(self, outputs):
        super().__init__([keras.layers.Dense(outputs)])
"""


@pytest.mark.usefixtures("with_calendar")
@pytest.mark.parametrize(
    "words",
    [
        ("train", "--epochs", "1"),
        ("tune", "--trials", "2", "--set", "tune.space={'train.epochs'={int=[1, 2]}}"),
    ],
    ids=lambda words: words[0],
)
def test_of_the_working_folder_workers_import_the_users_model_alone(tmp_path, words):
    (tmp_path / "my_own.py").write_text(OWN_MODEL)
    own = ("--data", "iris", "--model", "my_own:Mine", "--workers", "2")
    result = subprocess.run(
        [sys.executable, "-P", "-m", "tfapp", *words, *own], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


def values(run: Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(run / "checkpoints" / "step-000000270" / "variables"))
    keys = [key for key in reader.get_variable_to_shape_map() if "VARIABLE_VALUE" in key]
    assert len(keys) > 10
    return {key: reader.get_tensor(key) for key in keys}


def test_a_killed_chief_costs_nothing_but_time(tmp_path, monkeypatch):
    """Two processes train; one run is left alone, in the other the chief is killed."""
    monkeypatch.chdir(tmp_path)
    undisturbed = start(*TRAINED, "--workers", "2", "--run", "undisturbed", "--json")
    assert undisturbed.wait() == 0, undisturbed.stderr.read().decode()
    disturbed = start(*TRAINED, "--workers", "2", "--run", "disturbed", "--json")
    run = Run(tmp_path / "runs" / "disturbed")
    while newest_step(run) < 40:
        assert disturbed.poll() is None
        time.sleep(0.02)
    chief = run.read_json("status.json")["pid"]
    os.kill(chief, signal.SIGKILL)
    out, err = disturbed.communicate()
    assert disturbed.returncode == 0, err.decode()
    assert "worker 0 was ended by signal 9: starting all 2 again" in err.decode()
    assert b'"worker": 0' in out
    assert out.count(b"\n") == 1, "one chief speaks"
    expected, found = values(tmp_path / "runs" / "undisturbed"), values(run.path)
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)
