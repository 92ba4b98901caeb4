from __future__ import annotations

import asyncio
import dataclasses
import functools
import gzip
import http.client
import json
import threading
import time
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import models_for_tests as written
import numpy as np
import pytest

from tfapp.serving import compression, rest_requests
from tfapp.serving.http1 import HttpRequest
from tfapp.serving.http_server import HttpServer
from tfapp.serving.models import ModelSpec, State, VersionStatus
from tfapp.serving.observing import Observer
from tfapp.serving.ports import bound_socket
from tfapp.serving.rest import RestApp, RestOptions
from tfapp.serving.servable import Servable, load_servable
from tfapp.serving.status import Code, ServingError

HALF = "/v1/models/half"


@dataclass
class Kept:
    """Models that are loaded once and stay."""

    servables: Sequence[Servable]
    others: dict[str, list[VersionStatus]] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=lambda: {"stable/1": 3})
    lent: int = 0
    has_been_ready: bool = True

    @contextmanager
    def use(self, spec: ModelSpec) -> Iterator[Servable]:
        version = spec.version if spec.label is None else self.labels.get(spec.label)
        if spec.label is not None and version is None:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {spec.label}"
            )
        for servable in self.servables:
            if servable.name == spec.name and version in (None, servable.version):
                self.lent += 1
                try:
                    yield servable
                finally:
                    self.lent -= 1
                return
        asked = f"Latest({spec.name})" if version is None else f"Specific({spec.name}, {version})"
        raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {asked}")

    def statuses(self, name: str, version: int | None = None) -> Sequence[VersionStatus]:
        known = [
            VersionStatus(s.version, State.AVAILABLE) for s in self.servables if s.name == name
        ]
        known += self.others.get(name, [])
        found = [status for status in known if version in (None, status.version)]
        if not found:
            what = "any versions" if version is None else f"version {version}"
            raise ServingError(Code.NOT_FOUND, f"Could not find {what} of model {name}")
        return sorted(found, key=lambda status: -status.version)

    def names(self) -> Sequence[str]:
        return list(dict.fromkeys([*(s.name for s in self.servables), *self.others]))

    def ready(self) -> bool:
        return self.has_been_ready


@dataclass(frozen=True)
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        assert list(self.json) == ["error"]
        return self.status, self.json["error"]


def send(app: Any, *asked: tuple[str, str, bytes, dict[str, str]]) -> list[Response]:
    """Sends requests at once, as the HTTP server would."""

    async def one(method: str, target: str, body: bytes, headers: dict[str, str]) -> Response:
        lower = {name.lower().encode(): value.encode() for name, value in headers.items()}
        replied = asyncio.get_running_loop().create_future()
        path, _, query = target.partition("?")
        request = HttpRequest(method, path, query.encode(), lower, body)
        app.answer(request, replied.set_result)
        answer = await asyncio.wait_for(replied, 60)
        answered = {k.decode(): v.decode() for k, v in answer.headers}
        return Response(answer.status, answered, answer.body)

    async def all_of_them() -> list[Response]:
        return await asyncio.gather(*(one(*request) for request in asked))

    return asyncio.run(all_of_them())


