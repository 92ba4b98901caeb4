"""`FrugalExecutor`: how many threads take tasks, and that each task is done."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from concurrent.futures import Future, wait

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfapp.serving.frugal_executor import FrugalExecutor

_LONG = 30.0


def _blocked(executor: FrugalExecutor, count: int, go: threading.Event) -> list[Future[bool]]:
    """Submits tasks that wait, and returns when they are under way."""
    begun = threading.Semaphore(0)

    def work() -> bool:
        begun.release()
        return go.wait(_LONG)

    tasks = [executor.submit(work) for _ in range(count)]
    for _ in tasks:
        assert begun.acquire(timeout=_LONG)
    return tasks


def _names(executor: FrugalExecutor, tasks: int, seconds: float) -> list[str]:
    """Returns the name of the thread that ran each of so many tasks, submitted at once."""

    def work() -> str:
        time.sleep(seconds)
        return threading.current_thread().name

    return [task.result(_LONG) for task in [executor.submit(work) for _ in range(tasks)]]


def test_quick_tasks_run_in_few_threads() -> None:
    executor = FrugalExecutor(8, patience_seconds=2.0, thread_name_prefix="frugal")
    assert set(_names(executor, 500, seconds=0.0)) <= {"frugal_0", "frugal_1"}


def test_nobody_is_called_while_tasks_are_taken() -> None:
    executor = FrugalExecutor(8, patience_seconds=0.02, thread_name_prefix="frugal")
    names = _names(executor, 200, seconds=0.002)
    # Six are called each time that the machine itself pauses for so long.
    assert sum(name.startswith("frugal-more") for name in names) <= 18


def test_tasks_that_wait_do_not_keep_others_from_running() -> None:
    executor = FrugalExecutor(8)
    for _ in range(3):
        go = threading.Event()
        tasks = _blocked(executor, 7, go)
        assert executor.submit(lambda: "ran").result(_LONG) == "ran"
        go.set()
        assert all(task.result(_LONG) for task in tasks)


@pytest.mark.parametrize("at_once", [True, False])
def test_while_the_few_wait_others_do_not_have_to_be_called_for_each_task(at_once: bool) -> None:
    executor = FrugalExecutor(8, patience_seconds=0.5, thread_name_prefix="frugal")
    go = threading.Event()
    blocked = _blocked(executor, 2, go)
    end = time.monotonic() + _LONG  # to call for each of them takes longer
    if at_once:
        _names(executor, 200, seconds=0.0)
    else:
        for _ in range(200):
            executor.submit(int).result(end - time.monotonic())
    assert time.monotonic() < end
    go.set()
    assert all(task.result(_LONG) for task in blocked)
    # And then they leave it to the few again.
    names = [name for _ in range(50) for name in _names(executor, 1, seconds=0.0)]
    assert set(names[10:]) <= {"frugal_0", "frugal_1"}


def test_tasks_that_came_before_any_was_taken_do_not_wait_for_one_another() -> None:
    executor = FrugalExecutor(4)
    _names(executor, 20, seconds=0.001)  # its threads are there
    go, interval = threading.Event(), sys.getswitchinterval()
    sys.setswitchinterval(5.0)  # so that nobody takes one between
    try:
        tasks = [executor.submit(go.wait, 2.0) for _ in range(3)]
        late = executor.submit(go.set)
    finally:
        sys.setswitchinterval(interval)
    late.result(_LONG)
    assert all(task.result(_LONG) for task in tasks)


@pytest.mark.parametrize("most", [1, 2, 3, 5])
def test_no_more_run_at_a_time_than_is_allowed(most: int) -> None:
    executor = FrugalExecutor(most)
    go = threading.Event()
    tasks = _blocked(executor, most, go)
    late = executor.submit(lambda: "ran")
    assert not wait([late], timeout=0.05).done
    go.set()
    assert late.result(_LONG) == "ran"
    assert all(task.result(_LONG) for task in tasks)


def test_more_threads_leave_again_when_few_are_enough() -> None:
    executor = FrugalExecutor(4, patience_seconds=0.05, thread_name_prefix="frugal")
    go = threading.Event()
    tasks = _blocked(executor, 4, go)
    go.set()
    wait(tasks)
    names = [
        executor.submit(lambda: threading.current_thread().name).result(_LONG) for _ in range(200)
    ]
    # Where the machine itself pauses for so long, one task each time is taken by another.
    assert sum(name.startswith("frugal-more") for name in names) < 20


def test_an_error_is_that_of_its_task_alone() -> None:
    executor = FrugalExecutor(2)

    def fail() -> None:
        raise LookupError("this one")

    failed, fine = executor.submit(fail), executor.submit(sum, (1, 2), start=3)
    with pytest.raises(LookupError, match="this one"):
        failed.result(_LONG)
    assert fine.result(_LONG) == 6


def test_what_was_given_before_the_end_is_done() -> None:
    executor = FrugalExecutor(4)
    done = itertools.count()
    for _ in range(50):
        executor.submit(lambda: (time.sleep(0.001), next(done)))
    executor.shutdown()
    assert next(done) == 50
    with pytest.raises(RuntimeError):
        executor.submit(next, done)


def test_what_waits_at_the_end_may_be_left() -> None:
    executor = FrugalExecutor(1)
    go = threading.Event()
    (running,) = _blocked(executor, 1, go)
    waiting = executor.submit(lambda: "ran")
    executor.shutdown(wait=False, cancel_futures=True)
    go.set()
    assert running.result(_LONG)
    assert waiting.cancelled()


@settings(max_examples=25, deadline=None)
@given(
    most=st.integers(1, 6),
    few=st.integers(1, 3),
    naps=st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.0005, 0.002, 0.005]), max_size=60),
)
def test_every_task_is_done_once(most: int, few: int, naps: list[float]) -> None:
    executor = FrugalExecutor(most, few=few, patience_seconds=0.0005)
    runs: list[int] = []

    def work(number: int, nap: float) -> int:
        time.sleep(nap)
        runs.append(number)
        return number

    tasks = [executor.submit(work, number, nap) for number, nap in enumerate(naps)]
    assert [task.result(_LONG) for task in tasks] == list(range(len(naps)))
    executor.shutdown()
    assert sorted(runs) == list(range(len(naps)))
