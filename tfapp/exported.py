"""What an exported model looks like from outside: its folders, its card, its named inputs.

Writers (`tfapp.export`) and readers (`tfapp.prediction`) share it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfapp.data.columns import input_names
from tfapp.data.splits import DataInfo
from tfapp.errors import ExportError
from tfapp.serving.versions import scan

CARD = "tfapp.json"
# What readers take from a card.
_KEYS = {
    "name": (str, "a text"),
    "version": (int, "a whole number"),
    "run": (str, "a text"),
    "config": (dict, "an object"),
    "info": (dict, "an object"),
    "check": (dict, "an object"),
    "files": (dict, "an object"),
}


def find_version(path: Path) -> Path | None:
    """Returns the SavedModel at `path`, or the newest version in it; `None` if there is none."""
    if (path / "saved_model.pb").is_file():
        return path
    return next(reversed(versions(path).values()), None)


def versions(folder: Path) -> dict[int, Path]:
    """Returns the versions in a folder by their number, lowest first: those a server finds."""
    return dict(sorted(scan(folder).items())) if folder.is_dir() else {}


def read_card(folder: Path) -> dict[str, Any]:
    """Reads the card of a SavedModel and checks that its files are the ones that were written.

    Raises:
        ExportError: There is no card, or a file is missing or changed.
    """
    card = read_unchecked_card(folder)
    for name, checksum in card["files"].items():
        file = folder / name
        if not file.is_file() or sha256(file) != checksum:
            what = "is not what was written" if file.is_file() else "is missing"
            raise ExportError(
                f"the SavedModel {folder} is damaged: {name} {what}. Export the run"
                f" {card['run']} again with tfapp export."
            )
    return card


def read_unchecked_card(folder: Path) -> dict[str, Any]:
    """Reads the card of a SavedModel alone, for those who want to know whose it is.

    Raises:
        ExportError: There is no card, or it lacks what readers take from it.
    """
    file = folder / CARD
    try:
        card = json.loads(file.read_text(encoding="utf-8"))
        problem = _problem_of(card)
    except FileNotFoundError as error:
        raise ExportError(
            f"{folder} has no {CARD}: it was not exported by tfapp. Export one with tfapp export."
        ) from error
    except OSError as error:
        raise ExportError(
            f"{file} cannot be read: {error.strerror}. Make it a file that you may read, or export"
            " the run again with tfapp export."
        ) from error
    except (ValueError, RecursionError) as error:
        problem = f"it is no JSON ({error})"
    if problem:
        raise ExportError(f"{file} is damaged: {problem}. Export the run again with tfapp export.")
    return card


def _problem_of(card: Any) -> str:
    """Returns what is wrong with the content of a card; nothing if it is as it was written."""
    if not isinstance(card, dict):
        return "it holds no JSON object"
    for key, (kind, told) in _KEYS.items():
        if key not in card:
            return f"it has no {key!r}"
        if not isinstance(card[key], kind):
            return f"its {key!r} is not {told}"
    tolerance = card["check"].get("tolerance")
    # NaN is not between numbers. With infinity whatever the answers are would be rounding.
    if type(tolerance) not in (int, float) or not 0 <= tolerance <= 1:
        return "the 'tolerance' in its 'check' is not a number from 0 to 1"
    return ""


def sha256(file: Path) -> str:
    """Returns the SHA-256 of a file's content, in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def input_specs(info: DataInfo) -> dict[str, tf.TensorSpec]:
    """Returns the named inputs that raw examples are sent as, in the order of the columns."""
    columns = info.columns or ()
    if any(column.vocabulary is not None for column in columns):
        return {
            name: tf.TensorSpec(
                [None], tf.float32 if column.vocabulary is None else tf.string, name
            )
            for name, column in zip(input_names(columns), columns, strict=True)
        }
    name = "image" if len(info.feature_shape) == 3 else "features"
    return {name: tf.TensorSpec([None, *info.feature_shape], info.feature_dtype, name)}


def named_inputs(info: DataInfo, features: Any) -> dict[str, tf.Tensor]:
    """Turns raw features `[B, *feature_shape]` into the named inputs of `input_specs`."""
    specs = input_specs(info)
    columns = info.columns or ()
    if all(column.vocabulary is None for column in columns):
        return {name: tf.constant(features, spec.dtype) for name, spec in specs.items()}
    inputs = {}
    for index, (column, spec) in enumerate(zip(columns, specs.values(), strict=True)):
        values = features[:, index]
        if column.vocabulary is not None:
            texts = ("", *column.vocabulary)  # code 0 stands for a text that training never saw
            values = [texts[int(code)] for code in values]
        inputs[spec.name] = tf.constant(values, spec.dtype)
    return inputs