def ask(app: Any, method: str, path: str, body: Any = b"", **headers: str) -> Response:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    return send(app, (method, path, sent, {k.replace("_", "-"): v for k, v in headers.items()}))[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("rest")


@pytest.fixture(scope="module")
def models(folder) -> Kept:
    writers = {
        "half": (written.write_half_plus_two, 3),
        "several": (written.write_several, 1),
        "strings": (written.write_strings, 1),
        "examples": (written.write_example_classifier, 1),
        "types": (written.write_types, 1),
        "any/thing:else": (written.write_unknown_rank, 7),
    }
    return Kept(
        [
            load_servable(name, version, write(folder / str(number) / str(version)))
            for number, (name, (write, version)) in enumerate(writers.items())
        ]
    )


@pytest.fixture(scope="module")
def app(models) -> Any:
    return RestApp(models)


# Predict


def test_rows_and_columns_are_predicted(app):
    rows = ask(app, "POST", f"{HALF}:predict", {"instances": [[1], [2], [5]]})
    columns = ask(app, "POST", f"{HALF}:predict", {"inputs": {"x": [[1], [2]]}})

    assert (rows.status, rows.json) == (200, {"predictions": [[2.5], [3.0], [4.5]]})
    assert rows.headers["content-type"] == "application/json"
    assert columns.json == {"outputs": [[2.5], [3.0]]}


def test_shapes_unlike_the_signatures_reach_the_graph(app):
    # The placeholder is [?, 1]; TensorFlow Serving does not compare.
    answer = ask(app, "POST", f"{HALF}:predict", {"instances": [1.0, 2.0, 5.0]})

    assert answer.json == {"predictions": [2.5, 3.0, 4.5]}


def test_several_inputs_and_outputs_go_by_name(app):
    inputs = {"a": [[1, 2]], "b": [[3, 4]], "factor": 2}

    answer = ask(app, "POST", "/v1/models/several:predict", {"inputs": inputs})

    assert answer.json == {"outputs": {"sum": [[8.0, 12.0]], "rows": 1, "total": 20.0}}


def test_rows_need_outputs_that_have_rows(app):
    body = {"instances": [{"a": [1, 2], "b": [3, 4], "factor": 2}]}

    code, text = ask(app, "POST", "/v1/models/several:predict", body).error

    # `factor` becomes a vector, which the model multiplies all the same.
    assert code == 400
    assert text.startswith("Tensor name: ")
    assert text.endswith(" has no shape information ")


def test_output_filter_chooses_outputs(app):
    inputs = {"a": [[1, 2]], "b": [[3, 4]], "factor": 2}
    path = "/v1/models/several:predict"

    one = ask(app, "POST", path, {"inputs": inputs, "output_filter": ["total"]})
    unknown = ask(app, "POST", path, {"inputs": inputs, "output_filter": ["z"]})
    wrong = ask(app, "POST", path, {"inputs": inputs, "output_filter": "total"})

    assert one.json == {"outputs": 20.0}
    assert unknown.error[0] == 400
    assert unknown.error[1].startswith("output tensor alias not found in signature: z")
    assert wrong.error == (400, "'output_filter' key must be a list of string values")


def test_strings_come_as_text_or_base64_and_bytes_go_as_base64(app):
    body = {"instances": ["abc", {"b64": "ZGU="}]}

    answer = ask(app, "POST", "/v1/models/strings:predict", body)

    assert answer.json == {
        "predictions": [
            {"length": 3, "upper_bytes": {"b64": "QUJD"}},
            {"length": 2, "upper_bytes": {"b64": "REU="}},
        ]
    }


def test_numbers_that_are_not_finite_go_both_ways(app):
    body = b'{"instances": [NaN, Infinity, -Infinity, 1e30]} trailing'

    answer = ask(app, "POST", f"{HALF}:predict", body)

    assert answer.body == b'{"predictions":[NaN,Infinity,-Infinity,5e+29]}'


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("int32", [1, -2]), ("int64", [2**53 + 1]), ("uint8", [0, 255]), ("int8", [-128]),
        ("bool", [True, False]), ("float64", [0.1]), ("uint64", [2**64 - 1]), ("string", ["é"]),
        ("uint32", [2**32 - 1]), ("int16", [-5]),
    ],
)  # fmt: skip
def test_each_type_goes_through_a_model(app, dtype, values):
    body = {"signature_name": f"echo_{dtype}", "inputs": values}

    assert ask(app, "POST", "/v1/models/types:predict", body).json == {"outputs": values}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "complex64"])
def test_types_without_json_are_501(app, dtype):
    body = {"signature_name": f"echo_{dtype}", "inputs": [1.5]}

    code, text = ask(app, "POST", "/v1/models/types:predict", body).error

    name = "half" if dtype == "float16" else dtype
    assert (code, text) == (501, f"Conversion of JSON Value: 1.5 to type: {name}")


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        (b"", 400, "JSON Parse error: The document is empty"),
        (b"this is not JSON", 400, "JSON Parse error: Invalid value. at offset: 1"),
        (b"[1]", 400, "Is not object"),
        ({"signature_name": 1}, 400, "'signature_name' key must be a string value."),
        (
            {"signature_name": "other", "instances": "wrong, but that is not reached"},
            400,
            'Serving signature name: "other" not found in signature def',
        ),
        ({}, 400, "Missing 'inputs' or 'instances' key"),
        ({"instances": [["a"]]}, 400, "is not of expected type: float"),
    ],
)
def test_wrong_bodies_are_400(app, body, code, text):
    found = ask(app, "POST", f"{HALF}:predict", body)

    assert found.error[0] == code
    assert text in found.error[1]
    assert found.headers["content-type"] == "application/json"


