"""What TensorFlow Serving lacks, on paths it does not use: a list of models, health, readiness."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from tfapp.serving.models import ServedModels, State, VersionStatus, versions_of

PATHS = ("/models", "/healthz", "/readyz")
# Their pages need TensorFlow; who checks a path does not.
OPENAPI_PATH, EXAMPLE_PATH = "/openapi.json", "/docs/request.json"
DESCRIPTION_PATHS = ("/docs", OPENAPI_PATH, EXAMPLE_PATH)


def page(path: str, models: ServedModels) -> tuple[int, bytes]:
    """Returns the HTTP status and the JSON of a page.

    Args:
        path: `/models`: every model that is to be served, with its versions; `/healthz`: 200 while
            the process answers; `/readyz`: 503 until every model that is to be served has had a
            version that is AVAILABLE, then 200; with the names of those that have none.
        models: Who keeps the models.
    """
    if path == "/healthz":
        return 200, orjson.dumps({"status": "ok"})
    known = {name: versions_of(models, name) for name in models.names()}
    if path == "/models":
        return 200, orjson.dumps({"models": [_listed(*item) for item in known.items()]})
    waiting = [
        name
        for name, versions in known.items()
        if not any(version.state is State.AVAILABLE for version in versions)
    ]
    told = {"waiting_for": waiting} if waiting else {}
    if models.ready():
        return 200, orjson.dumps({"status": "ready", **told})
    return 503, orjson.dumps({"status": "not ready", "waiting_for": waiting})


def _listed(name: str, versions: Sequence[VersionStatus]) -> dict[str, object]:
    states = [{"version": str(v.version), "state": v.state.name} for v in versions]
    return {"name": name, "versions": states}
