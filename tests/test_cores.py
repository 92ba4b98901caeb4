"""How many cores a process may use."""

from __future__ import annotations

import os

import pytest

from tfapp import cores
from tfapp.cores import usable_cores, whole_cores


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


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/", {"cpu.max": "max 100000"}, 16),
        ("0::/", {"cpu.max": "100000 100000"}, 1),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/", {"cpu.max": "390000 100000"}, 3),
        ("0::/", {"cpu.max": "9900000 100000"}, 16),
        # The group that holds its own is narrower.
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2),
        ("0::/a/b", {"cpu.max": "200000 100000"}, 2),  # its own is not to be seen
        ("3:cpu,cpuacct:/c",
         {"cpu/c/cpu.cfs_quota_us": "250000", "cpu/c/cpu.cfs_period_us": "50000"}, 5),
        ("3:cpu:/\n0::/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 16),
        ("4:memory:/m\n5:cpuset:/m", {"m/cpu.max": "100000 100000"}, 16),
        ("0::/", {}, 16),
    ],
)  # fmt: skip
def test_a_limit_of_time_counts_where_all_of_a_core_is_wanted(
    monkeypatch, tmp_path, own, files, expected
):
    monkeypatch.setattr(cores, "usable_cores", lambda: 16)
    for name, text in files.items():
        (tmp_path / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "groups" / name).write_text(f"{text}\n")
    (tmp_path / "own").write_text(f"{own}\n")

    assert whole_cores(tmp_path / "groups", tmp_path / "own") == expected


def test_without_control_groups_there_is_no_limit(monkeypatch, tmp_path):
    monkeypatch.setattr(cores, "usable_cores", lambda: 16)

    assert whole_cores(tmp_path / "groups", tmp_path / "none") == 16