def test_checks_come_in_the_order_of_tensorflow_serving(app):
    # A model that is not there is found out after the body and the type of its signature name.
    path = "/v1/models/none:predict"

    assert "Parse error" in ask(app, "POST", path, b"x").error[1]
    assert "must be a string" in ask(app, "POST", path, {"signature_name": 1}).error[1]
    assert ask(app, "POST", path, {}).error == (
        404,
        "Servable not found for request: Latest(none)",
    )


def test_what_the_graph_refuses_is_told_with_its_code(app):
    body = {"signature_name": "regress_x_to_y", "instances": ["no example"]}

    code, text = ask(app, "POST", f"{HALF}:predict", body).error

    assert code == 400
    assert "Could not parse example input" in text


# Classify and regress


def test_examples_are_classified_with_and_without_classes(app):
    body = {"signature_name": "classify_both", "examples": [{"x": 2.0}]}

    named = ask(app, "POST", f"{HALF}:classify", body)
    scored = ask(app, "POST", f"{HALF}:classify", {**body, "signature_name": "classify_x_to_y"})

    assert named.json == {"results": [[["low", -3.0], ["high", 3.0]]]}
    assert scored.json == {"results": [[["", 3.0]]]}


def test_the_context_is_a_part_of_each_example(app):
    body = {
        "context": {"name": {"b64": "w7w="}},
        "examples": [{"x": [1.0, 2.0]}, {"x": [3.0, 4.0], "name": "own"}],
    }

    answer = ask(app, "POST", "/v1/models/examples:classify", body)

    assert answer.json == {
        "results": [
            [["ü:first", 1.0], ["ü:second", 2.0]],
            [["own:first", 3.0], ["own:second", 4.0]],
        ]
    }


def test_examples_are_regressed(app):
    body = {"signature_name": "regress_x2_to_y3", "examples": [{"x": 0.0, "x2": 4.0}, {"x": 0.0}]}

    answer = ask(app, "POST", f"{HALF}:regress", body)

    assert answer.json == {"results": [5.0, 3.0]}


def test_an_integer_is_no_float_feature(app):
    body = {"signature_name": "regress_x_to_y", "examples": [{"x": 20}]}

    code, text = ask(app, "POST", f"{HALF}:regress", body).error

    assert code == 400
    assert "Data types don't match" in text


@pytest.mark.parametrize("verb", ["classify", "regress"])
def test_missing_examples_are_told_before_a_missing_model(app, verb):
    code, text = ask(app, "POST", f"/v1/models/none:{verb}", {"x": 1}).error

    assert code == 400
    assert text.endswith("When method is classify, key 'examples' is expected and was not found")


def test_method_names_are_checked_when_asked_for(models):
    body = {"signature_name": "classify_x_to_y", "examples": [{"x": 2.0}]}

    loose = RestApp(models)
    strict = RestApp(models, options=RestOptions(check_method=True))

    assert (
        ask(loose, "POST", "/v1/models/examples:classify", {"examples": [{"x": [1.0, 2.0]}]}).status
        == 200
    )
    code, text = ask(
        strict, "POST", "/v1/models/examples:classify", {"examples": [{"x": [1.0, 2.0]}]}
    ).error
    assert code == 400
    assert "method_name" in text
    assert ask(strict, "POST", f"{HALF}:classify", body).status == 200


# Paths


@pytest.mark.parametrize(
    "path",
    [
        f"{HALF}:predict",
        f"{HALF}/versions/3:predict",
        f"{HALF}/versions/0003:predict",
        f"{HALF}/labels/stable%2F1:predict",
        "/V1/Models/half/VERSIONS/3:PREDICT",
        f"{HALF}:predict?query=ignored",
        "/v1/models/%68alf:predict",
    ],
)
def test_paths_that_predict(app, path):
    assert ask(app, "POST", path, {"instances": [[1]]}).json == {"predictions": [[2.5]]}


