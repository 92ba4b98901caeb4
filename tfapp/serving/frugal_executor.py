"""Threads for requests: few while these are quick, more when they wait.

Python runs one thread at a time, and each thread that asks for its turn makes all others wait for
theirs: eight threads that parse, compute and answer for 40 us each do it half as often as two. But
a thread that waits, for a model or for a reload, must not keep others from being answered.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

_FEW = 2
_PATIENCE_SECONDS = 0.001
# Who was called stays for so long without a task, as long as the few take none: the next does not
# have to wait for patience to end.
_LINGER_SECONDS = 0.1


class _Task(NamedTuple):
    future: Future[Any]
    work: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, Any]

    def run(self) -> None:
        """Does it, unless it was cancelled."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.work(*self.arguments, **self.options)
        except BaseException as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class FrugalExecutor(Executor):
    """Runs tasks in a few threads, and in more while none of these takes any.

    Args:
        most: How many threads there are at most.
        few: How many take tasks at any time.
        patience_seconds: How long tasks wait, while none of the few takes one, before more threads
            are called.
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
        self._more_count = most - self._few_count
        self._patience_seconds = patience_seconds
        self._few = ThreadPoolExecutor(self._few_count, thread_name_prefix)
        # One of these watches.
        self._more = ThreadPoolExecutor(self._more_count + 1, f"{thread_name_prefix}-more")
        # All that follows is read and written with it; it tells those who linger of a task.
        self._added = threading.Condition(threading.Lock())
        self._tasks: deque[_Task] = deque()
        self._at_work = 0  # of the few
        self._called = 0  # of the others
        self._taken = 0  # tasks, by the few
        self._is_watched = self._more_count == 0  # there is nobody to call
        self._is_shut = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Runs a function in one of the threads.

        Raises:
            RuntimeError: After `shutdown`.
        """
        future: Future[T] = Future()
        with self._added:
            if self._is_shut:
                raise RuntimeError("no task is taken after the end")
            self._tasks.append(_Task(future, fn, args, kwargs))
            if self._at_work < self._few_count:
                self._at_work += 1
                self._few.submit(self._work)
                return future
            self._added.notify()
            # Whoever lingers may leave instead, or be called for one task too many.
            if not self._is_watched:
                self._is_watched = True
                self._more.submit(self._watch)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Takes no more tasks.

        Args:
            wait: Return when all that were given are done.
            cancel_futures: Do not begin those that wait.
        """
        with self._added:
            self._is_shut = True
            waiting = list(self._tasks) if cancel_futures else []
            if cancel_futures:
                self._tasks.clear()
            self._added.notify_all()
        for task in waiting:
            task.future.cancel()
        self._few.shutdown(wait)
        self._more.shutdown(wait)

    def _work(self) -> None:
        """Does tasks, as one of the few, until none waits."""
        while True:
            with self._added:
                if not self._tasks:
                    self._at_work -= 1
                    return
                self._taken += 1
                task = self._tasks.popleft()
            task.run()

    def _watch(self) -> None:
        """Calls more threads for tasks that the few do not take, until none waits.

        One at first, and twice as many each time: that none was taken may be an accident, because
        another process had its turn, and all threads at once would hinder one another.
        """
        count = 1
        while True:
            seen = self._taken
            time.sleep(self._patience_seconds)
            with self._added:
                if not self._tasks or self._is_shut:  # the few do what is left at the end
                    self._is_watched = False
                    return
                if self._taken != seen:
                    count = 1
                    continue
                coming = min(count, len(self._tasks), self._more_count - self._called)
                self._called += coming
                for _ in range(coming):
                    self._more.submit(self._help, seen)
                count = min(2 * count, self._more_count)

    def _help(self, seen: int) -> None:
        """Does tasks, as one of those that were called, until the few take some again.

        Args:
            seen: How many these had taken.
        """
        while (task := self._next(seen)) is not None:
            task.run()

    def _next(self, seen: int) -> _Task | None:
        with self._added:
            if not self._tasks and self._taken == seen and not self._is_shut:
                self._added.wait(_LINGER_SECONDS)
            if self._tasks and self._taken == seen:
                return self._tasks.popleft()
            self._called -= 1
            return None
