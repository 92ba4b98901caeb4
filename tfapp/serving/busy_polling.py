"""Keeps an event loop awake between requests that follow one another at once.

A loop that sleeps until the next request is woken late, and by a processor at rest: for a small
model that takes as long as the answer. So after an answer the loop looks again and again whether a
request is there, for a fraction of a millisecond, and sleeps only then. This costs a processor, so
it is done only while nearly all requests come within that time, and not while another thread or
process waits for this one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tfapp.cores import whole_cores

# How many of the last requests count, and how large a share of them must have followed at once.
_REMEMBERED = 32
_NEARLY_ALL = 0.9
# To look takes a few microseconds. Where it took so long, another thread had the interpreter's
# lock, or another process the core: they are worth more than the wait for a request.
_UNDISTURBED_SECONDS = 50e-6


class BusyPolling:
    """Looks for the next request before an event loop sleeps, where one is likely to come.

    All methods are to be called in the thread of the loop.

    Args:
        seconds: How long to look after an answer; 0 for never. With the time of a single core it is
            never, too: whoever asks would wait for it.
        clock: Gives the time in seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self._seconds = seconds if whole_cores() > 1 else 0.0
        self._clock = clock
        self._followed = 0.0  # the share of the last requests that followed an answer at once
        self._answered = -seconds
        self._looked = 0.0
        self._looks = False

    def arrived(self) -> None:
        """Notes that a request has come."""
        followed = self._clock() - self._answered < self._seconds
        self._followed += (followed - self._followed) / _REMEMBERED

    def answered(self) -> None:
        """Notes that a request is answered, and begins to look for the next."""
        self._answered = self._looked = self._clock()
        if self._followed >= _NEARLY_ALL and not self._looks:
            self._looks = True
            self._look_once_more()

    def _look(self) -> None:
        now = self._clock()
        disturbed = now - self._looked > _UNDISTURBED_SECONDS
        if disturbed:
            self._followed -= self._followed / _REMEMBERED
        self._looked = now
        self._looks = not disturbed and now - self._answered < self._seconds
        if self._looks:
            self._look_once_more()

    def _look_once_more(self) -> None:
        # The loop does not sleep as long as something is to be called in its next turn.
        asyncio.get_running_loop().call_soon(self._look)
