"""The processes of contenders, seen from who measures: started, asked in turn, ended."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from tfapp.errors import TfappError
from tfapp.processes import python_module

# Nothing that a contender is asked takes a fraction of it, compiling on a slow machine included.
PATIENCE_SECONDS = 600.0


class ContenderFailed(TfappError):
    """A contender's process ended, or could not do what it was asked."""


class Process:
    """One contender in a process of its own.

    Args:
        module: What is run with `python -m`; it answers requests as `tfapp.timing.worker` does.
        name: Who it is, the module's argument.
    """

    def __init__(self, module: str, name: str) -> None:
        self.name = name
        self.import_seconds: float | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed in `close`)
        # A session of its own: Ctrl-C is ours to hear, and its helpers can be ended with it.
        self._process = subprocess.Popen(
            python_module(module, name),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            start_new_session=True,
        )
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def is_alive(self) -> bool:
        """Whether it can still be asked."""
        return self._process.poll() is None

    def wait_until_ready(self) -> None:
        """Returns when it has imported its framework.

        Raises:
            ContenderFailed: It has not.
        """
        self.import_seconds = self._next_answer()["import_seconds"]

    def ask(self, what: str, **arguments: Any) -> dict[str, Any]:
        """Returns its answer to one request.

        Raises:
            ContenderFailed: It could not do it, or died of it.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise self._ended() from error
        return self._next_answer()

    def close(self) -> None:
        """Ends it and its helpers at once; there is nothing that it would have to save."""
        with contextlib.suppress(ProcessLookupError):
            if hasattr(os, "killpg"):
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with contextlib.suppress(ValueError):  # closed while reading
            for line in self._process.stdout:
                self._answers.put(line)
        self._answers.put("")

    def _next_answer(self) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=PATIENCE_SECONDS)
        except queue.Empty:
            self.close()
            raise ContenderFailed(f"no answer within {PATIENCE_SECONDS:.0f} s") from None
        if not line:
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ContenderFailed(answer["error"])
        return answer

    def _ended(self) -> ContenderFailed:
        code = self._process.wait()
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return ContenderFailed(f"its process ended with {how}{self._last_words()}")

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        told = [line.strip() for line in lines if line.strip()]
        return f": {told[-1]}" if told else ""


class Crew(contextlib.ExitStack):
    """The processes of all contenders; none is left when the block ends, for whatever reason.

    Args:
        module: What each of them runs, as in `Process`.
    """

    def __init__(self, module: str) -> None:
        super().__init__()
        self._module = module
        self._processes: dict[str, Process] = {}
        self._broken: dict[str, str] = {}
        self._spawning = threading.Lock()
        self._ended = self._starting = False
        self._ready: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def __exit__(self, *raised: Any) -> bool | None:
        """Ends all processes; none is started any more."""
        with self._spawning:
            self._ended = True
        return super().__exit__(*raised)

    def start_meanwhile(self, names: Sequence[str]) -> None:
        """Starts a process for each, one after the other, while the caller does something else.

        Args:
            names: Who takes part; `ready` tells when they are.
        """

        def start() -> None:
            try:
                for name in self.start(names):
                    self._ready.put(name)
            except Exception as error:
                # Nobody asks for the reason if all was ended early, in the middle of a start.
                reason = f"it could not be started: {error}"
                self._broken |= {name: reason for name in names if name not in self._processes}
            finally:
                self._ready.put(None)

        self._starting = True
        threading.Thread(target=start, name="starting", daemon=True).start()

    def ready(self) -> Iterator[str]:
        """Yields each that was started meanwhile, once it is ready or has failed; each once."""
        while self._starting:
            name = self._ready.get()
            if name is None:
                self._starting = False
            else:
                yield name

    def start(self, names: Sequence[str], *, at_once: int = 1) -> Iterator[str]:
        """Starts a process for each, and yields each once it is ready or has failed.

        Args:
            names: Who takes part.
            at_once: How many import their frameworks at the same time, one for each core that may
                be used; nothing is measured then.
        """
        waiting = collections.deque(names)
        ahead: collections.deque[Process] = collections.deque()
        while (waiting or ahead) and not self._ended:
            while waiting and len(ahead) < at_once:
                ahead.append(self._spawn(waiting.popleft()))
            process = ahead.popleft()
            self._await(process)
            yield process.name

    def ask(self, name: str, what: str, **arguments: Any) -> dict[str, Any]:
        """Returns a contender's answer; one that died of an earlier request is started again.

        Raises:
            ContenderFailed: It could not do it, or died of it.
        """
        if name in self._broken:
            raise ContenderFailed(self._broken[name])
        if not self._processes[name].is_alive:
            self._await(self._spawn(name))
        return self._processes[name].ask(what, **arguments)

    def import_seconds(self, name: str) -> float | None:
        """Returns how long a contender took to import its framework, maybe beside another."""
        return self._processes[name].import_seconds

    def _spawn(self, name: str) -> Process:
        with self._spawning:
            if self._ended:
                raise ContenderFailed("it was no longer wanted")
            process = self._processes[name] = Process(self._module, name)
            self.callback(process.close)
        return process

    def _await(self, process: Process) -> None:
        try:
            process.wait_until_ready()
        except ContenderFailed as error:  # trying again would end the same
            self._broken[process.name] = str(error)
