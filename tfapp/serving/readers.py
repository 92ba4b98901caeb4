"""Processes that read requests for the event loop when it has more to do than one core can.

Python runs one thread at a time, and of the time that a small model's request takes, more than half
goes into reading it. So where many clients ask at once, their connections are handed to a process
that reads, and sends the server numbers; it goes back when it is not worth it any more, or when
something else is asked than what that process knows. Nothing of the server but this knows of it.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from tfapp.cores import whole_cores
from tfapp.processes import python_module
from tfapp.serving.http1 import HttpAnswer, Reply, answer_head
from tfapp.serving.http_connection import Connection
from tfapp.serving.reader_messages import (
    Frame,
    Frames,
    Kind,
    ReadQuestion,
    decode_question,
    send_socket,
    take_socket,
)

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2
# Until another is begun after one that could not be, or that has ended by itself.
_PAUSE_SECONDS = 10.0
# Longer answers are written by the server itself, which knows what to do if nobody takes them.
_LONG = 2**16  # bytes
_MOST_NUMBERS = 2**32 - 1


@dataclass(frozen=True)
class ReaderOptions:
    """When requests are read by other processes.

    With fewer clients the way there and back costs more than is gained: on two cores, four of them
    got as many answers as without, six a twentieth more, eight an eighth.

    Attributes:
        processes: How many there are at most.
        crowd: How many clients must ask within a fifth of a second for one of them to begin, and
            for each further one.
        few: How many of its clients must still ask for it to keep them.
        busy: How large a share of a core the event loop must take.
    """

    processes: int
    crowd: int = 6
    few: int = 4
    busy: float = 0.5


def most_readers() -> int:
    """Returns how many processes besides its own the server may use to read."""
    # Without `send_fds`, on Windows, connections cannot be handed over.
    return whole_cores() - 1 if hasattr(socket, "send_fds") else 0


class Answering(Protocol):
    """Answers what was read."""

    def answer_read(self, question: ReadQuestion, reply: Reply) -> bool:
        """Answers a request; returns whether it can, or needs the request itself."""


class Returned(NamedTuple):
    """A connection that comes back.

    Attributes:
        socket: Its socket.
        received: What came from its client, and is to be answered.
        answer: What its client is to be sent first.
        stays: Whether it is not to be handed over again for some time.
    """

    socket: socket.socket
    received: bytes
    answer: HttpAnswer | None
    stays: bool


Adopt = Callable[[Returned], None]


class Readers:
    """The processes that read for a server.

    All methods are to be called in the thread of its event loop.

    Args:
        options: When they read.
        handler: Answers what they read.
        adopt: Takes back connections.
    """

    def __init__(self, options: ReaderOptions, handler: Answering, adopt: Adopt) -> None:
        self._options = options
        self._handler = handler
        self._adopt = adopt
        self._readers: list[_Reader] = []
        self._looked = 0.0
        self._worked = 0.0
        self._not_before = 0.0
        self._ending = False

    def away(self) -> int:
        """Returns how many connections are with them."""
        return sum(len(reader.numbers) for reader in self._readers)

    def look(self, connections: set[Connection]) -> None:
        """Hands connections over if there is more to do than one core can.

        Args:
            connections: Those of the server.
        """
        now = time.monotonic()
        seconds = now - self._looked
        if seconds < _LOOK_SECONDS or self._ending:
            return
        worked = time.thread_time()
        busy = (worked - self._worked) / seconds
        self._looked, self._worked = now, worked
        asking = [connection for connection in connections if connection.take_asked()]
        wanted = (len(asking) + self.away()) // self._options.crowd
        if not asking or not wanted or busy < self._options.busy or now < self._not_before:
            return
        self._begin(min(wanted, self._options.processes))
        self._hand_over(asking, [reader for reader in self._readers if reader.ready][:wanted])

    def call_back(self) -> None:
        """Takes all connections back, each when its request is answered, and hands over no more."""
        self._ending = True
        for reader in self._readers:
            reader.call_back()

    def close(self) -> None:
        """Ends the processes, and whatever connections are with them."""
        for reader in self._readers:
            reader.end()

    def _begin(self, count: int) -> None:
        """Sees to it that there are so many."""
        try:
            while len(self._readers) < count:
                self._readers.append(
                    _Reader(self._options.few, self._handler, self._adopt, self._lost)
                )
                log.info("Many clients ask at once: a further process reads their requests.")
        except OSError as error:
            self._not_before = time.monotonic() + _PAUSE_SECONDS
            log.error("no process to read requests can be started: %s", error)

    def _hand_over(self, connections: Sequence[Connection], readers: Sequence[_Reader]) -> None:
        for connection in connections if readers else ():
            reader = min(readers, key=lambda each: len(each.numbers))
            try:
                connection.release(reader.take)
            except OSError as error:  # too many files are open, or are on their way
                log.debug("a connection is not handed over: %s", error)
                return

    def _lost(self, reader: _Reader) -> None:
        """Goes on without one."""
        self._readers.remove(reader)
        if not self._ending:
            self._not_before = time.monotonic() + _PAUSE_SECONDS
            log.error(
                "a process that reads requests has ended; connections cut off: %d",
                len(reader.numbers),
            )
        reader.numbers.clear()
        reader.end()


MakeReaders = Callable[[Adopt], Readers]


class _Reader(asyncio.Protocol):
    """A process that reads, from the side of the server.

    Args:
        few: How many of its clients must ask for it to keep them.
        handler: Answers what it reads.
        adopt: Takes back connections.
        lost: Is told that it has ended.

    Attributes:
        numbers: Of the connections it has.
        ready: Whether it can read.
    """

    def __init__(
        self, few: int, handler: Answering, adopt: Adopt, lost: Callable[[_Reader], None]
    ) -> None:
        self.numbers: set[int] = set()
        self.ready = False
        self._handler = handler
        self._adopt = adopt
        self._lost = lost
        self._frames = Frames()
        self._last = 0
        self._answers: dict[int, HttpAnswer] = {}  # of connections that are to come back for them
        self._transport: Any = None
        mine, theirs = socket.socketpair()
        self._sockets, their_sockets = socket.socketpair()
        with theirs, their_sockets:
            try:
                self._process = _start((theirs.fileno(), their_sockets.fileno()), few)
            except OSError:
                mine.close()
                self._sockets.close()
                raise
        self._sockets.setblocking(False)
        mine.setblocking(False)
        loop = asyncio.get_running_loop()
        self._connecting = loop.create_task(loop.create_unix_connection(lambda: self, sock=mine))

    def take(self, file: int) -> None:
        """Takes a connection.

        Args:
            file: Number of its socket's file, which stays open here.

        Raises:
            OSError: It cannot be sent now.
        """
        number = self._last % _MOST_NUMBERS + 1
        while number in self.numbers:
            number = number % _MOST_NUMBERS + 1
        send_socket(self._sockets, file)
        self._last = number
        self.numbers.add(number)
        self._send(Frame(Kind.CONNECT, number, b""))

    def call_back(self) -> None:
        """Asks for all connections."""
        self._send(Frame(Kind.RELEASE_ALL, 0, b""))

    def end(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        self._sockets.close()
        self._connecting.cancel()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins."""
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        """Is the end of the process."""
        self._lost(self)

    def data_received(self, data: bytes) -> None:
        """Does what it says."""
        for frame in self._frames.feed(data):
            try:
                self._take_frame(frame)
            except Exception:  # of all its clients the others are to be served
                log.exception("what a process has read was not understood")

    def _take_frame(self, frame: Frame) -> None:
        number = frame.number
        if frame.kind == Kind.READY:
            self.ready = True
            return
        if frame.kind == Kind.QUESTION:
            self._take_question(number, decode_question(frame.content))
            return
        self.numbers.discard(number)
        answer = self._answers.pop(number, None)
        if frame.kind == Kind.RETURNED:
            self._take_back(frame.content, answer)

    def _take_back(self, content: bytes, answer: HttpAnswer | None) -> None:
        try:
            returned = take_socket(self._sockets)
        except OSError as error:
            log.error("a connection is cut off: %s", error)
            return
        self._adopt(Returned(returned, content[1:], answer, bool(content[0])))

    def _take_question(self, number: int, question: ReadQuestion) -> None:
        reply = functools.partial(self._answer, number)
        if not self._handler.answer_read(question, reply):
            self._send(Frame(Kind.RELEASE, number, bytes([False])))

    def _answer(self, number: int, answer: HttpAnswer) -> None:
        if number not in self.numbers:  # its client has gone
            return
        if len(answer.body) > _LONG:
            self._answers[number] = answer
            self._send(Frame(Kind.RELEASE, number, bytes([True])))
        else:
            self._send(Frame(Kind.ANSWER, number, answer_head(answer) + answer.body))

    def _send(self, frame: Frame) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame.encoded())


def _start(files: tuple[int, int], few: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        python_module("tfapp.serving.reader_process", *map(str, (*files, few))),
        pass_fds=files,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        # Ctrl-C is for the server, which still needs it. In a session of its own Linux would give
        # it its turns as it gives them to another user's programs, which made it slower by a fifth.
        process_group=0,
    )
