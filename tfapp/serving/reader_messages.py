"""What the server and the processes that read requests for it say to each other.

Both ways are streams of frames: length, kind, the number of a connection, content. The sockets of
connections go beside them, by another pair of sockets, one byte each; a frame that speaks of a
socket is sent after it, so that whoever reads the frame finds the socket waiting.
"""

from __future__ import annotations

import os
import socket
import struct
from enum import IntEnum
from typing import NamedTuple

import orjson

from tfapp.serving.json_numbers import NumberInputs, Packed

_FRAME = struct.Struct("<IBI")
_LENGTH = struct.Struct("<I")


class Kind(IntEnum):
    """What a frame is.

    Attributes:
        CONNECT: To a reader: a connection is yours.
        ANSWER: To a reader: bytes for a client.
        RELEASE: To a reader: give back a connection, with all that is not answered. A byte tells
            whether the server answers what it was asked.
        RELEASE_ALL: To a reader: give back all connections.
        QUESTION: To the server: a request to predict, read.
        RETURNED: To the server: a connection is yours again. Begins with a byte that tells whether
            it is to stay for some time; then comes what its client has sent.
        CLOSED: To the server: a connection is gone.
        READY: To the server: connections may come.
    """

    CONNECT = 1
    ANSWER = 2
    RELEASE = 3
    RELEASE_ALL = 4
    QUESTION = 5
    RETURNED = 6
    CLOSED = 7
    READY = 8


class Frame(NamedTuple):
    """A message.

    Attributes:
        kind: What it is.
        number: Of the connection it is about; 0 if it is about all.
        content: As its kind says.
    """

    kind: Kind
    number: int
    content: bytes

    def encoded(self) -> bytes:
        """Returns it as it is sent."""
        return _FRAME.pack(len(self.content), self.kind, self.number) + self.content


class Frames:
    """Frames out of the pieces in which a stream arrives."""

    def __init__(self) -> None:
        self._left = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Returns the frames that are whole with a further piece."""
        left = self._left
        left += data
        found, start, end = [], 0, len(left)
        while end - start >= _FRAME.size:
            length, kind, number = _FRAME.unpack_from(left, start)
            after = start + _FRAME.size + length
            if after > end:
                break
            found.append(Frame(Kind(kind), number, bytes(left[start + _FRAME.size : after])))
            start = after
        del left[:start]
        return found


class ReadQuestion(NamedTuple):
    """A request to predict that was read.

    Attributes:
        path: As it was sent.
        arrived: When its last byte came, as `time.perf_counter` tells it, to all processes alike.
        body_bytes: Size of its body.
        inputs: The numbers of its body.
    """

    path: str
    arrived: float
    body_bytes: int
    inputs: NumberInputs


def encode_question(path: str, arrived: float, body_bytes: int, inputs: Packed) -> bytes:
    """Returns the content of a `QUESTION`; its arguments are as for `ReadQuestion`."""
    head = orjson.dumps((path, arrived, body_bytes, *inputs[:-1]))
    return b"".join((_LENGTH.pack(len(head)), head, inputs.doubles))


def decode_question(content: bytes) -> ReadQuestion:
    """Returns what `encode_question` was given."""
    (length,) = _LENGTH.unpack_from(content)
    start = _LENGTH.size + length
    path, arrived, size, signature, rows, shapes = orjson.loads(content[_LENGTH.size : start])
    packed = Packed(signature, rows, shapes, content[start:])
    return ReadQuestion(path, arrived, size, NumberInputs.unpacked(packed))


def send_socket(way: socket.socket, file: int) -> None:
    """Sends a socket to another process, beside the frames.

    Args:
        way: To that process.
        file: Number of the socket's file, which stays open here.

    Raises:
        OSError: It cannot be sent now; nothing was.
    """
    socket.send_fds(way, [b"."], [file])


def take_socket(way: socket.socket) -> socket.socket:
    """Returns the first socket that waits to be taken.

    Raises:
        OSError: There is none, or this process has too many files open.
    """
    _, files, _, _ = socket.recv_fds(way, 1, 1)
    if not files:
        raise OSError("there is no socket, or no room for it")
    os.set_inheritable(files[0], False)
    taken = socket.socket(fileno=files[0])
    taken.setblocking(False)
    return taken
