"""What the process that starts workers does when they die; they are a few lines of Python here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tfapp.config import load_config
from tfapp.errors import ExitCode, Interrupted, TfappError
from tfapp.runs import Run
from tfapp.trials import read_search
from tfapp.tuning import crew
from tfapp.tuning.crew import MOST_DEATHS, with_processes
from tfapp.tuning.search import begin_search, lead

CONFIG = load_config(
    overrides={
        "data.source": "iris",
        "model.options": {"hidden": [4]},
        "tune.trials": 2,
        "tune.space": {"train.optimizer.learning_rate": {"float": [1e-3, 1e-1]}},
    }
)
DIE = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture
def play(tmp_path, monkeypatch):
    """Leads a search whose workers do what a script says; gives what was told, and their pids."""
    monkeypatch.chdir(tmp_path)
    run = begin_search(CONFIG, runs=tmp_path / "runs", name="search")
    popen, told, started = subprocess.Popen, [], []
    monkeypatch.setattr(crew, "_LINGER_SECONDS", 0.3)

    def played(script: str, count: int = 2, stop=lambda: None) -> Run:
        program = tmp_path / "worker.py"
        program.write_text(f"import os, signal, sys, time, pathlib\n{script}\n")

        def start(command, **kwargs):
            assert command[1:] == [
                *("-P", "-m", "tfapp", "tune", "--role", "worker", "--runs", str(tmp_path / "runs"))
            ]
            started.append(popen([sys.executable, "-S", program], **kwargs))
            return started[-1]

        monkeypatch.setattr(crew.subprocess, "Popen", start)
        work = with_processes(count, run.path.parent, stop=stop, tell=told.append)
        lead(run, work, workers=count, stop=stop)
        return run

    played.run, played.told, played.started = run, told, started
    yield played
    for process in started:
        process.kill()
        process.wait()


def test_workers_that_die_without_a_trial_are_given_up(play):
    with pytest.raises(TfappError) as caught:
        play(DIE)
    assert str(caught.value).startswith(
        f"workers have ended {MOST_DEATHS} times without one trial to the end, at last because its"
        " process was ended by signal 9. See "
    )
    assert len(play.told) == MOST_DEATHS - 1
    assert play.told[0].endswith("was ended by signal 9: starting it again")
    assert {line.split()[0] for line in play.told} == {"tuner0", "tuner1"}
    search = read_search(play.run)
    assert (search.state, search.trials) == ("failed", ())


def test_what_no_restart_mends_ends_the_search_with_the_workers_words(play):
    with pytest.raises(TfappError, match=r"^no such thing$") as caught:
        play("print('error: no such thing', file=sys.stderr)\nsys.exit(4)", count=1)
    assert caught.value.exit_code == ExitCode.MISSING
    assert (len(play.started), play.told) == (1, [])
    assert "no such thing" in (play.run.path / "tune" / "tuner0.log").read_text()


def test_workers_know_their_place_and_no_options_of_the_search(play, monkeypatch, tmp_path):
    monkeypatch.setenv("TFAPP_TUNE_TRIALS", "7")
    out = tmp_path / "seen.json"
    script = (
        "import json\n"
        "names = [key for key in os.environ if key.startswith(('KERASTUNER_', 'TFAPP_'))]\n"
        f"out = pathlib.Path({str(out)!r})\n"
        "out.write_text(json.dumps({key: os.environ[key] for key in names}))\n"
        "print('error: seen', file=sys.stderr)\nsys.exit(2)"
    )
    with pytest.raises(TfappError, match="seen"):
        play(script, count=1)
    seen = json.loads(out.read_text())
    assert seen.pop("KERASTUNER_ORACLE_PORT").isdecimal()
    assert seen.pop("TFAPP_DATA")
    assert seen == {
        "KERASTUNER_TUNER_ID": "tuner0",
        "KERASTUNER_ORACLE_IP": "127.0.0.1",
        "TFAPP_SUPERVISED": "1",
    }


def test_a_stop_waits_a_little_and_leaves_no_worker(play):
    began = time.monotonic()

    def asked() -> ExitCode | None:
        return ExitCode.TERMINATED if time.monotonic() > began + 1 else None

    with pytest.raises(Interrupted, match="0 of 2 trials are done") as caught:
        play("time.sleep(300)", stop=asked)
    assert caught.value.exit_code == ExitCode.TERMINATED
    assert [process.poll() for process in play.started] == [-signal.SIGKILL] * 2
    assert read_search(play.run).state == "interrupted"


def test_no_worker_is_left_when_the_next_cannot_be_started(play, monkeypatch):
    def log(self, name: str) -> Path:
        return Path(os.devnull) if name == "tuner0" else play.run.path

    monkeypatch.setattr(crew._Crew, "log", log)
    with pytest.raises(TfappError, match=r"cannot write .*Is a directory"):
        play("time.sleep(300)")
    assert [process.poll() for process in play.started] == [-signal.SIGKILL]
