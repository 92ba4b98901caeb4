"""Who can be asked: a plain table, so that a typo is answered at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tfapp.bench.serving.points import POINTS, Point
from tfapp.errors import UnknownName, UsageError
from tfapp.names import is_import_path, missing_extra

REFERENCE = "tfapp"
CALL_REFERENCE = "servable"  # what `tfapp serve` calls
ORDINARY = "fastapi"
ECHO = "grpc-echo"
FILES = "files"  # no contender: the process that writes models and requests
_HERE = "tfapp.bench.serving"

_REST = ("rest-1", "rest-8", "rest-32")
_GRPC = ("grpc-1", "grpc-8", "grpc-32")
_SERVED = tuple(point.name for point in POINTS if point.kind != "call")
_CALLS = tuple(point.name for point in POINTS if point.kind == "call")
_LARGE_GRPC = ("images-grpc", "rows-grpc")


@dataclass(frozen=True)
class Entry:
    """A contender by name.

    Attributes:
        name: What it is asked for by.
        path: Import path of its class.
        points: The names of the points that it takes part in.
        module: What must be installed besides tfapp.
        extra: The extra of tfapp that installs it, if there is one.
        limit: Whether it does a part of the work only.
    """

    name: str
    path: str
    points: tuple[str, ...]
    module: str | None = None
    extra: str | None = None
    limit: bool = False

    @property
    def missing(self) -> str | None:
        """How to install what is missing; `None` if nothing is."""
        missing = missing_extra(self.module, self.extra)
        if missing is not None and self.extra is None:
            return f"not installed: pip install {self.module}"
        return missing


ROSTER: Mapping[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(REFERENCE, f"{_HERE}.tfapp_serve:TfappServe", _SERVED),
        Entry(
            ORDINARY,
            f"{_HERE}.other_servers:FastApi",
            (*_REST, "images-json", "rows-json"),
            module="fastapi",
            extra="bench",
        ),
        Entry("kserve", f"{_HERE}.other_servers:KServe", _REST, module="kserve"),
        Entry("litserve", f"{_HERE}.other_servers:LitServe", _REST, module="litserve"),
        Entry(ECHO, f"{_HERE}.other_servers:GrpcEcho", (*_GRPC, *_LARGE_GRPC), limit=True),
        Entry(CALL_REFERENCE, f"{_HERE}.calls:ServableCall", _CALLS),
        Entry("signature", f"{_HERE}.calls:SignatureCall", _CALLS),
        Entry("session", f"{_HERE}.calls:SessionCall", _CALLS),
        Entry("numpy", f"{_HERE}.calls:NumpyCall", _CALLS, limit=True),
    )
}


def reference_of(point: Point) -> str:
    """Returns the contender that the others are compared with."""
    return CALL_REFERENCE if point.kind == "call" else REFERENCE


def find_servers(names: Iterable[str]) -> list[Entry]:
    """Returns contenders by name, each once; all of them when no name is given.

    Args:
        names: Names of the roster, or import paths `module:Class` of one's own.

    Raises:
        UnknownName: With the nearest known name.
    """
    found: dict[str, Entry] = {}
    for name in list(names) or ROSTER:
        if name in ROSTER:
            found[name] = ROSTER[name]
        elif is_import_path(name):
            found[name] = Entry(name, name, tuple(point.name for point in POINTS))
        else:
            raise UnknownName(
                "contender",
                name,
                ROSTER,
                "For your own, give an import path such as 'mypackage.bench:Mine'.",
            )
    return list(found.values())


def assign(points: Sequence[Point], contenders: Sequence[Entry]) -> dict[str, tuple[Entry, ...]]:
    """Returns who takes part in which point, by the point's name; without the empty ones.

    Args:
        points: What is asked.
        contenders: Who was asked for.

    Raises:
        UsageError: None of them takes part in any of the points.
    """
    teams = {
        point.name: tuple(entry for entry in contenders if point.name in entry.points)
        for point in points
    }
    if not any(teams.values()):
        workloads = ", ".join(dict.fromkeys(point.workload for point in points))
        known = [e.name for e in ROSTER.values() if any(p.name in e.points for p in points)]
        raise UsageError(
            f"{', '.join(entry.name for entry in contenders)} cannot do {workloads}."
            f" These can: {', '.join(known)}."
        )
    return {name: team for name, team in teams.items() if team}
