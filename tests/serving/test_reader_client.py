"""A connection in a process that reads: it asks the server, or goes back with all that came."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from http_for_tests import request
from hypothesis import given, settings
from hypothesis import strategies as st

from tfapp.serving.json_numbers import number_inputs
from tfapp.serving.reader_client import ClientConnection
from tfapp.serving.reader_messages import decode_question

PATH = "/v1/models/m:predict"
BODY = json.dumps({"instances": [[number / 8] for number in range(300)]}).encode()
PREDICT = request(PATH, "User-Agent: t", method="POST", body=BODY)


class Transport:
    """A transport whose client takes all that is written, unless `left` says otherwise."""

    def __init__(self) -> None:
        self.left = 0
        self.written: list[bytes] = []
        self.reading = True
        self.closed = False

    def fileno(self) -> int:
        return 7

    def get_extra_info(self, name: str) -> Transport:
        assert name == "socket"
        return self

    def get_write_buffer_size(self) -> int:
        return self.left

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def abort(self) -> None:
        self.closed = True

    close = abort


@dataclass
class Server:
    """Notes what a connection says."""

    asked: list[bytes] = field(default_factory=list)
    returned: list[tuple[bytes, bool]] = field(default_factory=list)
    gone: int = 0
    has_room: bool = True

    def entered(self, client: ClientConnection) -> None:
        pass

    def ask(self, client: ClientConnection, question: bytes) -> None:
        self.asked.append(question)

    def give_back(self, client: ClientConnection, file: int, sent: bytes, *, stays: bool) -> bool:
        if self.has_room:
            assert file == 7
            self.returned.append((sent, stays))
        return self.has_room

    def lost(self, client: ClientConnection) -> None:
        self.gone += 1


def connected() -> tuple[ClientConnection, Server, Transport]:
    server, transport = Server(), Transport()
    client = ClientConnection(1, server)
    client.connection_made(transport)
    return client, server, transport


def feed(client: ClientConnection, server: Server, *pieces: bytes) -> bytes:
    """Sends pieces, of which a real transport would give none after the end; returns those sent."""
    sent = b""
    for piece in pieces:
        if server.returned:
            break
        sent += piece
        client.data_received(piece)
    return sent


def test_a_request_is_read_and_its_answer_written():
    client, server, transport = connected()
    for _ in range(2):
        server.asked.clear()
        feed(client, server, PREDICT)
        (question,) = map(decode_question, server.asked)

        assert (question.path, question.body_bytes) == (PATH, len(BODY))
        assert question.inputs.packed() == number_inputs(BODY).packed()
        client.answer(b"answer")
    assert transport.written == [b"answer", b"answer"]
    assert not server.returned


# All of these are the server's: it answers or refuses them as if they had never been here.
NOT_READ = {
    "another method": request(PATH, method="PUT", body=BODY),
    "no body": request("/v1/models/m"),
    "another path": request("/healthz", method="POST", body=BODY),
    "classify": request("/v1/models/m:classify", method="POST", body=BODY),
    "a query": request("/v1/models/m?a:predict", method="POST", body=BODY),
    "a proxy's target": request(f"http://a{PATH}", method="POST", body=BODY),
    "a long path": request(f"/v1/models/{'m' * 600}:predict", method="POST", body=BODY),
    "compressed": request(PATH, "Content-Encoding: gzip", method="POST", body=BODY),
    "chunked": request(PATH, "Transfer-Encoding: chunked", method="POST"),
    "asks first": request(PATH, "Expect: 100-continue", "Content-Length: 9", method="POST"),
    "another protocol": request(PATH, "Upgrade: h2c", "Connection: upgrade", method="POST"),
    "the last": request(PATH, "Connection: close", method="POST", body=BODY),
    "HTTP/1.0": PREDICT.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "no HTTP": b"\x16\x03\x01\x02\x00",
    "no JSON": request(PATH, method="POST", body=b"{" + BODY),
    "texts": request(PATH, method="POST", body=json.dumps({"instances": ["a"] * 400}).encode()),
    "few numbers": request(PATH, method="POST", body=b'{"instances":[1]}'),
    "not of one shape": request(PATH, method="POST", body=BODY[:-1] + b',"a":[1,[2]]}'),
    "too long": request(PATH, method="POST", body=BODY * 40),
    "two at once": PREDICT + PREDICT,
}


@pytest.mark.parametrize("sent", NOT_READ.values(), ids=NOT_READ)
@pytest.mark.parametrize("size", [2**20, 700, 50])
def test_everything_else_goes_back_as_it_came(sent, size):
    client, server, transport = connected()
    feed(client, server, PREDICT)
    client.answer(b"answer")
    server.asked.clear()

    pieces = [sent[start : start + size] for start in range(0, len(sent), size)]
    came = feed(client, server, *pieces)
    if server.asked:  # two at once, of which the second came later
        client.answer(b"answer")
        came = came.removeprefix(PREDICT)

    assert server.returned == [(came, True)]
    assert transport.closed
    assert server.gone == 0


@settings(max_examples=300)
@given(
    sent=st.lists(
        st.sampled_from([PREDICT, *NOT_READ.values()]) | st.binary(max_size=30), max_size=4
    ),
    cuts=st.lists(st.integers(0, 20_000), max_size=6),
    answers=st.lists(st.booleans(), max_size=6),
)
def test_no_byte_is_lost_or_told_twice(sent, cuts, answers):
    async def run() -> None:
        client, server, _ = connected()
        content = b"".join(sent)
        ends = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
        came, answered = b"", 0
        answer_now = iter(answers)
        for start, end in itertools.pairwise(ends):
            if start < end:
                came += feed(client, server, content[start:end])
            if len(server.asked) > answered and next(answer_now, False):
                answered += 1
                client.answer(b"answer")
                await asyncio.sleep(0)
        if len(server.asked) > answered:
            client.release()
        else:
            client.leave()

        assert PREDICT * answered + server.returned[0][0] == came
        assert len(server.returned) == 1

    asyncio.run(run())


def test_what_comes_before_an_answer_goes_back_when_that_is_written():
    async def run() -> None:
        client, server, transport = connected()
        feed(client, server, PREDICT, b"GET /", b" HTTP/1.1\r\n")
        assert not server.returned
        assert not transport.reading

        transport.left = 6
        client.answer(b"answer")
        await asyncio.sleep(0)
        assert not server.returned  # the client has not taken it yet

        transport.left = 0
        client.look(crowded=True)
        assert server.returned == [(b"GET / HTTP/1.1\r\n", True)]

    asyncio.run(run())


def test_a_request_that_the_server_has_to_read_goes_back():
    client, server, transport = connected()
    feed(client, server, PREDICT)
    client.release()

    assert server.returned == [(PREDICT, True)]
    assert not transport.written


def test_a_request_that_the_server_answers_itself_does_not_go_back():
    client, server, _ = connected()
    feed(client, server, PREDICT, b"GET")
    client.release(answered=True)

    assert server.returned == [(b"GET", True)]


@pytest.mark.parametrize(
    ("sent", "crowded", "looks", "returned"),
    [
        (PREDICT, False, 1, (b"", False)),  # too few ask
        (b"", True, 5, (b"", False)),  # it does not ask
        (PREDICT[:90], True, 2, (PREDICT[:90], True)),  # it sends slowly
        (PREDICT, True, 4, None),
    ],
)
def test_it_is_looked_after(sent, crowded, looks, returned):
    client, server, _ = connected()
    feed(client, server, *([sent] if sent else []))
    if server.asked:
        client.answer(b"answer")
    for _ in range(looks):
        assert not server.returned
        client.look(crowded=crowded)

    assert server.returned == ([] if returned is None else [returned])


def test_it_is_tried_again_while_there_is_no_room_on_the_way():
    client, server, transport = connected()
    server.has_room = False
    client.leave()
    assert not transport.closed
    assert not transport.reading

    server.has_room = True
    client.look(crowded=True)
    assert server.returned == [(b"", False)]
    assert transport.closed


def test_a_client_who_does_not_take_an_answer_is_cut_off():
    client, server, transport = connected()
    feed(client, server, PREDICT)
    client.answer(b"answer")
    transport.left = 9000
    client.pause_writing()
    assert not transport.reading
    looks = 0
    while not transport.closed:
        looks += 1
        transport.left -= 1  # a byte each time is too little
        client.look(crowded=True)

    # As the server would: 75 s, and one for each 1,000 of at most 2**16 bytes.
    assert looks == pytest.approx((75 + 2**16 / 1000) * 4, abs=2)
    assert not server.returned


def test_who_sends_no_more_has_its_answer_and_no_more():
    client, server, transport = connected()
    feed(client, server, PREDICT)
    assert client.eof_received()
    client.answer(b"answer")

    assert transport.written == [b"answer"]
    assert transport.closed
    assert server.gone == 0  # what was written is still to be sent
    client.leave()
    assert not server.returned
    client.connection_lost(None)
    assert server.gone == 1


def test_nothing_is_done_for_a_client_who_has_gone():
    client, server, transport = connected()
    feed(client, server, PREDICT)
    transport.closed = True
    client.connection_lost(ConnectionResetError())
    client.answer(b"answer")
    client.leave()

    assert server.gone == 1
    assert not transport.written
    assert not server.returned


def test_an_only_partly_sent_request_at_the_end_of_a_client_is_nobodys():
    client, server, _ = connected()
    feed(client, server, PREDICT[:-5])
    keeps_open: Any = client.eof_received()

    assert not keeps_open
    assert not server.asked
