"""The process of a server, seen from its client: started, watched, ended."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Callable, Sequence

import psutil

from tfapp.bench.serving.clients import WrongAnswer


class ServerProcess:
    """A server and the processes that it starts.

    It stays in the group of processes of its client, which is ended as a whole.

    Args:
        command: What to run.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed in `close`)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        self._watched = psutil.Process(self._process.pid)

    def check(self) -> None:
        """Returns if it still runs.

        Raises:
            WrongAnswer: It has ended.
        """
        code = self._process.poll()
        if code is not None:
            raise WrongAnswer(f"its server ended with exit code {code}{self.last_words()}")

    def last_words(self) -> str:
        """Returns the last line that it printed, after a colon."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        told = [line.strip() for line in lines if line.strip()]
        return f": {told[-1]}" if told else ""

    def cpu_seconds(self) -> float:
        """Returns the processor time that it and its processes have taken."""
        return self._sum(lambda process: sum(process.cpu_times()[:2]))

    def memory_mb(self) -> float:
        """Returns what they have in memory; what they share is counted for each."""
        return self._sum(lambda process: process.memory_info().rss) / 1e6

    def close(self) -> None:
        """Ends them at once."""
        with contextlib.suppress(psutil.Error):
            for process in self._watched.children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    process.kill()
        self._process.kill()
        self._process.wait()
        self._log.close()

    def _sum(self, measure: Callable[[psutil.Process], float]) -> float:
        total = 0.0
        with contextlib.suppress(psutil.Error):
            for process in (self._watched, *self._watched.children(recursive=True)):
                with contextlib.suppress(psutil.Error):  # it has just ended
                    total += measure(process)
        return total
