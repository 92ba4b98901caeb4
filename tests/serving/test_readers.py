"""A server whose requests are read by other processes: nobody can tell but by the time it takes."""

from __future__ import annotations

import functools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import psutil
import pytest
from http_for_tests import Client, ending, request
from rest_for_tests import HALF, load_models
from test_reader_client import NOT_READ

from tfapp.serving import readers
from tfapp.serving.http1 import HttpLimits
from tfapp.serving.http_server import HttpServer
from tfapp.serving.observing import Observer
from tfapp.serving.ports import bound_socket
from tfapp.serving.readers import ReaderOptions, Readers, most_readers
from tfapp.serving.rest import RestApp

# Whoever asks is handed over at the next look, and stays unless it asks for nothing for a second.
AT_ONCE = ReaderOptions(1, crowd=1, few=0, busy=-1.0)
X = np.random.default_rng(0).normal(size=(200, 1)).astype(np.float32)
BODY = json.dumps({"instances": X.tolist()}).encode()
PREDICT = request(f"{HALF}:predict", method="POST", body=BODY)
LAST = request(f"{HALF}:predict", method="POST", body=BODY.replace(b"1", b"2"))


class Records(Observer):
    def __init__(self) -> None:
        self.requests = []

    def request(self, record) -> None:
        self.requests.append(record)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return load_models(tmp_path_factory.mktemp("models"), "half", "types", "several")


@contextmanager
def serving(
    app: RestApp, options: ReaderOptions | None = AT_ONCE, limits: HttpLimits | None = None
) -> Iterator[tuple]:
    bound = bound_socket("rest_api_port", 0)
    make = None if options is None else functools.partial(Readers, options, app)
    server = HttpServer(app, bound, limits=limits, readers=make)
    server.start()
    try:
        yield server, bound.getsockname()[1]
    finally:
        server.close(time.monotonic() + 5)


@pytest.fixture(scope="module")
def app(models) -> RestApp:
    return RestApp(models)


@pytest.fixture(scope="module")
def port(app) -> Iterator[int]:
    with serving(app) as (_, port):
        yield port


@pytest.fixture(scope="module")
def plain_port(app) -> Iterator[int]:
    with serving(app, None) as (_, port):
        yield port


def reading() -> list[psutil.Process]:
    """Returns the processes that read for servers of this one."""
    found = psutil.Process().children()
    return [each for each in found if "tfapp.serving.reader_process" in each.cmdline()]


def held_by(*processes: psutil.Process) -> set[int]:
    """Returns the ports of the clients whose connections some processes have."""
    found = (each for process in processes for each in process.net_connections("tcp"))
    return {each.raddr.port for each in found if each.raddr}


def port_of(client: socket.socket) -> int:
    return client.getsockname()[1]


def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.02)


def are_away(clients: Iterable[socket.socket]) -> bool:
    return held_by(*reading()) >= set(map(port_of, clients))


def is_away(client: socket.socket) -> bool:
    return are_away([client])


def hand_over(client: Client, predict: bytes = PREDICT) -> Client:
    """Asks until the client's connection is with another process."""

    def asks_there() -> bool:
        assert client.ask(predict)[0] == 200
        return is_away(client)

    until(asks_there)
    return client


def predictions(answer: tuple[int, dict[str, str], bytes]) -> np.ndarray:
    assert answer[0] == 200, answer
    return np.array(json.loads(answer[2])["predictions"], np.float32)


def test_answers_are_those_of_numpy(port):
    with Client(port) as client:
        hand_over(client)
        for _ in range(20):
            found = predictions(client.ask(PREDICT))
            np.testing.assert_array_equal(found, X * np.float32(0.5) + np.float32(2))


def of_types(signature: str, values: list) -> bytes:
    body = {"signature_name": signature, "instances": values}
    return request(
        "/v1/models/types:predict", method="POST", body=json.dumps(body, indent=1).encode()
    )


