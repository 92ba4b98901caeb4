"""Workers of a search in processes of their own: here, or on other machines.

A search on several machines is KerasTuner's: each process is told by KERASTUNER_TUNER_ID who it is,
and by KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT where the chief is. All see the runs in one
folder.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from tfapp.config import Config
from tfapp.errors import ExitCode, TfappError, storage_errors
from tfapp.processes import python_module
from tfapp.runs import Run
from tfapp.settings import tuner_environment, wait_seconds
from tfapp.training.writers import Writer
from tfapp.trials import FOLDER, read_search
from tfapp.tuning.execution import Stop, TrialRunner
from tfapp.tuning.leader import Leader
from tfapp.tuning.roles import Chief
from tfapp.tuning.search import Work, searched_config
from tfapp.tuning.wire import Line, Office, check_same_search, serve

_POLL_SECONDS = 0.1
# For workers to hear that the search is over, and for those who stop to write what they must.
_LINGER_SECONDS = 15.0
# Workers that die one after another without a trial that ends: no restart mends that.
MOST_DEATHS = 6
# What no restart mends either: it was typed or configured wrongly, or something is missing.
_HOPELESS = (ExitCode.USAGE, ExitCode.MISSING)


def with_processes(
    count: int, runs: Path, *, stop: Stop, tell: Callable[[str], None] = lambda text: None
) -> Work:
    """Returns the work of so many processes of this machine, each started again when it dies.

    Args:
        count: How many.
        runs: Folder of run directories.
        stop: A code ends them.
        tell: Is given a line about every restart.
    """

    def work(leader: Leader, run: Run, config: Config) -> None:
        office = Office(leader, run)
        with serve(office, "127.0.0.1", 0) as port, ExitStack() as stack:
            crew = _Crew(run, runs, port, stack)
            stack.callback(crew.kill)  # whatever happens here
            for number in range(count):
                crew.start(f"tuner{number}")
            _watch(crew, office, leader, stop, tell)

    return work


def as_chief(chief: Chief, *, stop: Stop) -> Work:
    """Returns the work of a process that only leads, for workers on other machines.

    Args:
        chief: Where it listens.
        stop: A code ends it, and its workers.
    """

    def work(leader: Leader, run: Run, config: Config) -> None:
        office = Office(leader, run)
        with serve(office, chief.address, chief.port):
            while not leader.is_over() and not stop():
                office.drop_lost()
                time.sleep(_POLL_SECONDS)
            leader.end("interrupted", "the chief was asked to stop")
            deadline = time.monotonic() + _LINGER_SECONDS
            while office.workers and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)

    return work


def run_worker(
    chief: Chief,
    runs: Path,
    data_dir: Path,
    *,
    writers: Sequence[Writer] = (),
    stop: Stop = lambda: None,
) -> int:
    """Runs trials for a chief until it has no more; returns how many.

    Args:
        chief: Where the chief is, and who this is.
        runs: Folder of run directories, the same as the chief's.
        data_dir: Where prepared data sets are kept.
        writers: Are told of each training.
        stop: A code ends it; its trial goes to another.

    Raises:
        MissingError: The chief does not answer, or writes to another folder.
        Interrupted: `stop` gave a code.
    """
    line = Line(chief.worker, chief.address, chief.port, patience=wait_seconds(), stop=stop)
    try:
        answer = line.join()
        run = Run(runs / answer["run"])
        check_same_search(run, answer["search"])
        runner = TrialRunner(run, searched_config(run), read_search(run), data_dir=data_dir)
        done = 0
        while (assignment := line.next()) is not None:
            with line.alive(assignment) as goes_on:

                def ends(goes_on: Callable[[], bool] = goes_on) -> ExitCode | None:
                    return stop() or (None if goes_on() else ExitCode.INTERRUPTED)

                outcome = runner.run(assignment, writers=writers, stop=ends)
            line.finish(assignment, outcome)
            done += 1
        return done
    finally:
        line.close()


class _Crew:
    """The processes of this machine.

    Args:
        run: The run that the search belongs to.
        runs: Folder of run directories.
        port: Where the leader listens.
        stack: Closes what is opened here.
    """

    def __init__(self, run: Run, runs: Path, port: int, stack: ExitStack) -> None:
        self._run = run
        self._runs = runs
        self._port = port
        self._stack = stack
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def log(self, name: str) -> Path:
        """Returns the file that a worker's stderr goes to."""
        return self._run.path / FOLDER / f"{name}.log"

    def start(self, name: str) -> None:
        """Starts a worker."""
        path = self.log(name)
        with storage_errors(path):
            log = self._stack.enter_context(path.open("ab"))
        self.processes[name] = subprocess.Popen(
            python_module("tfapp", "tune", "--role", "worker", "--runs", str(self._runs)),
            stdin=subprocess.PIPE,  # whose end tells the worker that this process is gone
            stdout=subprocess.DEVNULL,
            stderr=log,
            env=tuner_environment(name, "127.0.0.1", self._port),
            start_new_session=True,  # Ctrl-C is for this process alone
        )

    def last_error(self, name: str) -> str:
        """Returns the last error that a worker has told, or nothing."""
        lines = self.log(name).read_bytes().decode(errors="replace").splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        return errors[-1].removeprefix("error: ") if errors else ""

    def kill(self) -> None:
        """Ends all that still run."""
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()
            if process.stdin:
                process.stdin.close()


def _watch(
    crew: _Crew, office: Office, leader: Leader, stop: Stop, tell: Callable[[str], None]
) -> None:
    """Returns when all workers have ended because there is nothing more to do."""
    deaths, ended_before, deadline = 0, _ended(leader), None
    while crew.processes:
        if stop():
            leader.end("interrupted", "it was asked to stop")
        if leader.is_over() and deadline is None:
            deadline = time.monotonic() + _LINGER_SECONDS
        if deadline is not None and time.monotonic() > deadline:
            return
        for name, process in list(crew.processes.items()):
            if (code := process.poll()) is None:
                continue
            del crew.processes[name]
            if process.stdin:
                process.stdin.close()
            if leader.is_over():
                continue
            reason = _death(crew, name, code)
            office.forget(name, reason)
            deaths = 1 if _ended(leader) > ended_before else deaths + 1
            ended_before = _ended(leader)
            if leader.is_over():  # that was the last trial
                continue
            _check_hope(crew, name, code, deaths, reason)
            tell(f"{name} has ended, because {reason}: starting it again")
            crew.start(name)
        time.sleep(_POLL_SECONDS)


def _ended(leader: Leader) -> int:
    return leader.search.count("done", "failed", "diverged")


def _death(crew: _Crew, name: str, code: int) -> str:
    if code < 0:
        return f"its process was ended by signal {-code}"
    return crew.last_error(name) or f"its process ended with exit code {code}"


def _check_hope(crew: _Crew, name: str, code: int, deaths: int, reason: str) -> None:
    if code in _HOPELESS and crew.last_error(name):
        error = TfappError(crew.last_error(name))
        error.exit_code = ExitCode(code)
        raise error
    if deaths >= MOST_DEATHS:
        raise TfappError(
            f"workers have ended {deaths} times without one trial to the end, at last because"
            f" {reason}. See {crew.log(name)}."
        )
