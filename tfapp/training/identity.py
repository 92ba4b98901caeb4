"""What decides the numbers of a training: kept in each checkpoint, compared when it goes on.

differences(before, now)    # ["train.loop was 'resident', is now 'streaming'"]
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tfapp.config import Config
from tfapp.runs import flatten
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
        "replicas": parts.place.replicas,
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
    found: list[str] = []
    if "config" in before:
        # Keys that the older version did not have are at their defaults.
        whole = Config.model_validate(before["config"]).model_dump(mode="json")
        found = [c for c in _changes(whole, now["config"]) if not c.startswith(_FREE)]
    if before.get("data", now["data"]) != now["data"]:
        found.append(f"the data had fingerprint {before['data'][:12]}, now has {now['data'][:12]}")
    if (replicas := before.get("replicas", now["replicas"])) != now["replicas"]:
        found.append(f"{replicas} replicas shared a batch, now {now['replicas']} do")
    return found


def changed_surroundings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Returns a line for each thing around the training that has changed."""
    return _changes(before.get("surroundings", {}), now["surroundings"])


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    old, new = flatten(before), flatten(now)
    return [
        f"{key} was {_shown(old, key)}, is now {_shown(new, key)}"
        for key in {**old, **new}
        if _shown(old, key) != _shown(new, key)
    ]


def _shown(table: Mapping[str, Any], key: str) -> str:
    return repr(table[key]) if key in table else "not set"
