"""When the event loop looks for the next request instead of sleeping, and when it stops."""

from __future__ import annotations

import asyncio
import json
import selectors
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from rest_for_tests import HALF, load_models

from tfapp.serving.busy_polling import BusyPolling
from tfapp.serving.http1 import HttpRequest
from tfapp.serving.rest import RestApp, RestOptions

# What a look takes by the clock below: some microseconds, and a sum of many has no rounding.
LOOK = 2.0**-17
SECONDS = 25 * LOOK


class Clock:
    """Goes on by one look each time it is read."""

    def __init__(self) -> None:
        self.now, self.read = 1024.0, 0

    def __call__(self) -> float:
        self.read += 1
        self.now += LOOK
        return self.now


@dataclass
class Asked:
    """A polling, by its own clock, and the requests it is told of."""

    polling: BusyPolling
    clock: Clock

    def request(self, pause: float = 0.0) -> None:
        """Answers one that comes so long after the answer before."""
        self.clock.now += pause
        self.polling.arrived()
        self.polling.answered()

    async def looks(self, after_turn: Callable[[int], None] = lambda turn: None) -> int:
        """Returns how often the loop looks after a request before it would sleep."""
        for _ in range(100):
            await asyncio.sleep(0)
        self.request()
        before = self.clock.read
        for turn in range(1, 101):
            await asyncio.sleep(0)
            after_turn(turn)
        return self.clock.read - before


async def asked(requests: int = 200, pause: float = 0.0, seconds: float = SECONDS) -> Asked:
    clock = Clock()
    found = Asked(BusyPolling(seconds, clock), clock)
    for _ in range(requests):
        found.request(pause)
    return found


@pytest.mark.parametrize("seconds", [SECONDS, 60 * LOOK])
def test_it_looks_as_long_as_it_was_told_where_requests_follow_at_once(seconds):
    async def run() -> None:
        found = await asked(seconds=seconds)
        assert await found.looks() == seconds / LOOK
        assert await found.looks() == seconds / LOOK

    asyncio.run(run())


@pytest.mark.parametrize("pause", [SECONDS, 0.01, 10.0])
def test_it_does_not_look_where_they_come_later(pause):
    async def run() -> None:
        assert await (await asked(pause=pause)).looks() == 0
        # That it is less, and not more, counts the two readings of the clock for a request.
        assert await (await asked(pause=SECONDS - 2 * LOOK)).looks() > 0

    asyncio.run(run())


@pytest.mark.parametrize("requests", [0, 20])
def test_a_few_requests_are_no_reason_to_look(requests):
    async def run() -> None:
        assert await (await asked(requests)).looks() == 0

    asyncio.run(run())


@pytest.mark.parametrize(("late_of_20", "is_worth_it"), [(3, False), (1, True)])
def test_nearly_all_must_follow(late_of_20, is_worth_it):
    async def run() -> None:
        found = await asked(requests=0)
        for number in range(2000):
            found.request(10.0 if number % 20 < late_of_20 else 0.0)
        assert (await found.looks() > 0) == is_worth_it

    asyncio.run(run())


def test_zero_is_never():
    async def run() -> None:
        assert await (await asked(seconds=0.0)).looks() == 0

    asyncio.run(run())


def test_a_single_core_is_left_to_whoever_asks(monkeypatch):
    monkeypatch.setattr("tfapp.serving.busy_polling.whole_cores", lambda: 1)

    async def run() -> None:
        assert await (await asked()).looks() == 0

    asyncio.run(run())


def test_it_ends_when_another_thread_had_its_turn_and_begins_no_more_if_that_goes_on():
    async def run() -> None:
        found = await asked()

        def another_has_the_fifth(turn: int) -> None:
            if turn == 5:
                found.clock.now += 1e-4

        assert await found.looks(another_has_the_fifth) == 6
        for _ in range(200):
            await found.looks(another_has_the_fifth)
        looked = [await found.looks(another_has_the_fifth) for _ in range(200)]
        assert looked.count(0) > 100

    asyncio.run(run())


def test_an_answer_while_it_looks_gives_it_its_time_anew_but_no_second_look_a_turn():
    async def run() -> None:
        found = await asked()

        def answer_the_tenth(turn: int) -> None:
            if turn == 10:
                found.request()

        # Ten looks, both readings of the clock for the request, and the looks after it.
        assert await found.looks(answer_the_tenth) == 10 + 2 + SECONDS / LOOK

    asyncio.run(run())


class _Counting(selectors.DefaultSelector):
    """Counts how often a loop sees to its sockets."""

    count = 0

    def select(self, timeout: float | None = None):
        self.count += 1
        return super().select(timeout)


@pytest.mark.parametrize("seconds", [0.0, 0.2])
def test_only_an_event_loop_that_is_told_to_stays_awake_after_quick_requests(tmp_path, seconds):
    app = RestApp(load_models(tmp_path, "half"), options=RestOptions(busy_poll_seconds=seconds))
    selector = _Counting()
    body = json.dumps({"instances": [[1]]}).encode()

    async def ask_and_wait() -> int:
        for _ in range(200):
            replied = asyncio.get_running_loop().create_future()
            request = HttpRequest("POST", f"{HALF}:predict", b"", {}, body)
            app.answer(request, replied.set_result)
            assert (await replied).status == 200
        before = selector.count
        await asyncio.sleep(0.1)
        return selector.count - before

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        counts = [runner.run(ask_and_wait()) for _ in range(10)]
    assert (max(counts) > 30) == (seconds > 0)
