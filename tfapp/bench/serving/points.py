"""What is asked of servers: plain tables, so that a typo is answered at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from tfapp.names import choose

Kind = Literal["rest", "grpc", "call"]

MLP = "mlp"
FEATURES = 784
IMAGES = "images"
IMAGE_SHAPE = (224, 224, 3)
IMAGE_BATCH = 32
ROWS = 1000
MANY = 50
CALLS = (1, 32, 128)

WORKLOADS: Mapping[str, str] = {
    "rest": "one row a request, REST",
    "grpc": "one row a request, gRPC",
    "calls": "a call in the process, without a server",
    "bodies": "large requests, one at a time",
    "models": f"{MANY} models in one server, REST",
}


@dataclass(frozen=True)
class Point:
    """One thing that is asked, over and over.

    Attributes:
        name: Unique among all points.
        workload: The group that it is chosen by.
        about: What differs from the others of the group.
        kind: How it is asked.
        request: The file with the body of a request, and the key of its answer.
        rows: Examples of a request.
        connections: How many clients ask at a time, each again once it has its answer.
        model: Who is asked.
        models: How many like it the requests go to in turn; 0 if it is alone in its server.
    """

    name: str
    workload: str
    about: str
    kind: Kind
    request: str
    rows: int = 1
    connections: int = 1
    model: str = MLP
    models: int = 0


def call_request(rows: int) -> str:
    """Returns the key of the rows that a model is called with."""
    return f"call-{rows}"


def _images(name: str, about: str, kind: Kind, request: str) -> Point:
    shape = " x ".join(map(str, IMAGE_SHAPE))
    about = f"{IMAGE_BATCH} images of {shape}, {about}"
    return Point(name, "bodies", about, kind, request, IMAGE_BATCH, model=IMAGES)


def _many(asked: int) -> Point:
    about = f"{asked} of {MANY} models asked, 32 connections"
    return Point(f"models-{asked}", "models", about, "rest", "row.json", 1, 32, models=asked)


POINTS: tuple[Point, ...] = (
    Point("rest-1", "rest", "1 connection", "rest", "row.json"),
    Point("rest-8", "rest", "8 connections", "rest", "row.json", connections=8),
    Point("rest-32", "rest", "32 connections", "rest", "row.json", connections=32),
    Point("grpc-1", "grpc", "1 connection", "grpc", "row.pb"),
    Point("grpc-8", "grpc", "8 connections", "grpc", "row.pb", connections=8),
    Point("grpc-32", "grpc", "32 connections", "grpc", "row.pb", connections=32),
    *(
        Point(f"call-{rows}", "calls", f"batch {rows}", "call", call_request(rows), rows)
        for rows in CALLS
    ),
    _images("images-json", "float32 in JSON", "rest", "images.json"),
    _images("images-png", "PNG files, base64 in JSON", "rest", "png.json"),
    _images("images-grpc", "float32 in tensor_content", "grpc", "images.pb"),
    Point("rows-json", "bodies", f"{ROWS:,} rows, JSON", "rest", "rows.json", ROWS),
    Point("rows-grpc", "bodies", f"{ROWS:,} rows, tensor_content", "grpc", "rows.pb", ROWS),
    _many(1),
    _many(MANY),
)
POINT: Mapping[str, Point] = {point.name: point for point in POINTS}


def find_points(workloads: Iterable[str]) -> tuple[Point, ...]:
    """Returns the points of workloads by name, each once; all of them when no name is given.

    Raises:
        UnknownName: With the nearest known name.
    """
    chosen = choose("workload", workloads, {name: name for name in WORKLOADS})
    return tuple(point for point in POINTS if point.workload in chosen)


def probe_of(point: Point) -> Point:
    """Returns a point with a small request that the same server answers: it tells of its start."""
    return next(
        found
        for found in POINTS
        if found.rows == 1 and found.kind == point.kind and bool(found.models) == bool(point.models)
    )
