"""Searches of real processes, killed at every kind of moment, end as one that nothing disturbed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tfapp.config import load_config
from tfapp.locks import process_alive
from tfapp.runs import Run
from tfapp.training.workers import free_addresses
from tfapp.trials import Search, Trial, journal_of, read_journal, read_search
from tfapp.tuning.search import begin_search, resume_search, tune_model

# Nothing here waits for a time, only for a state; that is how long it may take on a busy machine.
PATIENCE = 150.0
pytestmark = pytest.mark.timeout(600)
CONFIG = """
data = { source = "iris", batch_size = 36 }
model.options = { hidden = [4], dropout = 0.2 }
train = { epochs = 20, loop = "streaming" }

[tune]
trials = 5
objective = "val_loss"
space.train.optimizer.learning_rate = { float = [1e-3, 1e-1], log = true }
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Search:
    """The same search in this process, which nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "search.toml").write_text(CONFIG)
    return tune_model(load_config(folder / "search.toml"), runs=folder / "runs")


@pytest.fixture
def start(tmp_path):
    """Starts `tfapp tune ...` in the test's folder; what still runs in the end is killed."""
    (tmp_path / "search.toml").write_text(CONFIG)
    # Set by TensorFlow when it was imported here; to a command it says that all is to be shown.
    kept = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    started: list[subprocess.Popen] = []

    def process(*words: str, **variables: str) -> subprocess.Popen:
        with (tmp_path / f"{len(started)}.err").open("w") as errors:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "tfapp", "tune", *words],
                    cwd=tmp_path,
                    env=kept | variables,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                )
            )
        started[-1].errors = tmp_path / f"{len(started) - 1}.err"
        return started[-1]

    yield process
    for each in started:
        each.kill()
        each.wait()
        each.stdout.close()


