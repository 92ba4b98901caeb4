"""What REST answers to wrong bodies and to what fails, and with which HTTP status."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from rest_for_tests import HALF, Kept, ask, load_models

from tfapp.serving.models import VersionStatus
from tfapp.serving.observing import Observer
from tfapp.serving.rest import RestApp
from tfapp.serving.status import Code, ServingError


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Kept:
    return load_models(tmp_path_factory.mktemp("rest"), "half")


@pytest.fixture(scope="module")
def app(models) -> Any:
    return RestApp(models)


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


@pytest.mark.parametrize("verb", ["classify", "regress"])
def test_missing_examples_are_told_before_a_missing_model(app, verb):
    code, text = ask(app, "POST", f"/v1/models/none:{verb}", {"x": 1}).error

    assert code == 400
    assert text.endswith("When method is classify, key 'examples' is expected and was not found")


def test_what_the_graph_refuses_is_told_with_its_code(app):
    body = {"signature_name": "regress_x_to_y", "instances": ["no example"]}

    code, text = ask(app, "POST", f"{HALF}:predict", body).error

    assert code == 400
    assert "Could not parse example input" in text


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
