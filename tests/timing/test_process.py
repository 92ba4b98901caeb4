from __future__ import annotations

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
