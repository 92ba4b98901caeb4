"""Engines are timed in processes of their own, and what is timed is what was compared."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from tfapp.compare import compare_programs
from tfapp.compare.plan import task_of
from tfapp.compare.programs import PROGRAMS
from tfapp.compare.roster import ENGINES
from tfapp.compare.timing import Timers, Worker, engine_timers
from tfapp.errors import ExitCode, UsageError

ABLE = [
    (engine, program)
    for engine in ENGINES.values()
    for program in PROGRAMS.values()
    if engine.missing is None and program.kind not in engine.cannot and program.draw is not None
]


@pytest.mark.parametrize(
    ("engine", "program"), ABLE, ids=lambda value: getattr(value, "name", value)
)
def test_what_is_timed_has_the_losses_of_what_is_compared(engine, program):
    losses = [float(step.loss) for step in engine.load()(task_of(program, None, 4))]
    train = engine.load_timed()(task_of(program, None))
    if engine.name == "keras_fit":  # tells the mean of a call
        assert train(1) == pytest.approx(losses[0], rel=1e-6)
        assert train(3) == pytest.approx(np.mean(losses[1:]), rel=1e-6)
    else:
        assert [train(1), train(2)] == pytest.approx([losses[0], losses[2]], rel=1e-5)
        assert train(1) == pytest.approx(losses[3], rel=1e-5)


def numpy_alone():
    with engine_timers([PROGRAMS["quadratic"]], [ENGINES["numpy"]]) as timers:
        return timers.time(reference="numpy", rounds=3, watch=lambda moment: None)


def test_a_process_is_asked_for_slices():
    timings = numpy_alone()
    assert timings.failures == {"quadratic": {}}
    timing = timings.programs["quadratic"]["numpy"]
    assert len(timing.slices) == 3
    assert timing.first_loss == 25
    assert timing.speed == 1
    assert timing.rank == 1
    low, high = timing.step_us.p10, timing.step_us.p90
    assert 0 < low <= timing.step_us.median <= high
    assert timing.steps_a_second == pytest.approx(1e6 / timing.step_us.median)


def test_a_worker_tells_its_first_loss_and_what_went_wrong():
    worker = Worker(lambda task: ENGINES["numpy"].load_timed()(task))
    answer = worker.actions["prepare"](program="two-layer", data=None)
    assert answer["first_loss"] == pytest.approx(5.000416e7, rel=1e-6)
    assert json.loads(json.dumps(answer)) == answer
    slice_ = worker.actions["time"](seconds=0.01)
    assert slice_["steps"] >= 1
    assert slice_["seconds"] > 0


def test_a_timing_of_another_computation_is_not_told(monkeypatch):
    timings = numpy_alone()
    timing = timings.programs["quadratic"]["numpy"]
    wrong = dataclasses.replace(timing, first_loss=25.001)
    rows = {
        "tf1": timing,
        "numpy": wrong,
    }
    told = dataclasses.replace(
        timings,
        programs={"quadratic": rows},
        failures={"quadratic": {"eager": "its process ended with SIGKILL"}},
    )
    monkeypatch.setattr(Timers, "time", lambda self, **options: told)
    result = compare_programs(["quadratic"], engines=["numpy", "eager"], steps=2, rounds=1)
    assert result.machine is not None
    found = {row.engine: row for row in result.programs[0].rows}
    assert found["tf1"].timing == timing
    assert found["numpy"].timing is None
    assert found["numpy"].timing_failure == "its first loss was 25.001 and not 25"
    assert found["eager"].timing_failure == "its process ended with SIGKILL"
    assert result.agrees, "what cannot be timed may still be right"


def test_the_command_tells_rates_beside_the_differences(cli):
    result = cli("compare", "graph", "--engines", "numpy", "--rounds", "1", "--json")
    assert result.code == ExitCode.DONE, result.err
    content = json.loads(result.out)
    assert content["machine"]["cores"] >= 1
    reference, other = content["programs"][0]["rows"]
    for row in (reference, other):
        assert row["timing"]["step_us"]["median"] > 0
        assert len(row["timing"]["slices"]) == 1
        assert row["timing"]["rank"] is None, "one slice has no spread"
    assert reference["timing"]["speed"] == 1
    rate = [row["timing"]["step_us"]["median"] for row in (reference, other)]
    assert other["timing"]["speed"] == pytest.approx(rate[0] / rate[1])


def test_nothing_is_timed_in_exact_mode(cli):
    with pytest.raises(UsageError, match="nothing is timed where every bit must be equal"):
        compare_programs(["quadratic"], exact=True, rounds=1)
    refused = cli("compare", "quadratic", "--exact", "--rounds", "2")
    assert refused.code == ExitCode.USAGE
    assert "Ask for 0 rounds." in refused.err
    with pytest.raises(UsageError, match="rounds: found -1, allowed 0 or more"):
        compare_programs(["quadratic"], rounds=-1)
