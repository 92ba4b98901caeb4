"""Made-up data for tests and examples; the same numbers for the same options and `split_seed`.

synthetic/blobs         Gaussian clusters, one for each class
synthetic/linear        targets y = x·w + b + noise
synthetic/images        noisy stripes, another direction or width for each class
synthetic/coefficients  rows [c0, c1, c2]; the target is the minimum of c0·w² + c1·w + c2
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfapp.data.raw import RawData, RawPart, indexed
from tfapp.data.splits import Task
from tfapp.errors import UnknownName, UsageError

DEFAULT = "synthetic/blobs"

Options = Mapping[str, Any]

# Options of each source with their defaults; the type of the default is the type of the option.
OPTIONS: Mapping[str, Options] = {
    "synthetic/blobs": {"examples": 1000, "features": 2, "classes": 3, "noise": 1.0},
    "synthetic/linear": {"examples": 1000, "features": 3, "noise": 0.1},
    "synthetic/images": {"examples": 600, "size": 8, "channels": 1, "classes": 3, "noise": 0.2},
    "synthetic/coefficients": {
        "examples": 256,
        "coefficients": [1.0, -10.0, 25.0],
        "noise": 0.0,
    },
}
LEAST = {"examples": 3, "classes": 2}


def make_synthetic(name: str, options: Options, seed: int) -> RawData:
    """Returns the examples of a synthetic source; its splits are cut from them.

    Args:
        name: One of `OPTIONS`.
        options: Some of the options of that source.
        seed: Decides all numbers.

    Raises:
        UnknownName: The source has no such option.
        UsageError: The value of an option cannot be meant.
    """
    chosen = {**OPTIONS[name], **_check(name, options)}
    rng = np.random.default_rng(seed)
    features, labels = _MAKERS[name](rng, chosen)
    at = indexed(name)
    task: Task = "regression" if labels.dtype.kind == "f" else "classification"
    return RawData({"train": RawPart(features, labels, at, at)}, task=task)


def _check(name: str, options: Options) -> dict[str, Any]:
    checked = {}
    for key, value in options.items():
        if key not in OPTIONS[name]:
            raise UnknownName(f"option of {name}", key, OPTIONS[name])
        checked[key] = _check_value(key, value, OPTIONS[name][key])
    return checked


def _check_value(key: str, value: Any, default: Any) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(default, int):
        least = LEAST.get(key, 1)
        expected = f"a whole number of at least {least}"
        valid = number and isinstance(value, int) and value >= least
    elif isinstance(default, float):
        expected = "a number of at least 0"
        valid = number and 0 <= value < np.inf
    else:
        expected = "three numbers [c0, c1, c2] with c0 above 0, so that there is a minimum"
        valid = isinstance(value, list | tuple) and len(value) == 3 and _is_convex(value)
    if not valid:
        raise UsageError(f"data.options.{key} must be {expected}, found {value!r}.")
    return value


def _is_convex(values: Any) -> bool:
    numbers = all(isinstance(v, int | float) and np.isfinite(v) for v in values)
    return bool(numbers and values[0] > 0)


def _blobs(rng: np.random.Generator, options: Options) -> tuple[Any, Any]:
    # Centres on a wide cube: with the default noise clusters touch but hardly overlap.
    centres = rng.uniform(-10, 10, (options["classes"], options["features"]))
    labels = np.arange(options["examples"]) % options["classes"]
    noise = rng.normal(0, options["noise"], (len(labels), options["features"]))
    return (centres[labels] + noise).astype(np.float32), labels


def _linear(rng: np.random.Generator, options: Options) -> tuple[Any, Any]:
    features = rng.normal(size=(options["examples"], options["features"]))
    weights, bias = rng.normal(size=options["features"]), rng.normal()
    noise = rng.normal(0, options["noise"], options["examples"])
    return features.astype(np.float32), features @ weights + bias + noise


def _images(rng: np.random.Generator, options: Options) -> tuple[Any, Any]:
    """Stripes whose angle is the class's share of a half turn, plus noise."""
    count, side, classes = options["examples"], options["size"], options["classes"]
    labels = np.arange(count) % classes
    angles = np.pi * labels / classes
    rows, columns = np.mgrid[:side, :side] / side
    along = (
        np.cos(angles)[:, None, None] * rows[None] + np.sin(angles)[:, None, None] * columns[None]
    )
    phase = rng.uniform(0, 0.25, (count, 1, 1))
    waves = 0.5 + 0.5 * np.sin(2 * np.pi * (2 * along + phase))
    shape = (count, side, side, options["channels"])
    noisy = waves[..., None] + rng.normal(0, options["noise"], shape)
    return np.round(255 * np.clip(noisy, 0, 1)).astype(np.uint8), labels


def _coefficients(rng: np.random.Generator, options: Options) -> tuple[Any, Any]:
    """The same three numbers in every row; `noise` moves c1 and c2, so the parabola stays open."""
    rows = np.tile(np.array(options["coefficients"], np.float64), (options["examples"], 1))
    rows[:, 1:] += rng.normal(0, options["noise"], (len(rows), 2))
    c0, c1, c2 = rows.T
    return rows.astype(np.float32), c2 - c1**2 / (4 * c0)


_MAKERS: Mapping[str, Callable[[np.random.Generator, Options], tuple[Any, Any]]] = {
    "synthetic/blobs": _blobs,
    "synthetic/linear": _linear,
    "synthetic/images": _images,
    "synthetic/coefficients": _coefficients,
}