def test_names_are_decoded_after_the_path_is_divided(app):
    body = {"inputs": [1.5]}

    assert ask(app, "POST", "/v1/models/any%2Fthing%3Aelse:predict", body).json == {
        "outputs": [3.0]
    }
    assert ask(app, "POST", "/v1/models/any%2fthing%3aelse/versions/7:predict", body).status == 200


@pytest.mark.parametrize(
    ("method", "path", "code", "text"),
    [
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/models/metadata/metadata/x", 400, "Malformed request: GET {path}. "),
        ("GET", "/v1/models/", 400, "Malformed request: GET {path}. "),
        ("GET", f"{HALF}:predict", 400, "Malformed request: GET {path}. "),
        ("GET", "/v1/other", 400, "Malformed request: GET {path}. "),
        ("POST", HALF, 400, "Malformed request: POST {path}. "),
        ("POST", f"{HALF}:other", 400, "Malformed request: POST {path}. "),
        ("POST", f"{HALF}/versions/x:predict", 400, "Malformed request: POST {path}. "),
        ("POST", f"{HALF}/versions/3/labels/a:predict", 400, "Malformed request: POST {path}. "),
        ("PUT", f"{HALF}:predict", 400, "Malformed request: PUT {path}. "),
        ("DELETE", HALF, 400, "Malformed request: DELETE {path}. "),
        (
            "GET",
            f"{HALF}/versions/9223372036854775808",
            400,
            "Failed to convert version: 9223372036854775808 to numeric.",
        ),
        (
            "POST",
            f"{HALF}/versions/{'9' * 5000}:predict",
            400,
            f"Failed to convert version: {'9' * 5000} to numeric.",
        ),
        (
            "POST",
            f"{HALF}/versions/{'0' * 5000}4:predict",
            404,
            "Servable not found for request: Specific(half, 4)",
        ),
        (
            "POST",
            f"{HALF}/versions/9223372036854775807:predict",
            404,
            "Servable not found for request: Specific(half, 9223372036854775807)",
        ),
        (
            "POST",
            f"{HALF}/labels/other:predict",
            400,
            "Unrecognized servable version label: other",
        ),
        ("GET", "/v1/models/none", 404, "Could not find any versions of model none"),
        ("GET", f"{HALF}/versions/4", 404, "Could not find version 4 of model half"),
        ("GET", "/v1/models/none/metadata", 404, "Servable not found for request: Latest(none)"),
    ],
)
def test_paths_that_lead_nowhere(app, method, path, code, text):
    status, told = ask(app, method, path, {"instances": [1]}).error
    assert status == code
    # Hints, which test_serving_hints.py is about, come after what clients match on.
    assert told.startswith(text.format(path=path))


@pytest.mark.parametrize("path", ["/", "/v1", "/v2/models/half", "/models/half", "/metrics"])
def test_outside_of_the_interface_is_a_plain_404(app, path):
    answer = ask(app, "GET", path)

    assert (answer.status, answer.headers["content-type"]) == (404, "text/plain")


# Status and metadata


