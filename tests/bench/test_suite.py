"""The whole way, with contenders that need no framework."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from tfapp.bench import roster
from tfapp.bench.memory import run_memory
from tfapp.bench.roster import find_contenders, find_workloads
from tfapp.bench.suite import run_training
from tfapp.bench.sweep import BATCH_SIZES, WIDTHS, run_sweep, variations
from tfapp.errors import UsageError

pytestmark = pytest.mark.usefixtures("own_contenders")


def run(*names, rounds=2, seconds=0.02, workload="quadratic", **options):
    team = find_contenders([name if name in roster.ROSTER else f"own:{name}" for name in names])
    result = run_training(
        find_workloads([workload]), team, rounds=rounds, seconds=seconds, **options
    )
    return result, {row.contender.removeprefix("own:"): row for row in result.workloads[0].rows}


def children() -> list[str]:
    me = Path(f"/proc/self/task/{os.getpid()}/children")
    return me.read_text().split() if me.exists() else []


def test_who_is_faster_comes_first(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temp"))
    (tmp_path / "temp").mkdir()
    before = children()
    result, rows = run("Slow", "Right", rounds=3)
    assert list(rows) == ["Right", "Slow"]
    assert [row.rank for row in rows.values()] == [1, 2]
    right, slow = rows.values()
    assert len(right.slices) == len(slow.slices) == 3
    assert 0 < right.step_us.p10 <= right.step_us.median <= right.step_us.p90
    assert result.workloads[0].reference == "own:Right"
    assert slow.ratio > 1
    for row in rows.values():
        assert row.status == "ok"
        assert row.check < 1e-9
        assert row.detail == "by hand"
        assert row.loss < 25
        assert row.compile_seconds > 0
        assert all(timed.seconds > 0 for timed in row.slices)
    assert children() == before, "no process is left"
    assert list((tmp_path / "temp").iterdir()) == [], "no file is left"


def test_slices_take_turns():
    moments = []
    run("Right", "Slow", watch=moments.append)
    told = [(m.stage, m.contender.removeprefix("own:")) for m in moments]
    assert told == [
        ("starting", "all"),
        ("started", "Right"),
        ("started", "Slow"),
        ("compiling", "Right"),
        ("compiling", "Slow"),
        ("round 1/2", "Right"),
        ("round 1/2", "Slow"),
        ("round 2/2", "Right"),
        ("round 2/2", "Slow"),
    ]
    done = [moment.done for moment in moments]
    assert done == sorted(done)


def test_other_work_is_flagged_and_not_timed():
    _, rows = run("WrongRate", "Silent", "Right")
    wrong = rows["WrongRate"]
    assert (wrong.status, wrong.slices, wrong.rank) == ("differs", (), None)
    # After one step w is 0.11 instead of 0.1; the loss of step 20 is furthest off.
    told, wanted = 25 * 0.978**38, 25 * 0.98**38
    assert wrong.detail == f"loss of step 20 is {told:.6g}, must be {wanted:.6g}"
    assert wrong.check == pytest.approx(1 - (0.978 / 0.98) ** 38)
    assert rows["Silent"].status == "differs"
    assert rows["Silent"].detail == "it told no losses to check"
    assert rows["Right"].rank == 1


def test_whoever_fails_is_a_row_and_the_rest_goes_on():
    names = ("Raises", "DiesAtOnce", "Nobody", "NotOne", "Right", "DiesLater")
    _, rows = run(*names, rounds=4)
    assert rows["Right"].rank == 1
    assert len(rows["Right"].slices) == 4
    failed = {name: row.detail for name, row in rows.items() if row.status == "failed"}
    assert failed == {
        "Raises": "no such luck. Call again",
        "DiesAtOnce": "its process ended with SIGKILL: out of luck",
        "Nobody": failed["Nobody"],
        "NotOne": failed["NotOne"],
        "DiesLater": failed["DiesLater"],
    }
    assert failed["Nobody"].startswith("no object in own named 'Nobody'")
    assert failed["NotOne"].startswith("contender 'own:NotOne': found class NotOne, expected a sub")
    assert failed["DiesLater"].startswith("its process ended with exit code 7")


def test_what_is_not_installed_says_how(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    _, rows = run("torch", "Right")
    assert rows["torch"].status == "not installed"
    assert rows["torch"].detail == "not installed: pip install 'tfapp[torch]'"
    assert rows["Right"].rank == 1


def test_who_does_not_rest_between_slices_is_seen():
    _, rows = run("Busy", "Slow", rounds=3)
    assert rows["Busy"].idle_cores > 0.1
    assert rows["Slow"].idle_cores < 0.1


def test_a_process_that_died_is_started_again_for_the_next_workload():
    (parabola,) = find_workloads(["quadratic"])
    team = find_contenders(["own:DiesLater", "own:Right"])
    again = replace(parabola, name="the same again")
    result = run_training([parabola, again], team, rounds=4, seconds=0.02)
    details = [workload.rows[-1].detail for workload in result.workloads]
    assert details == ["its process ended with exit code 7"] * 2


def test_what_cannot_be_trained_is_refused_before_anything_starts():
    before = children()
    with pytest.raises(UsageError, match="numpy cannot train cnn"):
        run("numpy", workload="cnn")
    assert children() == before


def test_a_sweep_varies_one_number_at_a_time():
    points = variations()
    assert [p.value for p in points] == [*BATCH_SIZES, *WIDTHS]
    assert [p.workload.batch_size for p in points[: len(BATCH_SIZES)]] == list(BATCH_SIZES)
    assert [p.workload.hidden[0] for p in points[len(BATCH_SIZES) :]] == list(WIDTHS)
    for point in points:
        assert point.workload.examples % point.workload.batch_size == 0


def test_a_sweep_has_rows_for_each_point():
    small, *_, large = variations()[: len(BATCH_SIZES)]
    result = run_sweep(find_contenders(["numpy"]), [small, large], rounds=1, seconds=0.01)
    assert [(p.axis, p.value) for p in result.points] == [("batch size", 32), ("batch size", 2048)]
    for point in result.points:
        timed = point.rows[0].slices[0]
        measured = timed.seconds / timed.steps * 1e6
        assert point.rows[0].step_us.median == pytest.approx(measured), "of the one round"


def test_memory_grows_with_the_data():
    result = run_memory([2_000, 50_000], loops=["tfapp-streaming"])
    small, large = result.points
    assert large.data_mb == pytest.approx(50_000 * 784 * 4 / 2**20)
    assert large.peak_mb - small.peak_mb > 0.9 * (large.data_mb - small.data_mb)
