"""Which loop suits this model, data and machine: what cannot win is ruled out, the rest is timed.

    choice = choose_loop(parts, step)
    choice.loop.start(0)
    choice.name, choice.reason     # "resident", "resident 1.02 ms a step, streaming 1.95 ms"

Nothing is guessed from the hardware: XLA makes a dense network twice as fast on one CPU, and the
same network with a `keras.layers.Dropout` in it four times slower.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import tensorflow as tf

from tfapp.data.splits import ArraySplit
from tfapp.errors import UsageError, reason_of
from tfapp.training.assembly import Assembly
from tfapp.training.loops import Loop, Step, StreamingLoop, build_loop
from tfapp.training.memory import free_memory

# What finding out may cost: this share of the run, and never more than so many seconds.
SHARE_OF_RUN = 0.05
MOST_SECONDS = 10.0

# Seconds that XLA compiles: at least, and for each operation of the step. Measured on two cores
# over this project's dense models, 230 to 980 operations, 0.9 to 2.7 s; to err high is harmless.
_COMPILE_SECONDS = 0.5
_COMPILE_SECONDS_PER_OPERATION = 0.0025

_AS_ASKED = "as the config says"
_NOT_FINITE = "a step was not finite"
_ROUNDS = 3
_SLICE_SECONDS = 0.05
_XLA = ("resident", "streaming_xla")


@dataclass(frozen=True)
class LoopChoice:
    """The loop of a run, and why.

    Attributes:
        name: `resident`, `streaming`, `streaming_xla` or `eager`.
        reason: One line for people.
        loop: Call its `start` before its `run`.
        seconds_per_step: Of the loops that were timed, by name.
    """

    name: str
    reason: str
    loop: Loop
    seconds_per_step: Mapping[str, float] = field(default_factory=dict)


def choose_loop(parts: Assembly, step: Step, *, first_step: int = 0) -> LoopChoice:
    """Chooses the loop that `train.loop` asks for; `auto` takes the fastest.

    Every variable that a checkpoint holds is afterwards what it was before.

    Args:
        parts: The training; its optimizer is built.
        step: What the loops run.
        first_step: Steps that are done already.

    Raises:
        UsageError: The loop that was asked for cannot hold the data.
    """
    asked = parts.config.train.loop
    loops = _Loops(parts, step)
    if parts.place.replicas > 1:
        return _on_replicas(loops, parts)
    if asked == "auto":
        with _undone(parts):
            return _fastest(loops, parts, parts.total_steps - first_step)
    if asked == "resident" and (problem := _cannot_reside(parts)):
        raise UsageError(f"train.loop 'resident': {problem}. Use 'streaming', or 'auto'.")
    if asked in _XLA:
        with _undone(parts):
            if refusal := _refusal(loops[asked], parts):
                return LoopChoice("streaming", f"{refusal}, so not {asked}", loops["streaming"])
    return LoopChoice(asked, _AS_ASKED, loops[asked])


def _on_replicas(loops: _Loops, parts: Assembly) -> LoopChoice:
    asked, place = parts.config.train.loop, parts.place
    if asked not in ("auto", "streaming"):
        raise UsageError(
            f"train.loop {asked!r} is for one device, train.strategy {place.name!r} trains on"
            f" {place.replicas}. Use train.loop 'streaming', or train.strategy 'one'."
        )
    reason = f"{place.replicas} replicas share each batch" if asked == "auto" else _AS_ASKED
    return LoopChoice("streaming", reason, loops["streaming"])


class _Loops:
    """Loops made when they are first asked for."""

    def __init__(self, parts: Assembly, step: Step) -> None:
        self._parts = parts
        self._step = step
        self._made: dict[str, Loop] = {}

    def __getitem__(self, name: str) -> Loop:
        if name not in self._made:
            config = self._parts.config
            self._made[name] = build_loop(
                name,
                self._step,
                self._parts.splits.train,
                batch_size=config.data.batch_size,
                seed=config.seed,
                part=self._parts.place.part,
            )
        return self._made[name]


def _fastest(loops: _Loops, parts: Assembly, remaining_steps: int) -> LoopChoice:
    streaming = cast(StreamingLoop, loops["streaming"])
    _warm_up(streaming, parts)
    operations = streaming.operations()
    compile_seconds = _COMPILE_SECONDS + _COMPILE_SECONDS_PER_OPERATION * len(operations)
    rough = _time_slice(streaming, _SLICE_SECONDS / 10)
    if rough is None:
        return LoopChoice("streaming", _NOT_FINITE, streaming)
    run_seconds = rough * remaining_steps
    cap = min(MOST_SECONDS, SHARE_OF_RUN * run_seconds)
    started = time.perf_counter()
    timed: dict[str, Loop] = {"streaming": streaming}
    passed = _cannot_win(parts, operations)
    for name in _XLA:
        left = cap - (time.perf_counter() - started)
        if name in passed:
            continue
        if compile_seconds > left:
            passed[name] = (
                f"compiling may take {compile_seconds:.1f} s, the run about {run_seconds:.1f} s"
            )
        elif refusal := _refusal(loops[name], parts):
            passed[name] = refusal
        else:
            timed[name] = loops[name]
    seconds = _time(timed, cap) if len(timed) > 1 else {}
    if len(timed) > 1 and not seconds:
        return LoopChoice("streaming", _NOT_FINITE, streaming)
    name = min(seconds, key=seconds.__getitem__, default="streaming")
    return LoopChoice(name, _explain(seconds, passed), loops[name], seconds)


def _explain(seconds: Mapping[str, float], passed: Mapping[str, str]) -> str:
    told = [
        f"{name} takes {1e3 * value:.3g} ms a step"
        for name, value in sorted(seconds.items(), key=lambda item: item[1])
    ]
    reasons: dict[str, list[str]] = {}
    for name, why in passed.items():
        reasons.setdefault(why, []).append(name)
    told += [f"not {' or '.join(names)}: {why}" for why, names in reasons.items()]
    return "; ".join(told)


def _cannot_win(parts: Assembly, operations: list[str]) -> dict[str, str]:
    """Returns why a loop need not be tried, by its name."""
    # XLA's CPU backend has no fast convolution inside loops: 20 times slower than TensorFlow's,
    # after more than 10 s of compiling; a single compiled step is still 1.5 times slower.
    on_cpu = not tf.config.list_logical_devices("GPU")
    convolution = next((op for op in operations if op.startswith("Conv")), None)
    if on_cpu and convolution:
        return dict.fromkeys(_XLA, f"{convolution} under XLA on a CPU")
    problem = _cannot_reside(parts)
    return {"resident": problem} if problem else {}


def _cannot_reside(parts: Assembly) -> str | None:
    split = parts.splits.train
    if not isinstance(split, ArraySplit) or split.load is not None:
        return "its source is read batch by batch"
    # Copying to a tensor takes the place of two copies for a moment. Later a call of the loop
    # holds the variables twice.
    variables = [variable for listed in parts.variables.values() for variable in listed]
    state = sum(math.prod(v.shape) * tf.as_dtype(v.dtype).size for v in variables)
    needed, free = 2 * split.nbytes + state, free_memory()
    if free is not None and needed > free:
        return (
            f"the training split takes {split.nbytes / 2**20:,.0f} MB, which with copies and"
            f" weights comes to {needed / 2**20:,.0f} MB, and {free / 2**20:,.0f} MB are free"
        )
    return None


def _refusal(loop: Loop, parts: Assembly) -> str | None:
    """Has a loop compiled; returns what XLA objected to."""
    try:
        _warm_up(loop, parts)
    except tf.errors.OpError as error:
        refused = re.search(r"on XLA_\w+: (\w+)", str(error))
        return f"XLA cannot compile {refused[1] if refused else f'it ({reason_of(error)})'}"
    return None


def _warm_up(loop: Loop, parts: Assembly) -> None:
    """Compiles a loop for both sizes of batches, and places it at the beginning."""
    if isinstance(parts.splits.train, ArraySplit):  # a stream would be read up to there
        loop.start(max(0, parts.steps_per_epoch - 2))
    else:
        loop.start(0)
    loop.run(min(2, parts.steps_per_epoch))
    loop.start(0)


def _time(loops: Mapping[str, Loop], cap: float) -> dict[str, float]:
    """Returns the least seconds a step of several rounds, the loops taking turns."""
    slice_seconds = min(_SLICE_SECONDS, cap / (2 * _ROUNDS * len(loops)))
    seconds: dict[str, float] = {}
    for _ in range(_ROUNDS):
        for name, loop in loops.items():
            taken = _time_slice(loop, slice_seconds)
            if taken is None:
                return {}
            seconds[name] = min(taken, seconds.get(name, taken))
    return seconds


def _time_slice(loop: Loop, least_seconds: float) -> float | None:
    """Returns seconds a step over at least so many seconds; `None` if one was not finite."""
    steps = 1
    while True:
        started = time.perf_counter()
        result = loop.run(steps)
        seconds = time.perf_counter() - started
        if not result.finite:
            return None
        if seconds >= least_seconds:
            return seconds / steps
        steps *= 2


@contextmanager
def _undone(parts: Assembly) -> Iterator[None]:
    """Gives every variable its value back: weights, optimizer, metrics, seeds of random layers."""
    variables = [variable for part in parts.variables.values() for variable in part]
    values = [tf.identity(variable) for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