@pytest.mark.parametrize("path", [HALF, f"{HALF}/versions/3", f"{HALF}/labels/unknown"])
def test_the_status_of_a_model(app, path):
    assert ask(app, "GET", path).json == {
        "model_version_status": [
            {
                "version": "3",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }


def test_the_status_lists_all_versions_newest_first(models):
    failed = VersionStatus(2**62, State.END, Code.NOT_FOUND, "no model there")
    app = RestApp(Kept(models.servables, {"half": [failed]}))

    found = ask(app, "GET", HALF).json["model_version_status"]

    assert [status["version"] for status in found] == [str(2**62), "3"]
    assert found[0]["state"] == "END"
    assert found[0]["status"] == {"error_code": "NOT_FOUND", "error_message": "no model there"}


def test_metadata_has_all_signatures_with_their_defaults(app):
    found = ask(app, "GET", "/v1/models/several/metadata").json

    assert found["model_spec"] == {"name": "several", "signature_name": "", "version": "1"}
    signatures = found["metadata"]["signature_def"]["signature_def"]
    assert sorted(signatures) == ["serving_default", "with_default"]
    plain = signatures["serving_default"]
    assert plain["method_name"] == "tensorflow/serving/predict"
    assert plain["defaults"] == {}
    assert plain["inputs"]["a"] == {
        "name": "a:0",
        "dtype": "DT_FLOAT",
        "tensor_shape": {
            "dim": [{"size": "-1", "name": ""}, {"size": "2", "name": ""}],
            "unknown_rank": False,
        },
    }
    assert plain["inputs"]["factor"]["tensor_shape"] == {"dim": [], "unknown_rank": False}
    assert list(signatures["with_default"]["defaults"]) == ["factor"]


@pytest.mark.parametrize("path", [f"{HALF}/metadata", f"{HALF}/versions/3/metadata"])
def test_metadata_of_a_version(app, path):
    assert ask(app, "GET", path).json["model_spec"]["version"] == "3"


# CORS, gzip, limits


def test_cors_headers_are_sent_when_asked_for(models):
    app = RestApp(models, options=RestOptions(cors=True))
    expected = {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "POST, GET",
        "access-control-allow-headers": "Content-Type",
    }

    for answer in (
        ask(app, "GET", HALF),
        ask(app, "GET", "/v1/models/none"),
        ask(app, "OPTIONS", f"{HALF}:predict", origin="https://page.example"),
    ):
        assert expected.items() <= answer.headers.items()


@pytest.mark.parametrize(
    ("origin", "status"),
    [({"origin": "http://a.example"}, 200), ({"origin": "null"}, 400), ({}, 400)],
)
def test_a_preflight_needs_an_origin(app, origin, status):
    answer = ask(app, "OPTIONS", "/v1/anything", **origin)

    assert answer.status == status
    assert "access-control-allow-origin" not in answer.headers


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
    seconds = []
    for body in (few, many):
        started = time.perf_counter()
        assert compression.inflate(body) == b""
        seconds.append(time.perf_counter() - started)
    assert seconds[1] < 64 * seconds[0], "in proportion it is 16 times"


def test_long_paths_are_not_kept(app):
    names = ["n" * 60_000 + str(number) for number in range(200)]
    tracemalloc.start()
    for name in names:
        assert ask(app, "GET", f"/v1/models/{name}").status == 404
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert kept < 2e6


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


def test_the_limit_of_a_gzip_body_is_100_megabytes():
    assert compression.INFLATED_LIMIT == 100 * 1024 * 1024
    bomb = gzip.compress(b" " * (compression.INFLATED_LIMIT + 1), compresslevel=1)

    with pytest.raises(ServingError, match="holds more than 104857600 bytes"):
        compression.inflate(bomb)


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


def test_requests_that_wait_without_working_stay_in_threads(models):
    waits = _Waits(models, seconds=0.03)
    waits.go_on.set()
    app = RestApp(waits)

    for _ in range(20):
        assert ask(app, "POST", f"{HALF}:predict", {"instances": [[1]]}).status == 200

    assert {name.partition("_")[0] for name in waits.threads} == {"tfapp-rest"}


def test_what_nobody_foresaw_is_500_and_logged(models, caplog):
    class Broken(Kept):
        def statuses(self, name: str, version: int | None = None) -> Sequence[VersionStatus]:
            raise KeyError("unforeseen")

    answer = ask(RestApp(Broken(models.servables)), "GET", HALF)

    assert answer.error == (500, "KeyError: 'unforeseen'")
    assert "GET /v1/models/half failed" in caplog.text


@pytest.mark.parametrize(
    ("status", "code"), [(400, "INVALID_ARGUMENT"), (408, "DEADLINE_EXCEEDED"),
                         (413, "RESOURCE_EXHAUSTED"), (503, "UNAVAILABLE")],
)  # fmt: skip
def test_what_is_no_request_is_told_of_too(models, status, code):
    told = []

    class Seen(Observer):
        def request(self, record):
            told.append((record.api, record.code.name, record.message))

    answer = RestApp(models, observer=Seen()).refuse(status, "why")

    assert (answer.status, json.loads(answer.body)) == (status, {"error": "why"})
    assert told == [("", code, "why")]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("CANCELLED", 499), ("UNKNOWN", 500), ("INVALID_ARGUMENT", 400),
        ("DEADLINE_EXCEEDED", 504), ("NOT_FOUND", 404), ("ALREADY_EXISTS", 409),
        ("PERMISSION_DENIED", 403), ("RESOURCE_EXHAUSTED", 429), ("FAILED_PRECONDITION", 400),
        ("ABORTED", 409), ("OUT_OF_RANGE", 400), ("UNIMPLEMENTED", 501), ("INTERNAL", 500),
        ("UNAVAILABLE", 503), ("DATA_LOSS", 500), ("UNAUTHENTICATED", 401),
    ],
)  # fmt: skip
def test_codes_become_the_http_status_of_tensorflow_serving(models, code, status):
    text = "x" * 5000  # REST does not cut

    class Failing(Kept):
        def statuses(self, name: str, version: int | None = None) -> Sequence[VersionStatus]:
            raise ServingError(Code[code], text)

    assert ask(RestApp(Failing([])), "GET", HALF).error == (status, text)


