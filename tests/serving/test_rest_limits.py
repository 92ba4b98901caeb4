"""What REST takes in and keeps: bodies of gzip, large bodies, long paths."""

from __future__ import annotations

import gzip
import time
import tracemalloc
from typing import Any

import pytest
from rest_for_tests import HALF, Kept, ask, load_models, send

from tfapp.serving import compression, rest_requests
from tfapp.serving.rest import RestApp
from tfapp.serving.status import Code, ServingError


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Kept:
    return load_models(tmp_path_factory.mktemp("rest"), "half")


@pytest.fixture(scope="module")
def app(models) -> Any:
    return RestApp(models)


def test_a_gzip_body_is_inflated(app):
    body = gzip.compress(b'{"instances": ') + gzip.compress(b"[[1]]}")  # two members are legal

    answer = ask(app, "POST", f"{HALF}:predict", body, content_encoding="gzip")

    assert answer.json == {"predictions": [[2.5]]}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"instances": [1]}', "The body is not gzip, as its Content-Encoding says"),
        (gzip.compress(b'{"instances": [1]}')[:-9], "The gzip body ends before it is whole."),
        (gzip.compress(b" " * 2000), "The gzip body holds more than 1000 bytes."),
    ],
    ids=["plain", "cut", "large"],  # a gzip holds the time, and each worker names tests by itself
)
def test_a_wrong_gzip_body_is_refused(app, body, text, monkeypatch):
    monkeypatch.setattr(compression, "INFLATED_LIMIT", 1000)

    code, found = ask(app, "POST", f"{HALF}:predict", body, content_encoding="gzip").error

    assert (code, text in found) == (400, True)


def test_large_bodies_are_read_one_at_a_time(app, monkeypatch):
    """Each takes many times its size while it is read."""
    reading, most = [], []

    def parse(body):
        reading.append(body)
        most.append(len(reading))
        time.sleep(0.1)
        raise ServingError(Code.INVALID_ARGUMENT, reading.pop()[:1].decode())

    monkeypatch.setattr(rest_requests, "parse_object", parse)
    monkeypatch.setattr(rest_requests, "_LARGE", 100)
    for size, expected in ((99, 3), (101, 1)):
        most.clear()
        body = gzip.compress(b"a" * size)
        asked = ("POST", f"{HALF}:predict", body, {"content-encoding": "gzip"})
        answers = send(app, asked, asked, asked)
        assert [answer.error for answer in answers] == [(400, "a")] * 3
        assert max(most) == expected


def test_a_gzip_body_of_many_members_is_read_in_proportion_to_its_length():
    few, many = (gzip.compress(b"") * count for count in (10_000, 160_000))

    def seconds(body: bytes) -> float:
        """The least of three, of this thread alone: another process may have had its turn."""
        taken = []
        for _ in range(3):
            began = time.thread_time()
            assert compression.inflate(body) == b""
            taken.append(time.thread_time() - began)
        return min(taken)

    assert seconds(many) < 64 * seconds(few), "in proportion it is 16 times"


def test_the_limit_of_a_gzip_body_is_100_megabytes():
    assert compression.INFLATED_LIMIT == 100 * 1024 * 1024
    bomb = gzip.compress(b" " * (compression.INFLATED_LIMIT + 1), compresslevel=1)

    with pytest.raises(ServingError, match="holds more than 104857600 bytes"):
        compression.inflate(bomb)


def test_long_paths_are_not_kept(app):
    names = ["n" * 60_000 + str(number) for number in range(200)]
    tracemalloc.start()
    try:
        for name in names:
            assert ask(app, "GET", f"/v1/models/{name}").status == 404
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept < 2e6
