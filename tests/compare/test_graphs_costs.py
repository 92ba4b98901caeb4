"""What a graph costs and when it has paid: arithmetic by hand, no clock."""

from __future__ import annotations

from itertools import count

import pytest

from tfapp.compare.graphs.costs import TIMED, break_even, judge, step_costs
from tfapp.compare.programs import PROGRAMS
from tfapp.compare.task import Task
from tfapp.timing.slices import Spread


def even(value: float) -> Spread:
    return Spread(value, value, value)


@pytest.mark.parametrize("start", [0, 3, 10, 11])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_break_even_is_where_the_sums_meet(start, step):
    other_start, other_step = 3, 4
    first = next(
        n for n in count(1) if start + (n - 1) * step <= other_start + (n - 1) * other_step
    )
    assert break_even(start, step, other_start, other_step) == first


@pytest.mark.parametrize("step", [4, 5])
def test_who_is_not_faster_never_pays(step):
    assert break_even(0, step, 100, 4) is None


def test_engines_that_overlap_are_not_ranked_among_each_other():
    times = {
        "eager": [100.0, 110.0, 120.0],
        "function": [50.0, 55.0, 60.0],
        "xla": [58.0, 62.0, 66.0],
        "tf1": [90.0, 105.0, 115.0],
    }
    starts = {name: even(value) for name, value in zip(times, (1, 3, 9, 2), strict=True)}
    costs = {cost.engine: cost for cost in judge(starts, times)}
    assert {name: cost.rank for name, cost in costs.items()} == {
        **{"function": None, "xla": None, "tf1": None, "eager": None}
    }
    # 2 ms more at the start, 55 microseconds less a step: 36.4, and the first step itself.
    assert costs["function"].pays_after == 38
    assert costs["tf1"].pays_after is None  # its median is below, but the intervals overlap
    assert costs["eager"].pays_after is None
    assert costs["function"].speed == pytest.approx(2.0)  # 100/50, 110/55, 120/60
    assert costs["eager"].speed == 1.0


def test_a_program_is_timed_on_four_engines():
    program = PROGRAMS["quadratic"]
    costs = step_costs(Task(program, program.draw(), 1))
    assert [cost.engine for cost in costs] == list(TIMED)
    for cost in costs:
        assert 0 < cost.start_ms.p10 <= cost.start_ms.median <= cost.start_ms.p90
        assert 0 < cost.step_us.p10 <= cost.step_us.median <= cost.step_us.p90
        assert cost.rank is None or 1 <= cost.rank <= len(costs)
