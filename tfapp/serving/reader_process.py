"""A process that reads requests for the server, run as a module.

Its arguments are the numbers of two sockets' files, and how few clients that ask are too few to
stay. Frames go by the first, sockets of clients by the second. It ends with the server, whose end
it sees by the first.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from typing import Any

from tfapp.serving.event_loops import new_event_loop
from tfapp.serving.reader_client import LOOK_SECONDS, ClientConnection
from tfapp.serving.reader_messages import Frame, Frames, Kind, send_socket, take_socket

# Until another try to send a socket after one for which there was no room on its way.
_ROOM_SECONDS = 0.005


class ServerLink(asyncio.Protocol):
    """The way to the server, and the connections that it has sent.

    Args:
        sockets: The way of sockets.
        few: How many of its clients must ask for them to stay.
    """

    def __init__(self, sockets: socket.socket, few: int) -> None:
        self.ended = asyncio.get_running_loop().create_future()
        self._sockets = sockets
        self._few = few
        self._ending = False
        self._frames = Frames()
        self._clients: dict[int, ClientConnection] = {}
        self._crammed: list[ClientConnection] = []  # those for which there was no room
        self._entering: set[asyncio.Task[None]] = set()
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins."""
        self._transport = transport
        self._send(Frame(Kind.READY, 0, b""))

    def connection_lost(self, error: Exception | None) -> None:
        """Ends with the server."""
        if not self.ended.done():
            self.ended.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Does what the server says."""
        for kind, number, content in self._frames.feed(data):
            client = self._clients.get(number)
            if kind == Kind.CONNECT:
                self._connect(number)
            elif kind == Kind.RELEASE_ALL:
                self._ending = True
                for each in list(self._clients.values()):
                    each.leave()
            elif client is not None and kind == Kind.ANSWER:
                client.answer(content)
            elif client is not None:
                client.release(answered=bool(content[0]))

    def entered(self, client: ClientConnection) -> None:
        """Is told of a connection that is there."""
        self._clients[client.number] = client
        if self._ending:
            client.leave()

    def ask(self, client: ClientConnection, question: bytes) -> None:
        """Passes a request on."""
        self._send(Frame(Kind.QUESTION, client.number, question))

    def give_back(self, client: ClientConnection, file: int, sent: bytes, *, stays: bool) -> bool:
        """Returns a connection, if that can be done now; else it is told to try again."""
        try:
            send_socket(self._sockets, file)
        except OSError:  # the way is full
            if not self._crammed:
                asyncio.get_running_loop().call_later(_ROOM_SECONDS, self._try_again)
            self._crammed.append(client)
            return False
        del self._clients[client.number]
        self._send(Frame(Kind.RETURNED, client.number, bytes([stays]) + sent))
        return True

    def lost(self, client: ClientConnection) -> None:
        """Tells of a connection that has ended."""
        if self._clients.pop(client.number, None) is not None:
            self._send(Frame(Kind.CLOSED, client.number, b""))

    def look(self) -> None:
        """Looks after the connections."""
        clients = list(self._clients.values())
        crowded = sum(client.asked > 0 for client in clients) >= self._few
        for client in clients:
            client.look(crowded=crowded)

    def _connect(self, number: int) -> None:
        try:
            taken = take_socket(self._sockets)
        except OSError:  # more files are open than may be
            self._send(Frame(Kind.CLOSED, number, b""))
            return
        task = asyncio.get_running_loop().create_task(self._enter(number, taken))
        self._entering.add(task)
        task.add_done_callback(self._entering.discard)

    async def _enter(self, number: int, taken: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: ClientConnection(number, self), taken)
        except OSError:
            self._send(Frame(Kind.CLOSED, number, b""))

    def _try_again(self) -> None:
        crammed, self._crammed = self._crammed, []
        for tried, client in enumerate(crammed, 1):
            client.try_to_leave()
            if self._crammed:  # there is no room for the others either
                self._crammed += crammed[tried:]
                return

    def _send(self, frame: Frame) -> None:
        if not self._transport.is_closing():
            self._transport.write(frame.encoded())


async def _serve(frames: int, sockets: int, few: int) -> None:
    loop = asyncio.get_running_loop()
    ways = [socket.socket(fileno=file) for file in (frames, sockets)]
    for way in ways:
        way.setblocking(False)
    server = ServerLink(ways[1], few)
    await loop.create_unix_connection(lambda: server, sock=ways[0])
    while not (await asyncio.wait([server.ended], timeout=LOOK_SECONDS))[0]:
        server.look()


def main(frames: str, sockets: str, few: str) -> None:
    """Reads requests until the server ends.

    Args:
        frames: Number of the file of the way of frames.
        sockets: Number of the file of the way of sockets.
        few: How many of its clients must ask for them to stay.
    """
    # They are meant for the server, which first answers what has been asked.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    loop = new_event_loop()
    with suppress(OSError):
        loop.run_until_complete(_serve(int(frames), int(sockets), int(few)))


if __name__ == "__main__":
    main(*sys.argv[1:])
    os._exit(0)  # clients that are left are cut off, as they are by the end of the server
