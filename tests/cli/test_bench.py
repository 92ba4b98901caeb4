"""`tfapp bench` as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tfapp.bench.memory import Memory, MemoryPoint
from tfapp.bench.results import Row, rank
from tfapp.bench.sweep import PointResult, Sweep
from tfapp.cli import bench_display
from tfapp.errors import ExitCode
from tfapp.timing.machine import Machine
from tfapp.timing.slices import Slice

FAST = ("--rounds", "2", "--seconds", "0.05")
MACHINE = Machine("a processor", 2, "a system", 0.1, {"tfapp": "1.0"})


def test_two_contenders_are_compared(cli, tmp_path):
    words = ("bench", "training", "--workload", "two-layer", *FAST)
    result = cli(*words, "--contender", "tfapp-streaming", "--contender", "numpy", "--json")
    assert result.code == ExitCode.DONE, result.err
    bench = json.loads(result.out)
    assert bench["schema_version"] == 1
    assert bench["rounds"] == 2
    assert {"tensorflow", "numpy", "torch", "jax"} <= set(bench["machine"]["versions"])
    (workload,) = bench["workloads"]
    rows = {row["contender"]: row for row in workload["rows"]}
    assert set(rows) == {"tfapp-streaming", "numpy"}
    assert sorted(row["rank"] for row in rows.values()) == [1, 2]
    for row in rows.values():
        assert row["status"] == "ok"
        assert row["check"] < 1e-5
        assert len(row["slices"]) == 2
        assert row["step_us"]["p10"] <= row["step_us"]["median"] <= row["step_us"]["p90"]
    assert bench["targets"] == [], "the one that they speak of did not take part"
    assert "two-layer compiling numpy" in result.err
    assert "two-layer round 2/2  0:0" in result.err
    assert result.err.count("round 1/2") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_table_says_what_to_install_and_the_bars_leave_it_out(cli, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    words = ("bench", "training", "--workload", "two-layer", *FAST, "--plot", "bars.svg")
    result = cli(*words, "--contender", "torch", "--contender", "numpy")
    assert result.code == ExitCode.DONE, result.err
    lines = result.out.splitlines()
    assert lines[0].startswith("two-layer: 1000-100-10, batch 64, squared error, gradient descent")
    assert lines[1].split() == [
        *("contender", "us/step", "p10", "p90", "x", "numpy", "rank", "start", "s"),
        *("loss", "remarks"),
    ]
    assert lines[2].startswith("numpy ")
    assert lines[3].startswith("torch ")
    assert lines[3].rstrip().endswith("not installed: pip install 'tfapp[torch]'")
    drawn = (tmp_path / "bars.svg").read_text(encoding="utf-8")
    assert "<!-- numpy -->" in drawn
    assert "<!-- torch -->" not in drawn


def test_quiet_says_nothing_but_the_table(cli):
    words = ("bench", "training", "--workload", "two-layer", *FAST, "--contender", "numpy", "-q")
    result = cli(*words)
    assert result.err == ""
    assert "machine" not in result.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("training", "--workload", "mlpsgd"),
            "no workload named 'mlpsgd'. Did you mean 'mlp-sgd'?",
        ),
        (
            ("training", "--contender", "fit-jit"),
            "no contender named 'fit-jit'. Did you mean 'fit-",
        ),
        (("training", "--workload", "cnn", "--contender", "numpy"), "numpy cannot train cnn."),
        (("training", "--rounds", "0"), "0 is not in the range x>=1"),
        (("training", "--seconds", "0"), "0.0 is not in the range x>=0.01"),
        (("sweep", "--contender", "kears"), "no contender named 'kears'."),
        (("trainig",), "Did you mean 'training'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistakes_are_answered_at_once(cli, words, said):
    result = cli("bench", *words)
    assert result.code == ExitCode.USAGE
    assert result.out == ""
    assert said in result.err
    assert "started" not in result.err


@pytest.mark.parametrize("form", [(), ("--json",), ("--plot", "bars.svg")])
def test_a_benchmark_without_a_time_has_failed(cli, form):
    words = ("bench", "training", "--workload", "quadratic", *FAST, "-q")
    result = cli(*words, "--contender", "nosuch:Thing", *form)
    assert result.code == ExitCode.FAILED
    assert result.err.startswith("error: no contender was timed; the rows say why.")
    told = "contender 'nosuch:Thing': no module named 'nosuch'"
    if "--json" in form:
        (row,) = json.loads(result.out)["workloads"][0]["rows"]
        assert (row["status"], row["detail"][: len(told)]) == ("failed", told)
    else:
        assert f"failed: {told}" in " ".join(result.out.split())
        assert "x reference" in result.out


def test_a_sweep_without_a_time_has_failed(cli, monkeypatch):
    point = PointResult("width", 64, (Row("tfapp", "failed", "x"), Row("fit", "failed", "y")))
    result = Sweep(MACHINE, ("tfapp", "fit"), (point,))
    monkeypatch.setattr("tfapp.bench.sweep.run_sweep", lambda *_, **__: result)
    done = cli("bench", "sweep", "-q")
    assert done.code == ExitCode.FAILED
    assert "note: tfapp at width 64: failed: x" in done.err
    assert "error: no contender was timed" in done.err


def test_a_plot_that_cannot_be_written_is_refused_before_the_work(cli, tmp_path):
    (tmp_path / "file").touch()
    words = ("bench", "training", "--workload", "two-layer", "--contender", "numpy")
    result = cli(*words, "--plot", "file/bars.svg")
    assert result.code == ExitCode.FAILED
    assert result.err.startswith("error: cannot write file/bars.svg")
    assert "started" not in result.err


def processes_under(folder: Path) -> set[int]:
    """Returns the contenders' processes that were started in `folder`."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()
            here = (entry / "cwd").readlink()
        except OSError:
            continue
        if b"tfapp.bench.contenders" in words and here == folder:
            found.add(int(entry.name))
    return found


