"""What decides the numbers of a training: kept in each checkpoint, compared when it goes on.

differences(before, now)    # ["train.loop was 'resident', is now 'streaming'"]
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tfapp.training.assembly import Assembly

# What may change without the steps already done becoming those of another training.
_FREE = ("name", "train.epochs", "train.checkpoint", "train.early_stopping")


def identity(parts: Assembly) -> dict[str, Any]:
    """Returns what decides the numbers, as JSON can hold it.

    `surroundings` may change the last bits, but are not the user's to choose.
    """
    return {
        "config": parts.config.model_dump(mode="json"),
        "data": parts.splits.info.fingerprint,
        "surroundings": {
            "TensorFlow": tf.__version__,
            "Keras": keras.__version__,
            "machine": platform.machine(),
            "devices": ", ".join(sorted({d.device_type for d in tf.config.list_logical_devices()})),
        },
    }


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Returns a line for each thing that makes `now` another training than `before`.

    What `before` does not tell is not compared: it may come from an older version.
    """
    found = _changes(before.get("config", {}), now["config"])
    if before.get("data", now["data"]) != now["data"]:
        found.append(f"the data had fingerprint {before['data'][:12]}, now has {now['data'][:12]}")
    return found


def changed_surroundings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Returns a line for each thing around the training that has changed."""
    return _changes(before.get("surroundings", {}), now["surroundings"])


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    old, new = _flat(before), _flat(now)
    return [
        f"{key} was {old[key]!r}, is now {new.get(key)!r}"
        for key in old
        if old[key] != new.get(key) and not key.startswith(_FREE)
    ]


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns a nested table with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
