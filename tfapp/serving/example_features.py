"""Features of a `tf.train.Example`, as JSON: of one that there is, or made up for a model."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import Any

from tfapp.serving.status import ServingError

# What TensorFlow says of an example that lacks something, one thing at a time.
_MISSING = re.compile(r"Feature: (.+) \(data type: (\w+)\) is required but could not be found")
_WRONG_SIZE = re.compile(
    r"Key: (.+?)[,.] .*Number of \w+ values != expected\.\s+[Vv]alues size: \d+ but output shape:"
    r" \[([\d,]*)\]"
)
_VALUES: dict[str, Any] = {"float": 0.5, "int64": 1, "string": "text"}
_MOST_TRIES = 512
_MOST_VALUES = 2**20


def features_of(example: Any) -> dict[str, Any]:
    """Returns the features of a `tf.train.Example` as the JSON of a request."""
    found: dict[str, Any] = {}
    for name in sorted(example.features.feature):
        feature = example.features.feature[name]
        kind = feature.WhichOneof("kind")
        if kind is None:
            continue
        values = [_json(value) for value in getattr(feature, kind).value]
        found[name] = values[0] if len(values) == 1 else values
    return found


def made_up_features(ask: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Returns features that a model takes; those that were tried last if none were found.

    A model does not say what it parses an example into. It says what it misses, so it is asked
    until it misses nothing.

    Args:
        ask: Gives one example to the model.
    """
    features: dict[str, Any] = {}
    for _ in range(_MOST_TRIES):
        try:
            ask(features)
        except ServingError as error:
            if not _mend(features, str(error)):
                return features
        else:
            return features
    return features


def text_json(value: bytes) -> Any:
    """Returns bytes as JSON holds them: as a text, or in base64 if they are none."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def _mend(features: dict[str, Any], refusal: str) -> bool:
    """Adds or resizes the feature that a refusal names; tells whether it names one."""
    if missing := _MISSING.search(refusal):
        name, kind = missing.groups()
        if name in features or kind not in _VALUES:
            return False
        features[name] = _VALUES[kind]
        return True
    if wrong := _WRONG_SIZE.search(refusal):
        name, count = wrong[1], 1
        for length in filter(None, wrong[2].split(",")):
            count *= int(length)
        if name not in features or isinstance(features[name], list) or count > _MOST_VALUES:
            return False
        features[name] = [features[name]] * count
        return True
    return False


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return text_json(value)
    # The field holds a float32, which Python shows with all the digits of a float64.
    return float(f"{value:.9g}") if isinstance(value, float) else value