def wait_for(condition, seconds=30.0):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)
    return value


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="looks into /proc")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_nothing_outlives_the_benchmark(number, code, tmp_path):
    work, temp = tmp_path / "work", tmp_path / "temp"
    work.mkdir()
    temp.mkdir()
    words = ("bench", "training", "--workload", "two-layer", "--contender", "numpy")
    log = (tmp_path / "err").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "tfapp", *words, "--rounds", "9", "--seconds", "30"],
        cwd=work,
        env={**os.environ, "TMPDIR": str(temp)},
        stderr=log,
    )
    wait_for(lambda: "round 1/9" in (tmp_path / "err").read_text())
    assert len(processes_under(work)) == 1
    process.send_signal(number)
    assert process.wait(timeout=20) == code
    wait_for(lambda: not processes_under(work), seconds=5)
    if number == signal.SIGINT:
        assert "error: interrupted" in (tmp_path / "err").read_text()
        assert "Traceback" not in (tmp_path / "err").read_text()
        assert list(temp.iterdir()) == []
    log.close()


def test_a_sweep_is_one_table_for_each_axis(capsys):
    def point(axis, value, ours, theirs):
        rows = [
            Row("tfapp", "ok", slices=(Slice(1000, ours / 1000),)),
            Row("fit", "ok", slices=(Slice(1000, theirs / 1000),))
            if theirs
            else Row("fit", "differs", "loss of step 2 is 3, must be 4"),
        ]
        return PointResult(axis, value, rank("", rows, "tfapp").rows)

    points = (
        point("batch size", 32, 250, 1000),
        point("width", 64, 50.25, 201),
        point("width", 1024, 150, None),
    )
    bench_display.show_sweep(Sweep(MACHINE, ("tfapp", "fit"), points), quiet=True)
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines() if line.strip()] == [
        ["batch", "size", "tfapp", "us/step", "fit", "us/step", "x", "fit"],
        ["32", "250", "1,000", "4.00"],
        ["width", "tfapp", "us/step", "fit", "us/step", "x", "fit"],
        ["64", "50.2", "201", "4.00"],
        ["1,024", "150", "-", "-"],
    ]
    assert err == "note: fit at width 1,024: differs: loss of step 2 is 3, must be 4\n"


def test_memory_is_a_table(capsys):
    points = (MemoryPoint("tfapp-resident", 12_000, 35.9, 801.2), MemoryPoint("x", 1, 0.1, None))
    bench_display.show_memory(Memory(MACHINE, points), quiet=False)
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[1] == ["tfapp-resident", "12,000", "36", "801"]
    assert lines[2] == ["x", "1", "0", "-"]
    assert lines[3][:3] == ["machine", "a", "processor,"]


def test_a_busy_machine_is_told(capsys):
    busy = Machine("a processor", 2, "a system", 1.7, {})
    bench_display.show_memory(Memory(busy, ()), quiet=False)
    assert "the machine was busy (load 1.7 before the start)" in capsys.readouterr().err
