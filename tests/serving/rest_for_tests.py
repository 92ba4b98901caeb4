"""The application of REST without a network: its models, and questions as of a client."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import models_for_tests as written

from tfapp.serving.http1 import HttpRequest
from tfapp.serving.models import ModelSpec, State, VersionStatus
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


_WRITERS = {
    "half": (written.write_half_plus_two, 3),
    "several": (written.write_several, 1),
    "strings": (written.write_strings, 1),
    "examples": (written.write_example_classifier, 1),
    "types": (written.write_types, 1),
    "any/thing:else": (written.write_unknown_rank, 7),
}


def load_models(folder: Path, *names: str) -> Kept:
    """Writes and loads those of the models that are named, each in its version."""
    servables = []
    for number, name in enumerate(names):
        write, version = _WRITERS[name]
        path = write(folder / str(number) / str(version))
        servables.append(load_servable(name, version, path))
    return Kept(servables)


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