# Pages beside the interface


def test_the_models_are_listed_with_their_versions(models):
    loading = [VersionStatus(1, State.LOADING)]
    app = RestApp(Kept(models.servables[:1], {"late": loading, "lost": []}))

    assert ask(app, "GET", "/models").json == {
        "models": [
            {"name": "half", "versions": [{"version": "3", "state": "AVAILABLE"}]},
            {"name": "late", "versions": [{"version": "1", "state": "LOADING"}]},
            {"name": "lost", "versions": []},
        ]
    }


def test_ready_is_when_every_model_has_had_a_version(models):
    late, unloaded = [VersionStatus(1, State.LOADING)], [VersionStatus(2, State.UNLOADING)]
    kept = Kept(
        models.servables[:1], {"late": late, "lost": [], "un": unloaded}, has_been_ready=False
    )
    waiting = {"waiting_for": ["late", "lost", "un"]}

    for is_ready, expected in [
        (False, (503, {"status": "not ready"} | waiting)),
        (True, (200, {"status": "ready"} | waiting)),
    ]:
        kept.has_been_ready = is_ready
        answer = ask(RestApp(kept), "GET", "/readyz")
        assert (answer.status, answer.json) == expected
        assert ask(RestApp(kept), "GET", "/healthz").status == 200
    assert ask(RestApp(Kept(models.servables[:1])), "GET", "/readyz").json == {"status": "ready"}


# Over the network


@pytest.fixture(scope="module")
def port(app) -> Iterator[int]:
    bound = bound_socket("rest_api_port", 0)
    server = HttpServer(app, bound)
    server.start()
    try:
        yield bound.getsockname()[1]
    finally:
        server.close(time.monotonic() + 5)


def test_a_real_server_keeps_the_connection_and_takes_chunks(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    socket = None
    for path, result in ((f"{HALF}:predict", 2.5), ("/v1/models/any%2Fthing%3Aelse:predict", 2.0)):
        chunks = iter([b'{"instances"', b": [[1]]}"])
        connection.request("POST", path, body=chunks, encode_chunked=True)
        response = connection.getresponse()

        assert response.status == 200
        assert response.getheader("Content-Type") == "application/json"
        assert json.loads(response.read()) == {"predictions": [[result]]}
        assert socket in (None, connection.sock)
        socket = connection.sock
    connection.close()


def test_a_real_server_answers_with_what_numpy_computes(port):
    x = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", f"{HALF}:predict", json.dumps({"instances": x.tolist()}))

    answer = json.loads(connection.getresponse().read())
    connection.close()

    found = np.array(answer["predictions"], np.float32)
    np.testing.assert_array_equal(found, x * np.float32(0.5) + np.float32(2))


def test_a_real_server_tells_errors(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("PUT", f"{HALF}:predict", b"x" * 100_000)
    response = connection.getresponse()

    assert response.status == 400
    told = json.loads(response.read())["error"]
    assert told.startswith(f"Malformed request: PUT {HALF}:predict. Send POST to predict")
    connection.close()