def until(holds: Callable[[], object], *processes: subprocess.Popen) -> None:
    """Waits until something holds, while these processes go on."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        for process in processes:
            assert process.poll() is None, process.errors.read_text()
        assert time.monotonic() < deadline, [p.errors.read_text() for p in processes]
        time.sleep(0.02)


def kill(process: subprocess.Popen) -> None:
    process.kill()
    assert process.wait() == -signal.SIGKILL


def search_of(run: Run) -> Search | None:
    return read_search(run) if journal_of(run).exists() else None


def in_its_middle(run: Run, of: Callable[[Trial], bool] = lambda trial: True) -> list[Trial]:
    """The trials that are being trained, with an epoch behind them and two or more to come."""
    search = search_of(run)
    trials = search.trials if search else ()
    return [
        trial
        for trial in trials
        if trial.state == "running"
        and of(trial)
        and 2 <= len(search.run_of(trial).metrics()) < 36
        and process_of(search, trial) is not None
    ]


def begun(run: Run) -> list[Trial]:
    search = search_of(run)
    return [trial for trial in search.trials if trial.state == "running"] if search else []


def process_of(search: Search, trial: Trial) -> int | None:
    """The living process that trains a trial."""
    pid = search.run_of(trial).read_json("status.json").get("pid")
    return pid if pid and lives(pid) else None


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked about does not."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return process_alive(pid) and not Path("/proc/self").exists()


def children_of(pid: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has just ended
        if parent == pid:
            found.append(int(stat.parent.name))
    return found


def ended(run: Run) -> dict[Path, bytes]:
    """Every file of the trials that are done."""
    search = read_search(run)
    done = [search.run_of(trial).path for trial in search.trials if trial.state == "done"]
    return {p: p.read_bytes() for folder in done for p in folder.rglob("*") if p.is_file()}


def kept(before: dict[Path, bytes]) -> bool:
    return all(path.read_bytes() == content for path, content in before.items())


def results(search: Search) -> list[tuple]:
    return [(t.number, t.values, t.state, t.scores, t.best_epoch) for t in search.trials]


def attempts(run: Run) -> dict[int, list[int]]:
    """How each trial was begun, by its number."""
    found: dict[int, list[int]] = {}
    for line in read_journal(run):
        if line["event"] == "begin":
            found.setdefault(line["trial"], []).append(line["attempt"])
    return found


def assert_ended_as(whole: Search, run: Run) -> None:
    search = read_search(run)
    assert search.state == "done"
    assert results(search) == results(whole)
    ends = [x["trial"] for x in read_journal(run) if x["event"] == "end" and x["state"] == "done"]
    assert sorted(ends) == [0, 1, 2, 3, 4], "none is lost, none is counted twice"
    for trial in search.trials:
        rows = search.run_of(trial).metrics()
        assert len(rows) == 40, "20 epochs of two splits, each once"
        losses = [row["loss"] for row in rows if row["split"] == "validation"]
        assert trial.scores == (min(losses),)


def test_a_search_of_one_process(tmp_path, whole, start):
    """Killed before the first trial, in it, at the end of one, stopped in one, then left alone."""
    config = load_config(tmp_path / "search.toml")
    run = begin_search(config, runs=tmp_path / "runs", name="mine")
    assert (read_search(run).state, read_search(run).trials) == ("killed", ())

    first = start("--resume", "mine", "-q")
    until(lambda: in_its_middle(run), first)
    kill(first)
    (trial,) = read_search(run).trials
    assert (read_search(run).state, trial.state, trial.attempts) == ("killed", "running", 1)
    with journal_of(run).open("a") as journal:  # killed in the middle of a line
        journal.write('{"event": "end", "trial": 0, "state": "do')

    second = start("--resume", "mine", "-q")
    until(lambda: read_search(run).count("done") == 2, second)
    kill(second)
    before = ended(run)

    third = start("--resume", "mine")
    until(lambda: in_its_middle(run, lambda trial: trial.number >= 2), third)
    third.terminate()
    assert third.wait() == 143
    search = read_search(run)
    assert search.state == "interrupted"
    assert [trial.state for trial in search.trials[:2]] == ["done", "done"]
    assert search.trials[-1].state == "stopped"
    done = search.count("done")
    said = third.errors.read_text()
    assert f"error: stopped; {done} of 5 trials are done." in said
    assert "Continue with: tfapp tune --resume runs/mine\n" in said
    assert kept(before)
    before = ended(run)

    fourth = start("--resume", "runs/mine", "--json")
    out, _ = fourth.communicate()
    assert fourth.returncode == 0, fourth.errors.read_text()
    assert kept(before)
    assert_ended_as(whole, run)
    told = json.loads(out)
    assert [trial["scores"] for trial in told["trials"]] == [list(t.scores) for t in whole.trials]
    assert told["best"]["number"] == whole.best.number
    assert attempts(run)[0] == [1, 2]
    assert attempts(run)[1] == [1]
    stopped = attempts(run)[search.trials[-1].number]
    assert stopped == list(range(1, len(stopped) + 1))
    assert len(stopped) >= 2


def test_workers_of_one_machine(tmp_path, whole, start):
    """A worker is killed in a trial, then the process that started them all."""
    run = Run(tmp_path / "runs" / "mine")
    leader = start("search.toml", "--run", "mine", "--workers", "2")
    until(lambda: in_its_middle(run, lambda trial: trial.number == 0), leader)
    search = read_search(run)
    victim = search.trials[0]
    os.kill(process_of(search, victim), signal.SIGKILL)
    until(lambda: attempts(run)[0] == [1, 2], leader)
    assert (
        f"{victim.worker} has ended, because its process was ended by signal 9: starting it again"
        in leader.errors.read_text()
    )
    until(lambda: len(children_of(leader.pid)) == 2 and in_its_middle(run), leader)
    workers = children_of(leader.pid)
    kill(leader)
    until(lambda: not any(lives(pid) for pid in workers))
    assert read_search(run).state == "killed"
    before = ended(run)
    resume_search(run)
    assert kept(before)
    assert_ended_as(whole, run)


def test_a_chief_and_workers_that_know_it_by_its_address(tmp_path, whole, start):
    """The chief is killed and comes back while the workers work; then one of them is killed."""
    run = Run(tmp_path / "runs" / "mine")
    address, _, port = free_addresses(1)[0].rpartition(":")

    def place(name: str) -> dict[str, str]:
        return {
            "KERASTUNER_TUNER_ID": name,
            "KERASTUNER_ORACLE_IP": address,
            "KERASTUNER_ORACLE_PORT": port,
        }

    # A worker that is silent for ten seconds is lost; a chief may be gone for much longer.
    there = place("chief") | {"TFAPP_WAIT_SECONDS": "10"}
    chief = start("search.toml", "--run", "mine", "--role", "chief", **there)
    names = ("tuner0", "tuner1")
    workers = {name: start("--role", "worker", "-q", **place(name)) for name in names}
    until(lambda: len(begun(run)) == 2 and in_its_middle(run), chief, *workers.values())
    kill(chief)
    chief = start("--resume", "mine", **there)
    later: list[Trial] = []
    until(
        lambda: later.extend(in_its_middle(run, lambda trial: trial.number > 1)) or later,
        *workers.values(),
    )
    assert (attempts(run)[0], attempts(run)[1]) == ([1], [1]), "they went on without a chief"
    taken = later[0]
    kill(workers.pop(taken.worker))
    ((name, left),) = workers.items()
    out, _ = chief.communicate()
    assert chief.returncode == 0, chief.errors.read_text()
    assert left.wait() == 0, left.errors.read_text()
    assert left.errors.read_text() == ""
    assert_ended_as(whole, run)
    assert attempts(run)[taken.number] == [1, 2]
    assert read_search(run).trials[taken.number].worker == name
    assert "best val_loss" in out
