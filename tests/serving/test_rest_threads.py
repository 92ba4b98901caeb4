"""Which requests of REST keep the event loop, which go to threads, and which wait too long."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import gzip
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from rest_for_tests import HALF, Kept, ask, load_models, send

from tfapp.serving.http1 import HttpRequest
from tfapp.serving.json_answers import predictions_json
from tfapp.serving.models import ModelSpec, State, VersionStatus
from tfapp.serving.rest import RestApp, RestOptions
from tfapp.serving.servable import Servable


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Kept:
    return load_models(tmp_path_factory.mktemp("rest"), "half", "types")


class _Waits(Kept):
    """Models whose servable is waited for, as one that computes on a GPU is."""

    def __init__(self, kept: Kept, seconds: float = 0.0) -> None:
        super().__init__(kept.servables)
        self.seconds = seconds
        self.go_on = threading.Event()
        self.threads: list[str] = []

    @contextmanager
    def use(self, spec: ModelSpec) -> Iterator[Servable]:
        self.threads.append(threading.current_thread().name)
        assert self.go_on.wait(30)
        time.sleep(self.seconds)
        with super().use(spec) as servable:
            yield servable


def test_a_request_that_takes_too_long_is_504_and_others_go_on(models):
    waits = _Waits(models)
    app = RestApp(waits, options=RestOptions(timeout_ms=200, threads=1))
    predict = ("POST", f"{HALF}:predict", b'{"instances": [[1]]}', {})

    first, second, status, health = send(
        app, predict, predict, ("GET", HALF, b"", {}), ("GET", "/healthz", b"", {})
    )
    waits.go_on.set()
    after = ask(app, "POST", f"{HALF}:predict", b'{"instances": [[1]]}')

    for late in (first, second):
        assert late.error[0] == 504
        assert late.error[1].startswith("Timed out waiting for notification")
    assert (status.status, health.status) == (200, 200)
    assert after.json == {"predictions": [[2.5]]}
    # The second had not begun when its time was up, so it never did.
    assert len(waits.threads) == 2
    assert waits.lent == 0


def test_what_is_compressed_does_not_wait_for_threads_that_compute(models):
    waits = _Waits(models)
    waits.others = {"many": [VersionStatus(number, State.END) for number in range(100)]}
    app = RestApp(waits, options=RestOptions(threads=1, gzip=True))

    async def both() -> Any:
        loop = asyncio.get_running_loop()
        computed, told = loop.create_future(), loop.create_future()
        body, accepts = b'{"instances": [[1]]}', {b"accept-encoding": b"gzip"}
        app.answer(HttpRequest("POST", f"{HALF}:predict", b"", {}, body), computed.set_result)
        app.answer(HttpRequest("GET", "/v1/models/many", b"", accepts, b""), told.set_result)
        status = await asyncio.wait_for(told, 30)
        waits.go_on.set()
        await computed
        return status

    status = asyncio.run(both())
    assert dict(status.headers)[b"content-encoding"] == b"gzip"
    assert len(json.loads(gzip.decompress(status.body))["model_version_status"]) == 100


def test_only_requests_known_to_be_short_keep_the_loop(models):
    waits = _Waits(models)
    waits.go_on.set()
    app = RestApp(waits)
    short, large = [], []

    for _ in range(4):
        for _ in range(80):
            assert ask(app, "POST", f"{HALF}:predict", {"instances": [[1]]}).status == 200
            short.append(waits.threads[-1])
        assert ask(app, "POST", f"{HALF}:predict", {"instances": [[1]] * 20_000}).status == 200
        large.append(waits.threads[-1])

    assert short[0].startswith("tfapp-rest")  # nothing is known of it
    assert threading.current_thread().name in short
    assert all(name.startswith("tfapp-rest") for name in large)


def test_a_slow_signature_does_not_keep_the_loop_by_turns_with_a_quick_one(models, monkeypatch):
    types = next(servable for servable in models.servables if servable.name == "types")
    loop, slow_ones, make = threading.current_thread(), [], types.signature_call

    @functools.cache
    def signature_call(signature: Any, outputs: Any) -> Any:
        def execute(*arrays: Any) -> Any:
            if signature.name == "echo_int32":
                slow_ones.append(threading.current_thread() is loop)
                time.sleep(0.03)
            return call.execute(*arrays)

        call = make(signature, outputs)
        return dataclasses.replace(call, execute=execute)

    monkeypatch.setattr(types, "signature_call", signature_call)
    app, quick = RestApp(models), {"signature_name": "echo_int64", "instances": [1]}
    for number in range(60):
        assert ask(app, "POST", "/v1/models/types:predict", quick).status == 200
        if number % 3 == 0:
            slow = quick | {"signature_name": "echo_int32"}
            assert ask(app, "POST", "/v1/models/types:predict", slow).status == 200
    assert len(slow_ones) == 20
    assert not any(slow_ones)


def test_what_is_slow_now_and_then_leaves_the_loop(models, monkeypatch):
    half = next(servable for servable in models.servables if servable.name == "half")
    loop, slow_ones, make = threading.current_thread(), [], half.signature_call

    @functools.cache
    def signature_call(signature: Any, outputs: Any) -> Any:
        def execute(x: Any) -> Any:
            if x[0, 0] > 1:
                slow_ones.append(threading.current_thread() is loop)
                time.sleep(0.1)
            return call.execute(x)

        call = make(signature, outputs)
        return dataclasses.replace(call, execute=execute)

    monkeypatch.setattr(half, "signature_call", signature_call)
    app = RestApp(models)
    for number in range(200):
        body = {"instances": [[2.0 if number % 10 == 9 else 1.0]]}
        assert ask(app, "POST", f"{HALF}:predict", body).status == 200
    # The first is an accident, the second is not.
    assert sum(slow_ones) <= 2
    assert len(slow_ones) == 20


def test_an_answer_that_is_long_to_write_leaves_the_loop(models, monkeypatch):
    loop, slow_ones = threading.current_thread(), []

    def write(outputs: Any, *, rows: bool) -> bytes:
        if len(outputs["y"]) > 1:
            slow_ones.append(threading.current_thread() is loop)
            time.sleep(0.03)
        return predictions_json(outputs, rows=rows)

    monkeypatch.setattr("tfapp.serving.rest_requests.predictions_json", write)
    app = RestApp(models)
    for number in range(200):
        rows = [[1.0]] * (2 if number % 10 == 9 else 1)
        assert ask(app, "POST", f"{HALF}:predict", {"instances": rows}).status == 200
    assert sum(slow_ones) <= 2
    assert len(slow_ones) == 20


def test_requests_that_wait_without_working_stay_in_threads(models):
    waits = _Waits(models, seconds=0.03)
    waits.go_on.set()
    app = RestApp(waits)

    for _ in range(20):
        assert ask(app, "POST", f"{HALF}:predict", {"instances": [[1]]}).status == 200

    assert {name.partition("_")[0] for name in waits.threads} == {"tfapp-rest"}
