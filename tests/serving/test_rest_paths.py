"""The paths of REST: which lead to models, their status and metadata, and which lead nowhere."""

from __future__ import annotations

from typing import Any

import pytest
from rest_for_tests import HALF, Kept, ask, load_models

from tfapp.serving.models import State, VersionStatus
from tfapp.serving.rest import RestApp, RestOptions
from tfapp.serving.status import Code


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Kept:
    return load_models(tmp_path_factory.mktemp("rest"), "half", "several", "any/thing:else")


@pytest.fixture(scope="module")
def app(models) -> Any:
    return RestApp(models)


# To models


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


# CORS


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