FEW = [[1, 2]] * 300
ASKED = {
    "versioned": request(f"{HALF}/versions/3:predict", method="POST", body=BODY),
    "labelled": request(f"{HALF}/labels/stable%2F1:predict", method="POST", body=BODY),
    "large letters": request("/V1/MODELS/half:PREDICT", method="POST", body=BODY),
    "no such model": request("/v1/models/none:predict", method="POST", body=BODY),
    "no such version": request(f"{HALF}/versions/9:predict", method="POST", body=BODY),
    "not UTF-8": request("/v1/models/%ff:predict", method="POST", body=BODY),
    "no such signature": of_types("echo", FEW),
    "floats": of_types("echo_float32", FEW),
    "doubles": of_types("echo_float64", [1.1, -1e300] * 200),
    "too large for a float": of_types("echo_float32", [1e300] * 200),
    "integers": of_types("echo_int64", [2**62 + 1] * 200),
    "no integers": of_types("echo_int64", [1.5] * 300),
    "other types": of_types("echo_complex64", FEW),
    "not its shape": request(
        f"{HALF}:predict", method="POST", body=json.dumps({"instances": [FEW]}).encode()
    ),
    "not its inputs": request("/v1/models/several:predict", method="POST", body=BODY),
    "several inputs": request(
        "/v1/models/several:predict",
        method="POST",
        body=json.dumps({"inputs": {"a": FEW, "b": FEW[::-1], "factor": 2}}).encode(),
    ),
    "its status": request(HALF),
    "its metadata": request(f"{HALF}/metadata"),
    "health": request("/readyz"),
    **NOT_READ,
}


def all_of(port: int, sent: bytes, ready: Callable[[Client], object]) -> bytes:
    """Returns all that the server says to what is sent, up to the answer to LAST or its end."""
    with Client(port) as client:
        ready(client)
        last = client.ask(LAST)[2]
        client.sendall(sent + LAST)
        found = b""
        while not found.endswith(last):
            try:
                piece = client.recv(2**16)
            except ConnectionResetError:
                return found + b" and a reset"
            if not piece:
                return found + b" and no more"
            found += piece
        return found


@pytest.mark.parametrize("sent", ASKED.values(), ids=ASKED)
def test_all_that_is_asked_is_answered_as_without_them(port, plain_port, sent):
    once = all_of(plain_port, sent, lambda client: None)

    assert all_of(port, sent, hand_over) == once


@pytest.mark.parametrize("other", [request(HALF), of_types("echo_int32", FEW)])
def test_a_connection_stays_for_a_while_where_it_was_sent_back_to(port, other):
    with Client(port) as first:
        for _ in range(60):  # until it is known to be quick
            assert first.ask(other)[0] == 200
    with Client(port) as client:
        hand_over(client)
        assert client.ask(other)[0] == 200
        assert not is_away(client)
        for _ in range(10):
            client.ask(PREDICT)
            assert not is_away(client)
            time.sleep(0.05)


def test_a_request_that_arrives_slowly_is_waited_for_by_the_server(port):
    with Client(port) as client:
        hand_over(client)
        client.sendall(PREDICT[:-20])
        until(lambda: not is_away(client))
        client.sendall(PREDICT[-20:])

        np.testing.assert_array_equal(predictions(client.read()), X / 2 + 2)


def test_a_long_answer_is_written_by_the_server(app, plain_port, monkeypatch):
    monkeypatch.setattr(readers, "_LONG", 1000)
    few = request(f"{HALF}:predict", method="POST", body=b'{"instances":[[1],[2]]}' + b" " * 1100)
    with Client(plain_port) as plain, serving(app) as (_, port), Client(port) as client:
        hand_over(client, few)
        client.sendall(PREDICT + few[:50])
        assert client.read() == plain.ask(PREDICT)
        until(lambda: not is_away(client))
        assert client.ask(few[50:]) == plain.ask(few)


