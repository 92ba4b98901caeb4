"""Threads for requests: few while these are quick, more when they wait.

Python runs one thread at a time, and each thread that asks for its turn makes all others wait for
theirs: eight threads that parse, compute and answer for 40 us each do it half as often as two. But
a thread that waits, for a model or for a reload, must not keep others from being answered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

_FEW = 2
_PATIENCE_SECONDS = 0.001


class _Task(NamedTuple):
    future: Future[Any]
    work: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, Any]


class FrugalExecutor(Executor):
    """Runs tasks in a few threads, and in more when none of these has taken a task for a moment.

    Args:
        most: How many threads there are at most.
        few: How many take tasks at any time.
        patience_seconds: How long tasks wait, while none is taken, before more threads take them.
        thread_name_prefix: Begins the names of the threads.
    """

    def __init__(
        self,
        most: int,
        *,
        few: int = _FEW,
        patience_seconds: float = _PATIENCE_SECONDS,
        thread_name_prefix: str = "",
    ) -> None:
        self._few_count = min(few, most)
        self._patience_seconds = patience_seconds
        self._tasks: SimpleQueue[_Task] = SimpleQueue()
        self._few = ThreadPoolExecutor(self._few_count, thread_name_prefix)
        # One of these watches.
        self._more = ThreadPoolExecutor(most - self._few_count + 1, f"{thread_name_prefix}-more")
        self._spare = threading.Semaphore(most - self._few_count)
        self._running: set[Future[Any]] = set()
        self._taken = 0
        self._lock = threading.Lock()
        self._is_watched = most == self._few_count  # there is nobody to call

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Runs a function in one of the threads.

        Raises:
            RuntimeError: After `shutdown`.
        """
        future: Future[T] = Future()
        self._tasks.put(_Task(future, fn, args, kwargs))
        self._few.submit(self._take)
        if not self._is_watched and len(self._running) >= self._few_count:
            self._watch()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more tasks.

        Args:
            wait: Return when all that were given are done.
            cancel_futures: Do not begin those that wait.
        """
        while cancel_futures:
            try:
                self._tasks.get_nowait().future.cancel()
            except Empty:
                break
        self._few.shutdown(wait)
        self._more.shutdown(wait)

    def _take(self) -> None:
        """Runs the first task that waits, if another thread has not."""
        try:
            future, work, arguments, options = self._tasks.get_nowait()
        except Empty:
            return
        self._running.add(future)
        self._taken += 1
        if not self._is_watched and self._tasks.qsize():
            self._watch()
        try:
            if future.set_running_or_notify_cancel():
                try:
                    result = work(*arguments, **options)
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
        finally:
            self._running.discard(future)

    def _take_one_more(self) -> None:
        try:
            self._take()
        finally:
            self._spare.release()

    def _watch(self) -> None:
        with self._lock, suppress(RuntimeError):  # it is being shut down: the few do the rest
            if not self._is_watched:
                self._more.submit(self._call_more)
                self._is_watched = True

    def _call_more(self) -> None:
        """Lets more threads take tasks that nobody takes, until none waits.

        One at first, and twice as many each time: that none was taken may be an accident, because
        another process had its turn, and all threads at once would hinder one another.
        """
        count = 1
        while self._waits():
            seen = self._taken
            time.sleep(self._patience_seconds)
            if self._taken != seen:
                count = 1
                continue
            count *= 2
            for _ in range(min(count // 2, self._tasks.qsize())):
                if not self._spare.acquire(blocking=False):
                    break
                try:
                    self._more.submit(self._take_one_more)
                except RuntimeError:  # it was shut down meanwhile
                    return

    def _waits(self) -> bool:
        """Tells whether a task waits; if none does, nobody watches any more."""
        with self._lock:
            self._is_watched = False
            # A task that comes from here on is seen by this, or sees that nobody watches.
            self._is_watched = bool(self._tasks.qsize())
            return self._is_watched
