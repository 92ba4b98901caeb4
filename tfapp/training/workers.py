"""Several processes of this machine that train one run, and are started anew when one dies.

It loads no TensorFlow: a supervisor should not die of what its workers die of.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, Any

from tfapp.errors import ExitCode, Interrupted, TfappError
from tfapp.processes import python_module
from tfapp.runs import Run
from tfapp.settings import worker_environment
from tfapp.training.cluster import Cluster

# What a worker returns that has lost another one; it goes on from the newest checkpoint.
LOST = 75
# Restarts in a row that bring no new checkpoint; then something is wrong that no restart mends.
MOST_RESTARTS = 3

_POLL_SECONDS = 0.1
# For the others to notice that one is gone, and to write what they still write.
_GRACE_SECONDS = 10.0
# For a large checkpoint.
_SAVE_SECONDS = 60.0


@dataclass(frozen=True)
class Worker:
    """One process.

    Attributes:
        process: Leads a session of its own, so that Ctrl-C reaches the supervisor alone.
        said: Its stderr; the chief, whose stderr is the terminal, has none.
    """

    process: subprocess.Popen[bytes]
    said: IO[bytes] | None


def supervise(
    count: int,
    command: Callable[[bool], Sequence[str]],
    run: Run,
    *,
    stop: Callable[[], ExitCode | None],
    tell: Callable[[str], None],
) -> int:
    """Trains with `count` processes until they are done, however often one of them is killed.

    Args:
        count: How many.
        command: Returns what is typed after `tfapp`: to go on with the run if its argument is
            true, else to begin it.
        run: What they train; the first of them makes its directory.
        stop: Asked all the time; a code has the workers save and end.
        tell: Is given a line about every restart.

    Returns:
        Exit code of the chief, which has said all there is to say.

    Raises:
        TfappError: What went wrong in a worker that nobody has heard yet.
        Interrupted: `stop` gave a code, and the chief ended without a word about it.
    """
    before = run.read_json("status.json")
    without_progress, step = 0, newest_step(run)
    while True:
        resume = (run.path / "config.toml").exists()
        if not resume and run.path.exists():
            _remove_empty(run)
        endings = _run_once(count, command(resume), run, stop)
        if (ended := _verdict(endings, run, before, stop())) is not None:
            return ended
        last, step = step, newest_step(run)
        without_progress = without_progress + 1 if step <= last else 0
        if without_progress > MOST_RESTARTS:
            raise _no_progress(run, without_progress, endings)
        where = f"from step {step}" if step >= 0 else "from the beginning"
        tell(f"{_describe(endings)}: starting all {count} again {where}")


def newest_step(run: Run) -> int:
    """Returns the step of the newest checkpoint; -1 without any."""
    numbers = (path.name.removeprefix("step-") for path in run.checkpoints.glob("step-*"))
    return max((int(number) for number in numbers if number.isdigit()), default=-1)


def free_addresses(count: int) -> tuple[str, ...]:
    """Returns addresses of this machine that nobody listens at."""
    with ExitStack() as stack:
        servers = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return tuple(f"127.0.0.1:{server.getsockname()[1]}" for server in servers)


def _remove_empty(run: Run) -> None:
    """Removes the directory of a chief that was killed between making and filling it."""
    for half in run.path.glob(".config.toml.*.tmp"):
        half.unlink()
    run.path.rmdir()


@dataclass(frozen=True)
class _Ending:
    """How a worker ended: its exit code, and the errors that it wrote where nobody reads."""

    code: int
    errors: str
    ours: bool


def _run_once(
    count: int, words: Sequence[str], run: Run, stop: Callable[[], ExitCode | None]
) -> list[_Ending]:
    """Runs all workers until all have ended."""
    with ExitStack() as stack:
        workers: list[Worker] = []
        stack.callback(_kill, workers)  # whatever happens here
        addresses = free_addresses(count)
        for index in range(count):
            # One by one, so that the first is known when the second cannot be started.
            workers.append(_start(Cluster(addresses, index), words, stack))  # noqa: PERF401
        return _watch(workers, run, stop)


def _start(cluster: Cluster, words: Sequence[str], stack: ExitStack) -> Worker:
    said = None
    if not cluster.is_chief:
        said = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 (closed by the stack)
    process = subprocess.Popen(
        python_module("tfapp", *words),
        stdin=subprocess.PIPE,  # whose end tells the worker that the supervisor is gone
        stdout=None if cluster.is_chief else subprocess.DEVNULL,
        stderr=said,
        env=worker_environment(cluster.to_json()),
        start_new_session=True,
    )
    return Worker(process, said)


def _watch(
    workers: Sequence[Worker], run: Run, stop: Callable[[], ExitCode | None]
) -> list[_Ending]:
    deadline: float | None = None
    asked = False
    while any(worker.process.poll() is None for worker in workers):
        if stop() and not asked:
            training = run.read_json("status.json").get("state") == "running"
            asked = True
            deadline = time.monotonic() + (_SAVE_SECONDS if training else _GRACE_SECONDS)
            # One is enough, since they decide together; the chief would tell the user once more.
            workers[-1].process.send_signal(
                signal.SIGTERM if stop() is ExitCode.TERMINATED else signal.SIGINT
            )
        if deadline is None and any(worker.process.poll() is not None for worker in workers):
            deadline = time.monotonic() + _GRACE_SECONDS
        if deadline is not None and time.monotonic() > deadline:
            break
        time.sleep(_POLL_SECONDS)
    late = _kill(workers)
    return [_ending_of(worker, worker in late) for worker in workers]


def _kill(workers: Sequence[Worker]) -> list[Worker]:
    """Ends what has not ended; returns which that was."""
    late = [worker for worker in workers if worker.process.poll() is None]
    for worker in late:
        worker.process.kill()
    for worker in workers:
        worker.process.wait()
        if worker.process.stdin:
            worker.process.stdin.close()
    return late


def _ending_of(worker: Worker, ours: bool) -> _Ending:
    lines: list[bytes] = []
    if worker.said:
        worker.said.seek(0)
        lines = [x.strip() for x in worker.said if x.startswith(b"error: ")]
    errors = b"\n".join(line.removeprefix(b"error: ") for line in lines).decode(errors="replace")
    return _Ending(worker.process.returncode, errors, ours)


def _verdict(
    endings: Sequence[_Ending], run: Run, before: dict[str, Any], request: ExitCode | None
) -> int | None:
    """Returns the exit code if this was the end; `None` if they are to be started again.

    Args:
        endings: The chief's first.
        run: What they trained.
        before: Its `status.json` before the first start.
        request: What the supervisor was asked by a signal.
    """
    chief, *others = endings
    if chief.code == ExitCode.DONE or (chief.code > 0 and chief.code != LOST):
        return chief.code
    status = run.read_json("status.json")
    # As it was before, it tells of an earlier session that has trained fewer epochs.
    if status != before and status.get("state") in ("done", "stopped early"):
        return ExitCode.DONE  # killed on its way out
    if request is not None:
        raise _stopped(run, len(endings), request)
    own = [e for e in others if e.code > 0 and e.code != LOST and not e.ours]
    if own and not _was_killed(endings):
        error = TfappError(own[0].errors or f"a worker ended with exit code {own[0].code}")
        # Python has codes of its own, e.g. 120, and so have a user's modules.
        known = own[0].code in set(ExitCode)
        error.exit_code = ExitCode(own[0].code) if known else ExitCode.FAILED
        raise error
    return None


def _no_progress(run: Run, times: int, endings: Sequence[_Ending]) -> TfappError:
    step = newest_step(run)
    after = f"without a new checkpoint after step {step}"
    return TfappError(
        f"workers died {times} times {after if step >= 0 else 'before the first checkpoint'}"
        f" ({_describe(endings)})."
        f" See {run.path / 'log.txt'}; a smaller model or data.batch_size needs less memory."
    )


def _stopped(run: Run, count: int, request: ExitCode) -> Interrupted:
    if (step := newest_step(run)) < 0:
        return Interrupted("stopped; nothing was saved yet.", request)
    return Interrupted(
        f"stopped; the newest checkpoint of {run.path} is of step {step}."
        f" Continue with: tfapp train --resume {run.path} --workers {count}",
        request,
    )


def _was_killed(endings: Sequence[_Ending]) -> bool:
    return any(ending.code < 0 and not ending.ours for ending in endings)


def _describe(endings: Sequence[_Ending]) -> str:
    told = [
        f"worker {index} was ended by signal {-ending.code}"
        for index, ending in enumerate(endings)
        if ending.code < 0 and not ending.ours
    ]
    return ", ".join(told) or "the workers have lost one another"