def test_a_client_who_goes_is_forgotten(app):
    with serving(app) as (server, port):
        with Client(port) as client:
            hand_over(client)
            assert server.open_connections() == 1
        until(lambda: server.open_connections() == 0)


def test_they_are_told_of_as_if_they_had_been_read_here(models):
    records = Records()
    with serving(RestApp(models, observer=records)) as (_, port), Client(port) as client:
        hand_over(client)
        before = len(records.requests)
        began = time.perf_counter()
        size = len(client.ask(PREDICT)[2])
        seconds = time.perf_counter() - began
        client.ask(request("/v1/models/none:predict", method="POST", body=BODY))

    found, refused = records.requests[before:]
    assert (found.entrypoint, found.api, found.model, found.version) == (
        "REST",
        "predict",
        "half",
        3,
    )
    assert (found.signature, found.rows) == ("serving_default", len(X))
    assert (found.request_bytes, found.answer_bytes) == (len(BODY), size)
    assert found.run_seconds < found.seconds < seconds
    assert (refused.code.name, refused.model, refused.rows) == ("NOT_FOUND", "none", 0)


def test_a_request_that_was_sent_back_is_told_of_once(models):
    records = Records()
    with serving(RestApp(models, observer=records)) as (_, port), Client(port) as client:
        hand_over(client)
        before = len(records.requests)
        client.ask(of_types("echo_int32", FEW))
        assert not is_away(client)

    assert [record.model for record in records.requests[before:]] == ["types"]


def crowd_of(port: int, count: int, stack: ExitStack) -> list[Client]:
    return [stack.enter_context(Client(port)) for _ in range(count)]


def ask_all(clients: list[Client]) -> None:
    for client in clients:
        client.sendall(PREDICT)
    for client in clients:
        assert client.read()[0] == 200


def test_they_begin_with_a_crowd_and_give_it_back_when_few_are_left(app):
    before = len(reading())
    options = ReaderOptions(1, crowd=5, few=4, busy=-1.0)
    with ExitStack() as stack, serving(app, options) as (_, port):
        clients = crowd_of(port, 5, stack)
        for _ in range(20):
            ask_all(clients[:4])
            time.sleep(0.02)
        assert len(reading()) == before

        def all_are_away() -> bool:
            ask_all(clients)
            return are_away(clients)

        until(all_are_away)

        def none_is_away() -> bool:
            ask_all(clients[:3])
            return held_by(*reading()).isdisjoint(map(port_of, clients))

        until(none_is_away)


def test_they_are_not_needed_by_an_event_loop_that_has_time(app):
    before = len(reading())
    with serving(app, ReaderOptions(1, crowd=1, few=0)) as (_, port), Client(port) as client:
        for _ in range(20):
            client.ask(PREDICT)
            time.sleep(0.05)
        assert len(reading()) == before


def test_a_second_one_comes_with_a_second_crowd(app):
    options = ReaderOptions(2, crowd=3, few=0, busy=-1.0)
    before = {process.pid for process in reading()}
    with ExitStack() as stack, serving(app, options) as (_, port):
        clients = crowd_of(port, 6, stack)

        def all_are_away() -> bool:
            ask_all(clients)
            return are_away(clients)

        until(all_are_away)
        counts = [
            len(held_by(process) & set(map(port_of, clients)))
            for process in reading()
            if process.pid not in before
        ]
        assert sum(counts) == 6
        assert len(counts) == 2


def test_the_end_of_one_ends_its_connections_and_no_others(app, monkeypatch, caplog):
    monkeypatch.setattr(readers, "_PAUSE_SECONDS", 1.0)
    with serving(app) as (server, port), Client(port) as lost:
        hand_over(lost)
        (process,) = (each for each in reading() if port_of(lost) in held_by(each))
        process.kill()
        assert lost.ends()
        with Client(port) as client:
            assert client.ask(PREDICT)[0] == 200
            hand_over(client)  # to another process
        until(lambda: server.open_connections() == 0)

    assert "connections cut off: 1" in caplog.text
    assert not process.is_running()


