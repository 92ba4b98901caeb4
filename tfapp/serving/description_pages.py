"""`/docs` and `/openapi.json`: what is served, written once for each set of versions."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.metadata import version as installed_version
from urllib.parse import parse_qs

import orjson

from tfapp.serving.describing import Answer, Descriptions, Served
from tfapp.serving.docs_page import content_security_policy, docs_page
from tfapp.serving.http1 import HttpAnswer, HttpRequest
from tfapp.serving.models import ServedModels, versions_of
from tfapp.serving.openapi import openapi
from tfapp.serving.pages import EXAMPLE_PATH, OPENAPI_PATH

# A name or an address, and a port: nothing else is repeated from a header.
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_KEPT_HOSTS = 16

_JSON = ((b"content-type", b"application/json"),)
_NOT_FOUND = HttpAnswer(404, b"Not Found\n", ((b"content-type", b"text/plain"),))


class DescriptionPages:
    """Answers requests for the pages.

    They are made in a thread of their own: to try requests takes time, and models are asked.

    Args:
        models: Who keeps the models.
        answer: Answers requests to models.
        scheme: How the server is reached: `http` or `https`.
    """

    def __init__(self, models: ServedModels, answer: Answer, scheme: str) -> None:
        self._models = models
        self._scheme = scheme
        self._descriptions = Descriptions(models, answer)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tfapp-docs")
        self._served: Served | None = None
        self._known: object = None
        self._written: dict[tuple[str, str], bytes] = {}

    def answer(self, request: HttpRequest) -> Future[HttpAnswer]:
        """Begins to answer a request for one of `DESCRIPTION_PATHS`."""
        query = parse_qs(request.query.decode("latin-1"))
        url = base_url(request, self._scheme)
        return self._thread.submit(self._page, request.path, url, query)

    def close(self) -> None:
        """Ends the thread."""
        self._thread.shutdown(wait=False)

    def _page(self, path: str, url: str, query: Mapping[str, list[str]]) -> HttpAnswer:
        served = self._describe()
        if path == EXAMPLE_PATH:
            return _example(served, {key: values[-1] for key, values in query.items()})
        if path == OPENAPI_PATH:
            body = self._once(path, url, lambda: _document(served, url))
            return HttpAnswer(200, body, _JSON)
        body = self._once(path, url, lambda: docs_page(served, url).encode())
        return HttpAnswer(200, body, _page_headers())

    def _describe(self) -> Served:
        known = {name: tuple(versions_of(self._models, name)) for name in self._models.names()}
        if self._served is None or not self._served.is_whole or known != self._known:
            self._written.clear()
            self._known, self._served = known, self._descriptions.served()
        return self._served

    def _once(self, path: str, url: str, write: Callable[[], bytes]) -> bytes:
        if (path, url) not in self._written:
            if len(self._written) >= 2 * _KEPT_HOSTS:  # a client can name any host
                self._written.clear()
            self._written[path, url] = write()
        return self._written[path, url]


def base_url(request: HttpRequest, scheme: str) -> str:
    """Returns where the server is, as a client called it."""
    named = request.headers.get(b"host", b"").decode("latin-1")
    return f"{scheme}://{named if _HOST.fullmatch(named) else 'localhost'}"


def _document(served: Served, url: str) -> bytes:
    return orjson.dumps(openapi(served, url, installed_version("tfapp")))


def _example(served: Served, query: Mapping[str, str]) -> HttpAnswer:
    for version in served.versions:
        if (version.model, str(version.number)) != (query.get("model"), query.get("version")):
            continue
        for signature in version.signatures:
            if signature.name == query.get("signature") and signature.example is not None:
                return HttpAnswer(200, signature.example.body, _JSON)
    return _NOT_FOUND


def _page_headers() -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-security-policy", content_security_policy().encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cache-control", b"no-cache"),
    )
