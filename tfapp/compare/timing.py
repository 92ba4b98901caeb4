"""Times engines: each in a process of its own, in turn. `python -m tfapp.compare.timing eager`.

    {"do": "prepare", "program": "mlp", "data": null}
    {"do": "time", "seconds": 0.2}

The loss of the first step comes with the answer to `prepare`, so that who measures can see that
what is timed is what was compared.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tfapp.compare.parity import relative_difference
from tfapp.compare.plan import task_of
from tfapp.compare.programs import PROGRAMS, Program
from tfapp.compare.roster import Engine, find_engines
from tfapp.compare.task import Task
from tfapp.compare.trace import Train
from tfapp.timing.process import ContenderFailed, Crew
from tfapp.timing.schedule import Schedule, Watch
from tfapp.timing.slices import Slice, Spread, paired_ratio, ranks, spread
from tfapp.timing.turns import PAUSE_SECONDS, take_turns
from tfapp.timing.worker import Actions, Answer, Pace, serve

SLICE_SECONDS = 0.15
# Fewer slices have no spread that could tell engines apart.
_LEAST_ROUNDS = 3
# Another compilation may round the first loss in another way.
_SAME_LOSS = 1e-5
_MODULE = "tfapp.compare.timing"


@dataclass(frozen=True)
class Timing:
    """One engine on one program.

    Attributes:
        slices: One a round, in order.
        step_us: Microseconds a step over the slices.
        speed: How many times as fast as the reference, the median over rounds; `None` if the
            reference was not timed.
        rank: 1 for the fastest; `None` if it cannot be told apart from another, and with fewer
            than three slices.
        compile_seconds: Until the first step is done, its framework imported before.
        import_seconds: Of its framework, beside whatever else was done meanwhile.
        first_loss: Of the first step.
    """

    slices: tuple[Slice, ...]
    step_us: Spread
    speed: float | None
    rank: int | None
    compile_seconds: float
    import_seconds: float | None
    first_loss: float

    def objection(self, loss: float) -> str:
        """Says what is wrong if something else was timed than what was compared; else nothing.

        Args:
            loss: Of the first step of what was compared.
        """
        if relative_difference(self.first_loss, loss) <= _SAME_LOSS:
            return ""
        return f"its first loss was {self.first_loss:.8g} and not {loss:.8g}"

    @property
    def steps_a_second(self) -> float:
        """Of the median slice."""
        return 1e6 / self.step_us.median


@dataclass(frozen=True)
class Timings:
    """What all engines came to.

    Attributes:
        programs: By program and engine; who failed or cannot is not there.
        failures: Why, by program and engine.
    """

    programs: Mapping[str, Mapping[str, Timing]]
    failures: Mapping[str, Mapping[str, str]]


class Timers:
    """Processes that are timed: they start, one after the other, when the block is entered.

        with Timers("tfapp.compare.timing", {"mlp": ["tf1", "eager"]}) as timers:
            compare_something_meanwhile()
            timings = timers.time(reference="tf1", rounds=3, watch=unwatched)

    Args:
        module: What each process runs with a name as its argument; it serves a `Worker`.
        teams: Names by program; a process lasts over programs.
        data: Folder of IDX files for the programs that need one.
    """

    def __init__(
        self, module: str, teams: Mapping[str, Sequence[str]], data: Path | None = None
    ) -> None:
        self._teams, self._data = teams, data
        self._names = list(dict.fromkeys(name for team in teams.values() for name in team))
        self._crew = Crew(module)

    def __enter__(self) -> Timers:
        """Starts the processes, meanwhile."""
        self._crew.__enter__()
        self._crew.start_meanwhile(self._names)
        return self

    def __exit__(self, *raised: Any) -> None:
        """Ends all of them."""
        self._crew.__exit__(*raised)

    def time(self, *, reference: str, rounds: int, watch: Watch) -> Timings:
        """Times everyone on every program; waits for who is not ready yet.

        Args:
            reference: Name that rates refer to.
            rounds: Slices of each.
            watch: Is told what happens next.
        """
        schedule = Schedule(
            starts=len(self._names),
            checks=sum(map(len, self._teams.values())),
            rounds=rounds,
            slice_seconds=SLICE_SECONDS + PAUSE_SECONDS,
        )
        watch(schedule.now("", "starting", "all"))
        for name in self._crew.ready():
            schedule.started()
            watch(schedule.now("", "started", name))
        measured: dict[str, Mapping[str, Timing]] = {}
        failures: dict[str, Mapping[str, str]] = {}
        for program, team in self._teams.items():
            one = _OneProgram(self._crew, program, self._data, schedule, watch)
            measured[program] = one.time(team, reference, rounds)
            failures[program] = one.failures
        return Timings(measured, failures)


def engine_timers(
    programs: Sequence[Program], engines: Sequence[Engine], data: Path | None = None
) -> Timers:
    """Returns timers of every engine on every program that it can compute.

    Args:
        programs: One after another.
        engines: Who is timed; who is not installed is left out.
        data: Folder of IDX files for the programs that need one.
    """
    present = [engine for engine in engines if engine.missing is None]
    teams = {
        program.name: [engine.name for engine in present if program.kind not in engine.cannot]
        for program in programs
    }
    return Timers(_MODULE, teams, data)


class _OneProgram:
    """One program: every engine is prepared, then all are timed in turn.

    Args:
        crew: Their processes.
        program: Its name.
        data: Folder of IDX files.
        schedule: Knows how far the measurement is.
        watch: Is told what happens next.
    """

    def __init__(
        self, crew: Crew, program: str, data: Path | None, schedule: Schedule, watch: Watch
    ) -> None:
        self._crew, self._program, self._data = crew, program, data
        self._schedule, self._watch = schedule, watch
        self.failures: dict[str, str] = {}

    def time(self, team: Sequence[str], reference: str, rounds: int) -> dict[str, Timing]:
        """Returns what was measured of those that did not fail."""
        prepared = {name: answer for name in team if (answer := self._prepare(name)) is not None}
        turns = take_turns(
            self._crew,
            list(prepared),
            workload=self._program,
            rounds=rounds,
            seconds=SLICE_SECONDS,
            schedule=self._schedule,
            watch=self._watch,
        )
        self.failures |= {name: t.failure for name, t in turns.items() if t.failure is not None}
        slices = {name: tuple(t.slices) for name, t in turns.items() if t.failure is None}
        times = {name: [one.step_us for one in some] for name, some in slices.items()}
        places: dict[str, int | None] = dict.fromkeys(times)
        if rounds >= _LEAST_ROUNDS:
            found = ranks([spread(some) for some in times.values()])
            places = dict(zip(times, found, strict=True))
        base = times.get(reference)
        return {
            name: Timing(
                slices=slices[name],
                step_us=spread(times[name]),
                speed=None if base is None else paired_ratio(base, times[name]),
                rank=places[name],
                compile_seconds=prepared[name]["compile_seconds"],
                import_seconds=self._crew.import_seconds(name),
                first_loss=prepared[name]["first_loss"],
            )
            for name in slices
        }

    def _prepare(self, name: str) -> Answer | None:
        self._watch(self._schedule.now(self._program, "compiling", name))
        folder = None if self._data is None else str(self._data)
        with self._schedule.check():
            try:
                return self._crew.ask(name, "prepare", program=self._program, data=folder)
            except ContenderFailed as error:
                self.failures[name] = str(error)
                return None


class Worker:
    """Answers requests about one engine, one program after another.

    Args:
        load: Returns what trains a task.
    """

    def __init__(self, load: Callable[[Task], Train]) -> None:
        self._load = load
        self._train: Train | None = None
        self._pace: Pace | None = None
        self.actions: Actions = {"prepare": self._prepare, "time": self._time}

    def _prepare(self, program: str, data: str | None) -> Answer:
        """Builds, makes the first step and warms up."""
        self._train = self._pace = None
        gc.collect()  # graphs and models hold themselves; the next one takes memory
        task = task_of(PROGRAMS[program], None if data is None else Path(data))
        started = time.perf_counter()
        train = self._train = self._load(task)
        first_loss = train(1)
        compile_seconds = time.perf_counter() - started
        pace = self._pace = Pace(self._slice)
        pace.start()
        pace.warm_up()
        return {"compile_seconds": compile_seconds, "first_loss": first_loss}

    def _time(self, seconds: float) -> Answer:
        assert self._pace is not None, "time comes after prepare"
        return asdict(self._pace.slice(seconds))

    def _slice(self, steps: int) -> Slice:
        assert self._train is not None
        started = time.perf_counter()
        self._train(steps)
        return Slice(steps, time.perf_counter() - started)


def main() -> None:
    """Answers until stdin is closed."""
    (engine,) = find_engines(sys.argv[1:2])
    serve(lambda: Worker(engine.load_timed()).actions)


if __name__ == "__main__":
    main()