def test_who_is_away_counts_and_may_come_back(app):
    with serving(app, limits=HttpLimits(connections=1)) as (_, port), Client(port) as client:
        hand_over(client)
        for _ in range(3):
            with Client(port) as other:
                assert other.read()[0] == 503
            assert client.ask(request(HALF))[0] == 200


def test_numbers_of_connections_begin_anew_and_pass_over_those_in_use(app, monkeypatch):
    monkeypatch.setattr(readers, "_MOST_NUMBERS", 2)
    with ExitStack() as stack, serving(app) as (_, port):
        stays = hand_over(stack.enter_context(Client(port)))
        for _ in range(3):
            with Client(port) as goes:
                hand_over(goes)
                assert stays.ask(PREDICT) == goes.ask(PREDICT)


def test_a_connection_that_cannot_be_sent_is_served_where_it_is(app, monkeypatch, caplog):
    tried = []

    def refuse(*asked: object) -> None:
        tried.append(asked)
        raise OSError("too many files")

    monkeypatch.setattr(readers, "send_socket", refuse)
    with serving(app) as (server, port), Client(port) as client:
        for _ in range(20):
            np.testing.assert_array_equal(predictions(client.ask(PREDICT)), X / 2 + 2)
            time.sleep(0.05)
        assert server.is_alive()
    assert tried
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_a_connection_that_cannot_be_taken_back_is_cut_off_and_told_of(app, monkeypatch, caplog):
    def refuse(*_: object) -> None:
        raise OSError("too many files")

    with serving(app) as (server, port), Client(port) as client:
        hand_over(client)
        monkeypatch.setattr(readers, "take_socket", refuse)
        client.sendall(request(HALF))
        until(lambda: server.open_connections() == 0)
        assert server.is_alive()
    assert "a connection is cut off: too many files" in caplog.text


class Asking(threading.Thread):
    """Asks until it is told that the connection ends, or the server has ended."""

    def __init__(self, client: Client) -> None:
        super().__init__(daemon=True)
        self.client = client
        self.answered = 0
        self.lost: list[str] = []

    def run(self) -> None:
        with self.client:
            while True:
                try:
                    status, headers, _ = self.client.ask(PREDICT)
                except (OSError, AssertionError) as error:
                    self.lost.append(repr(error))
                    return
                assert status == 200
                self.answered += 1
                time.sleep(0.002)
                if headers.get("connection") == "close":
                    return


def test_no_request_is_lost_at_the_end(app):
    before = {process.pid for process in reading()}
    with ExitStack() as stack, serving(app) as (server, port):
        clients = crowd_of(port, 8, stack)

        def all_are_away() -> bool:
            ask_all(clients)
            return are_away(clients)

        until(all_are_away)
        (process,) = (each for each in reading() if each.pid not in before)
        asking = [Asking(client) for client in clients]
        for each in asking:
            each.start()
        with ending(server, port):
            for each in asking:
                each.join(20)

    assert [each.lost for each in asking] == [[]] * 8
    assert min(each.answered for each in asking) >= 1
    assert not process.is_running()


@pytest.mark.parametrize(("cores", "expected"), [(1, 0), (2, 1), (16, 15)])
def test_there_are_fewer_than_cores(monkeypatch, cores, expected):
    monkeypatch.setattr(readers, "whole_cores", lambda: cores)

    assert most_readers() == expected


def test_there_are_none_where_connections_cannot_be_handed_over(monkeypatch):
    monkeypatch.delattr(socket, "send_fds")

    assert most_readers() == 0


def test_a_process_that_cannot_be_started_is_told_of_once(app, monkeypatch, caplog):
    def refuse(*_: object) -> None:
        raise OSError("too many processes")

    monkeypatch.setattr(readers, "_start", refuse)
    with serving(app) as (_, port), Client(port) as client:
        for _ in range(20):
            assert client.ask(PREDICT)[0] == 200
            time.sleep(0.05)

    assert caplog.text.count("too many processes") == 1
