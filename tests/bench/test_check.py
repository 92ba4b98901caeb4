"""No contender can end the benchmark by what it tells; nobody here is a process."""

from __future__ import annotations

import math

import pytest

from tfapp.bench import suite
from tfapp.bench.contenders.base import Losses, one_by_one
from tfapp.bench.roster import find_contenders, find_workloads
from tfapp.timing import turns
from tfapp.timing.schedule import Schedule, unwatched

RIGHT = [2.5 / (step + 1) for step in range(20)]
PARABOLA = [25 * 0.98 ** (2 * step) for step in range(20)]


class Told:
    """In place of a crew: every contender tells what a test says, and then trains in no time."""

    def __init__(self, losses):
        self.losses = losses

    def ask(self, name, what, **arguments):
        if what == "prepare":
            losses = [{"steps": x.steps, "mean": x.mean} for x in self.losses[name]]
            return {"compile_seconds": 0.1, "losses": losses, "trains": True}
        return {"steps": 9, "seconds": 0.1, "idle_cores": 0.0, "loss": 1.0, "remarks": ""}

    def import_seconds(self, name):
        return 0.1


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """Returns the rows of contenders by their losses."""
    monkeypatch.setattr(turns, "PAUSE_SECONDS", 0.0)

    def run(workload="cnn", **losses):
        (chosen,) = find_workloads([workload])
        schedule = Schedule(starts=0, checks=len(losses), rounds=1, slice_seconds=0.1)
        crew = Told({f"own:{name}": told for name, told in losses.items()})
        robin = suite.RoundRobin(crew, chosen, tmp_path, schedule, unwatched)
        result = robin.run(find_contenders(crew.losses), 1, 0.1)
        return {row.contender.removeprefix("own:"): row for row in result.rows}

    return run


def test_what_is_told_of_fewer_steps_is_compared_and_is_no_measure_for_others(bench):
    rows = bench(
        Short=one_by_one(RIGHT[:3]), Mean=[Losses(20, sum(RIGHT) / 20)], All=one_by_one(RIGHT)
    )
    assert {row.status for row in rows.values()} == {"ok"}
    assert rows["Short"].check == 0.0
    assert rows["Mean"].check == pytest.approx(0.0, abs=1e-12)
    assert rows["All"].check is None, "it is the measure"


def test_the_measure_may_come_later(bench):
    rows = bench(Short=one_by_one([2.5, 9.0]), All=one_by_one(RIGHT))
    assert rows["All"].status == "ok"
    assert rows["Short"].status == "differs"
    assert rows["Short"].detail == "loss of step 2 is 9, must be 1.25"


def test_without_a_measure_nobody_is_compared(bench):
    rows = bench(Short=one_by_one(RIGHT[:3]), Mean=[Losses(20, 1.0)])
    assert [(row.status, row.check) for row in rows.values()] == [("ok", None)] * 2


@pytest.mark.parametrize("workload", ["cnn", "quadratic"])
@pytest.mark.parametrize(
    ("losses", "detail"),
    [
        ([], "it told no losses to check"),
        (one_by_one(RIGHT + RIGHT[:2]), "it told losses of 22 steps, at most 20 were asked for"),
        ([Losses(32, 1.0)], "it told losses of 32 steps, at most 20 were asked for"),
        ([Losses(0, 1.0)], "it told the mean loss of less than one step"),
        ([Losses(25, 1.0), Losses(-5, 1.0)], "it told the mean loss of less than one step"),
        (one_by_one([1.0, math.nan] * 10), "loss of step 2 is nan"),
        ([Losses(1, 1.0), Losses(8, math.inf)], "loss of steps 2 to 9 is inf"),
    ],
    ids=["none", "more", "longer", "empty", "negative", "nan", "inf"],
)
def test_what_cannot_be_compared_is_a_row_and_the_rest_goes_on(bench, workload, losses, detail):
    right = RIGHT if workload == "cnn" else PARABOLA
    rows = bench(workload, Odd=losses, All=one_by_one(right), Same=one_by_one(right))
    assert (rows["Odd"].status, rows["Odd"].detail) == ("differs", detail)
    assert rows["All"].status == rows["Same"].status == "ok"
    assert rows["Same"].check == pytest.approx(0.0, abs=1e-9)


def test_a_measure_of_nothing_can_be_compared_with(bench):
    rows = bench(Zero=one_by_one([0.0] * 20), Same=one_by_one([0.0] * 20), One=one_by_one([1.0]))
    assert (rows["Same"].status, rows["Same"].check) == ("ok", 0.0)
    assert (rows["One"].status, rows["One"].detail) == ("differs", "loss of step 1 is 1, must be 0")
