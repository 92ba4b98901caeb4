"""What a graph costs before it runs, and after how many steps it has paid for itself."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tfapp.compare.roster import ENGINES
from tfapp.compare.task import Task
from tfapp.compare.trace import Train
from tfapp.timing.slices import Slice, Spread, paired_ratio, ranks, spread, steps_for

STARTS = 3
ROUNDS = 5
SLICE_SECONDS = 0.02
BASE = "eager"
TIMED = (BASE, "function", "xla", "tf1")


@dataclass(frozen=True)
class StepCost:
    """The training step of a program on one engine.

    Attributes:
        engine: Its name.
        start_ms: Milliseconds from the arrays to the end of the first step: making variables,
            building or tracing, compiling, running once.
        step_us: Microseconds of a step after that, on a batch of NumPy arrays.
        speed: How many times as fast as eager a step is; the median over rounds.
        rank: 1 for the fastest; `None` if it cannot be told apart from another.
        pays_after: The number of steps, the first among them, from which on no more time has gone
            by than in eager execution; `None` if a step is not faster.
    """

    engine: str
    start_ms: Spread
    step_us: Spread
    speed: float
    rank: int | None
    pays_after: int | None


def step_costs(task: Task) -> tuple[StepCost, ...]:
    """Times the first and the later steps of a program on four engines, in this process.

    Engines take turns, so that what slows the machine down for a while slows all of them.

    Args:
        task: The program with its arrays.
    """
    starts: dict[str, list[float]] = {name: [] for name in TIMED}
    trains: dict[str, Train] = {}
    for _ in range(STARTS):
        for name in TIMED:
            begin = time.perf_counter()
            trains[name] = ENGINES[name].load_timed()(task)
            trains[name](1)
            starts[name].append((time.perf_counter() - begin) * 1e3)
    times = _take_turns(trains)
    return judge({name: spread(values) for name, values in starts.items()}, times)


def judge(
    starts: Mapping[str, Spread], times: Mapping[str, Sequence[float]]
) -> tuple[StepCost, ...]:
    """Compares what was measured; one engine must be `eager`.

    Args:
        starts: Milliseconds of the first step by engine.
        times: Microseconds of a step by engine, a number for each round.
    """
    spreads = {name: spread(values) for name, values in times.items()}
    places = dict(zip(spreads, ranks(list(spreads.values())), strict=True))
    return tuple(
        StepCost(
            engine=name,
            start_ms=starts[name],
            step_us=step,
            speed=paired_ratio(times[BASE], times[name]),
            rank=places[name],
            pays_after=_pays_after(name, starts, spreads),
        )
        for name, step in spreads.items()
    )


def break_even(start: float, step: float, other_start: float, other_step: float) -> int | None:
    """Returns the number of steps from which on one way has taken no more time than another.

    Args:
        start: Seconds of the first step, with everything that must be done before it.
        step: Seconds of each further one.
        other_start: The same of the other way.
        other_step: The same.

    Returns:
        At least 1, the first step; `None` if a step is not faster than the other's.
    """
    if step >= other_step:
        return None
    return 1 + max(0, math.ceil((start - other_start) / (other_step - step)))


def _pays_after(name: str, starts: Mapping[str, Spread], steps: Mapping[str, Spread]) -> int | None:
    if steps[name].p90 >= steps[BASE].p10:
        return None
    return break_even(
        starts[name].median * 1e-3,
        steps[name].median * 1e-6,
        starts[BASE].median * 1e-3,
        steps[BASE].median * 1e-6,
    )


def _take_turns(trains: Mapping[str, Train]) -> dict[str, list[float]]:
    """Returns microseconds of a step by engine, a number for each round."""
    counts = dict.fromkeys(trains, 1)
    times: dict[str, list[float]] = {name: [] for name in trains}
    for round_ in range(-2, ROUNDS):  # two to find out how many steps fill a slice
        for name, train in trains.items():
            piece = _time(train, counts[name])
            counts[name] = steps_for(SLICE_SECONDS, piece.step_us * 1e-6)
            if round_ >= 0:
                times[name].append(piece.step_us)
    return times


def _time(train: Train, steps: int) -> Slice:
    begin = time.perf_counter()
    train(steps)
    return Slice(steps, time.perf_counter() - begin)
