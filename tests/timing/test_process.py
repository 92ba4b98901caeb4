from __future__ import annotations

import threading
import time

import pytest

from tfapp.timing import process


def test_as_many_start_at_once_as_may_be_used(monkeypatch):
    monkeypatch.setattr(process.os, "cpu_count", lambda: 64)
    ready = []

    class Started:
        def __init__(self, module, name):
            self.name, self.before = name, len(ready)

        def wait_until_ready(self):
            ready.append(self.before)

        def close(self):
            pass

    monkeypatch.setattr(process, "Process", Started)
    with process.Crew("module") as crew:
        assert list(crew.start("abcd", at_once=2)) == list("abcd")
    assert ready == [0, 0, 1, 2], "how many were ready when each began"


@pytest.mark.usefixtures("with_calendar")
def test_files_in_the_working_folder_are_not_taken_for_modules():
    with process.Crew("tfapp.compare.timing") as crew:
        assert list(crew.start(["keras_fit"])) == ["keras_fit"]
        crew.ask("keras_fit", "prepare", program="quadratic", data=None)


class Slow:
    """A process that is ready when a test says so."""

    alive = 0

    def __init__(self, module, name):
        self.name, self.closed = name, threading.Event()
        type(self).alive += 1

    def wait_until_ready(self):
        if self.name != "fast" and self.closed.wait(10):
            raise process.ContenderFailed("its process ended with SIGKILL")

    def close(self):
        self.closed.set()
        type(self).alive -= 1


def test_processes_start_while_the_caller_does_something_else(monkeypatch):
    monkeypatch.setattr(process, "Process", Slow)
    with process.Crew("module") as crew:
        crew.start_meanwhile(["fast"])
        assert list(crew.ready()) == ["fast"]
    assert Slow.alive == 0


def test_nobody_is_started_after_the_end(monkeypatch):
    monkeypatch.setattr(process, "Process", Slow)
    begun = threading.active_count()
    with process.Crew("module") as crew:
        crew.start_meanwhile(["slow", "never"])
        while not Slow.alive:
            time.sleep(0.001)
    list(crew.ready())
    assert Slow.alive == 0
    assert threading.active_count() <= begun + 1
    assert "never" not in crew._processes


def test_who_cannot_be_started_has_failed_and_nobody_waits(monkeypatch):
    def full(module, name):
        raise OSError("out of memory")

    monkeypatch.setattr(process, "Process", full)
    with process.Crew("module") as crew:
        assert list(crew.ready()) == [], "nobody was started"
        crew.start_meanwhile(["a", "b"])
        assert list(crew.ready()) == []
        assert list(crew.ready()) == []
        with pytest.raises(process.ContenderFailed, match="it could not be started: out of memory"):
            crew.ask("b", "time")
