"""How many cores a process may use."""

from __future__ import annotations

import os

import pytest

from tfapp.cores import usable_cores


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux can take cores away")
def test_cores_that_were_taken_away_do_not_count():
    given = os.sched_getaffinity(0)
    assert usable_cores() == len(given)
    try:
        os.sched_setaffinity(0, {min(given)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, given)


def test_where_it_cannot_be_told_all_cores_count(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 48)
    assert usable_cores() == 48
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1
