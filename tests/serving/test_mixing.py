"""Requests computed together without being asked to: when, with whom, and with what answers."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tfapp.serving.calls import Call
from tfapp.serving.combining import Combiner
from tfapp.serving.inference import Computation
from tfapp.serving.mixing import MOST_ROWS, mixing_key
from tfapp.serving.observing import BatchRecord, Observer, RequestRecord
from tfapp.serving.status import Code, ServingError
from tfapp.serving.turns import Turns


class Named:
    name = "model"


class Model(Observer):
    """Doubles its input; a negative number is an error, 13 a failure of the model's own."""

    def __init__(self, *, mixable: bool = True) -> None:
        self.runs: list[int] = []
        self.batches: list[BatchRecord] = []
        self.gate = threading.Event()
        self.gate.set()
        self.call = Call(("x:0",), ("y:0",), self._execute, declared=True, mixable=mixable)

    def _execute(self, x: np.ndarray) -> list[np.ndarray]:
        assert self.gate.wait(30)
        self.runs.append(len(x) if x.ndim else -1)
        if (x < 0).any():
            raise ValueError("negative")
        return [2 * x]

    def batch(self, record: BatchRecord) -> None:
        self.batches.append(record)

    def computation(self, x) -> Computation:
        return Computation(Named, self.call, [np.asarray(x, np.float32)], lambda y: y[0].tolist())


def in_turns(turns: Turns, computations, *, rounds: int = 1):
    """Gives all of them to the loop at once, some times; returns the results of the last time."""

    async def ask():
        for _ in range(rounds):
            loop = asyncio.get_running_loop()
            futures = [loop.create_future() for _ in computations]
            records = [RequestRecord("REST", "predict") for _ in computations]
            for computation, record, future in zip(computations, records, futures, strict=True):
                turns.add(computation, record, lambda *told, to=future: to.set_result(told))
            answers = await asyncio.gather(*futures)
            results = [result for result, seconds in answers if seconds > 0.0]
            await asyncio.sleep(0)
        return results, records

    return asyncio.run(ask())


@pytest.mark.parametrize("mixable", [True, False])
def test_errors_of_the_run_are_explained_and_those_of_its_results_are_not(mixable):
    def refuse(_):
        raise ServingError(Code.INVALID_ARGUMENT, "unfit")

    def explain(error):
        return ServingError(error.code, f"{error}, which means")

    model = Model(mixable=mixable)
    run = model.computation([[-1.0]])._replace(explain=explain)
    end = model.computation([[1.0]])._replace(explain=explain, finish=refuse)

    results, _ = in_turns(Turns(model), [run, end], rounds=2)

    assert [str(error) for error in results] == ["negative, which means", "unfit"]


def test_of_requests_that_wait_together_those_that_are_late_are_not_computed():
    model = Model()

    async def ask():
        turns, told = Turns(model), {}
        for number in range(4):
            record = RequestRecord("REST", "predict", deadline=0.0 if number == 2 else math.inf)

            def done(result, seconds, number=number) -> None:
                told[number] = result

            turns.add(model.computation([[float(number)]]), record, done)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return told

    told = asyncio.run(ask())
    assert [told[number] for number in (0, 1, 3)] == [[[0.0]], [[2.0]], [[6.0]]]
    assert told[2].code is Code.DEADLINE_EXCEEDED
    assert model.runs == [1, 2]


def test_who_cannot_be_answered_keeps_nobody_else_from_it(caplog):
    model, told = Model(), []

    def fail(result, seconds) -> None:
        raise BrokenPipeError("this one")

    def hear(result, seconds) -> None:
        told.append(result)

    async def ask() -> None:
        turns = Turns(model)
        for number in range(4):
            done = fail if number == 2 else hear
            turns.add(model.computation([[float(number)]]), RequestRecord("REST", ""), done)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(ask())
    assert told == [[[0.0]], [[2.0]], [[6.0]]]
    assert "BrokenPipeError: this one" in caplog.text


def test_what_comes_in_one_turn_runs_as_one_batch():
    model = Model()
    computations = [model.computation([[float(i)]] * (i % 3 + 1)) for i in range(9)]

    results, records = in_turns(Turns(model), computations, rounds=2)

    assert results == [[[2.0 * i]] * (i % 3 + 1) for i in range(9)]
    # Nothing was known of others when the very first came.
    assert model.runs == [1, 17, 18]
    assert [(r.rows, r.batch_rows) for r in records] == [(i % 3 + 1, 18) for i in range(9)]
    assert all(0 < r.run_seconds < 5 and 0 <= r.queue_seconds < 5 for r in records)
    assert [list(b.rows) for b in model.batches][-1] == [i % 3 + 1 for i in range(9)]


def test_who_comes_alone_runs_at_once():
    model = Model()

    for _ in range(3):
        assert in_turns(Turns(model), [model.computation([[1.0]])], rounds=3)[0] == [[[2.0]]]

    assert model.runs == [1] * 9
    assert model.batches == []


def test_only_rows_of_one_shape_and_type_are_mixed():
    model = Model()
    asked = ([[1.0]], [[1.0, 2.0]], [[3.0]], 4.0, [[5.0, 6.0]])

    results, _ = in_turns(Turns(model), [model.computation(x) for x in asked], rounds=2)

    assert results == [[[2.0]], [[2.0, 4.0]], [[6.0]], 8.0, [[10.0, 12.0]]]
    assert sorted(model.runs[4:]) == [-1, 2, 2]
    wide = mixing_key(model.call, [np.zeros((1, 2))])
    assert wide not in (None, mixing_key(model.call, [np.zeros((1, 2), np.float32)]))


def test_rows_of_other_shapes_than_the_signature_says_are_not_mixed():
    call = dataclasses.replace(Model().call, shapes=((None, 2),))

    assert mixing_key(call, [np.zeros((3, 2))]) is not None
    assert mixing_key(call, [np.zeros((1, 3))]) is None
    assert mixing_key(call, [np.zeros(2)]) is None
    assert mixing_key(call, [np.zeros((1, 2, 1))]) is None
    assert mixing_key(dataclasses.replace(call, shapes=(None,)), [np.zeros((1, 2))]) is None


def test_a_model_whose_rows_hang_together_is_never_mixed():
    model = Model(mixable=False)

    in_turns(Turns(model), [model.computation([[1.0]])] * 5, rounds=3)

    assert model.runs == [1] * 15


def test_one_mistake_is_told_to_who_made_it():
    model = Model()
    computations = [model.computation(x) for x in ([[1.0]], [[-1.0]], [[3.0]])]

    results, _ = in_turns(Turns(model), computations, rounds=2)

    assert (results[0], results[2]) == ([[2.0]], [[6.0]])
    assert isinstance(results[1], ServingError)
    assert results[1].code is Code.INVALID_ARGUMENT


def test_an_output_without_a_row_for_each_is_asked_for_one_by_one():
    model = Model()
    model.call = Call(("x:0",), ("y:0",), lambda x: [x.sum(axis=0, keepdims=True)],
                      declared=True, mixable=True)  # fmt: skip

    results, _ = in_turns(
        Turns(model), [model.computation([[float(i)]]) for i in range(4)], rounds=2
    )

    assert results == [[[float(i)]] for i in range(4)]


def test_a_batch_ends_where_more_rows_would_not_help():
    model = Model()
    computations = [model.computation([[1.0]] * 100) for _ in range(6)]

    in_turns(Turns(model), computations, rounds=2)

    assert model.runs[-2:] == [300, 300]
    assert MOST_ROWS == 256


def until(true) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.001)


def waiting_in(combiner: Combiner) -> int:
    return sum(len(lane.waiting) for lane in list(combiner._lanes.values()))


def combined(model: Model, count: int, *, at_once: int = 1) -> list:
    """Asks from so many threads while one run is held up, and lets it go when all wait."""
    combiner = Combiner("model", model, at_once=at_once, quick_seconds=0)
    model.gate.clear()
    with ThreadPoolExecutor(count) as pool:
        futures = []
        for i in range(count):
            x = [np.full((1, 2), -1.0 if i == 3 else i, np.float32)]
            futures.append(pool.submit(combiner.run, model.call, x, RequestRecord("GRPC", "P")))
            # Those that find no core free wait, one behind the other.
            until(lambda waiting=i + 1 - at_once: waiting_in(combiner) >= waiting)
        model.gate.set()
        return [future.exception(20) or future.result()[0].tolist() for future in futures]


def test_threads_run_together_what_came_while_the_cores_were_busy():
    model = Model()

    answers = combined(model, 3)

    assert answers == [[[2.0 * i] * 2] for i in range(3)]
    assert model.runs == [1, 2]
    assert [list(b.rows) for b in model.batches] == [[1, 1]]
    assert model.batches[0].thread_pool == "adaptive"


def test_threads_are_told_of_their_own_mistakes():
    answers = combined(Model(), 6)

    assert isinstance(answers[3], ServingError)
    assert [a for i, a in enumerate(answers) if i != 3] == [
        [[2.0 * i] * 2] for i in (0, 1, 2, 4, 5)
    ]


def test_as_many_run_at_once_as_there_are_cores():
    model = Model()

    combined(model, 5, at_once=2)

    assert model.runs.count(3) == 1, "two ran, and three waited"
    assert sum(len(b.rows) for b in model.batches) == 3


def test_threads_of_a_quick_model_do_not_wait_for_one_another():
    model, seconds = Model(), [0.0]
    call = Call(("x:0",), ("y:0",), lambda x: time.sleep(seconds[0]) or model._execute(x),
                declared=True, mixable=True)  # fmt: skip
    combiner = Combiner("model", model, at_once=1, quick_seconds=0.05)
    x = [np.zeros((1, 1))]

    def ask_at_once() -> int:
        before = len(model.batches)
        with ThreadPoolExecutor(6) as pool:
            list(pool.map(lambda _: combiner.run(call, x, None), range(6)))
        return len(model.batches) - before

    combiner.run(call, x, None)
    assert ask_at_once() == 0
    seconds[0] = 0.1
    ask_at_once()
    assert ask_at_once() > 0, "it is not quick any more"


@pytest.mark.parametrize("mixable", [True, False])
def test_many_threads_get_their_own_answers(mixable):
    model = Model(mixable=mixable)
    combiner = Combiner("model", model, quick_seconds=0)

    def one(number: int) -> bool:
        x = np.full((number % 4 + 1, 3), number, np.float32)
        return np.array_equal(combiner.run(model.call, [x], None)[0], 2 * x)

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(one, range(2000)))
    assert sum(model.runs) == sum(number % 4 + 1 for number in range(2000))


def test_a_failure_that_nobody_foresaw_reaches_all_and_nobody_hangs():
    model = Model()
    combiner = Combiner("model", model, at_once=1, quick_seconds=0)

    def broken(x):
        model.gate.wait(30)
        raise KeyError("unforeseen")

    call = Call(("x:0",), ("y:0",), broken, declared=True, mixable=True)
    model.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(combiner.run, call, [np.zeros((1, 1))], None) for _ in range(4)]
        until(lambda: waiting_in(combiner) == 3)
        model.gate.set()
        for future in futures:
            assert isinstance(future.exception(20), KeyError)
