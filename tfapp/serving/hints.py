"""What an error adds to the text of TensorFlow Serving: what was probably meant, and what there is.

Clients match on how a text begins, so a hint always comes after it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tfapp.errors import did_you_mean
from tfapp.serving.models import State, VersionStatus
from tfapp.serving.status import ServingError

if TYPE_CHECKING:
    import numpy as np

    from tfapp.serving.servable import Signature, TensorInfo

_MOST_NAMES, _MOST_NEAR, _LONGEST = 20, 500, 100
_VERBS = ("predict", "classify", "regress")
_POST_ENDS = re.compile(rf":(?:{'|'.join(_VERBS)})/?$", re.IGNORECASE)
_BAD_VERSION = re.compile(r"/versions/(?!\d+(?:[:/]|$))([^/:]*)", re.IGNORECASE)
_SLASHED_VERB = re.compile(rf"/({'|'.join(_VERBS)})/?$", re.IGNORECASE)
_OTHER_VERB = re.compile(r":([^/:]*)$")
_NO_VERB = re.compile(r"/v1/models/[^/:]+(?:/(?:versions|labels)/[^/:]+)?/?", re.IGNORECASE)


def explain(
    error: ServingError, signature: Signature, inputs: Mapping[str, np.ndarray]
) -> ServingError:
    """Adds to what a graph says of a run the inputs that are not as the signature has them.

    A shape is not compared with the signature before a run, as the graph may take others, too.

    Args:
        error: What the run ended with.
        signature: Whose run it was.
        inputs: What it was given, by alias.
    """
    unlike = [
        f" The input {info.alias} of signature {signature.name} is {_kind(info.dtype.name)}"
        f" {shape_text(info.shape)}; the request has {_found(info, inputs[info.alias])}."
        for info in signature.inputs.values()
        if info.alias in inputs and not _fits(info, inputs[info.alias])
    ]
    if not unlike:
        return error
    return ServingError(error.code, str(error).rstrip() + "".join(unlike))


def shape_text(shape: Sequence[int | None] | None) -> str:
    """Returns a shape as errors and pages write it: `[?,8,8]`; `[...]` if nothing is known."""
    if shape is None:
        return "[...]"
    return f"[{','.join('?' if length is None else str(length) for length in shape)}]"


def names_hint(kind: str, name: str, known: Collection[str]) -> str:
    """Returns what a name that is not known may mean, and what is.

    Args:
        kind: What is named, in the plural, with a capital: `Models`.
        name: The name.
        known: Those that would have been right.
    """
    return f"{_near(name, known)} {kind}: {_listed(sorted(known))}."


def signatures_hint(name: str, known: Iterable[str]) -> str:
    """Returns what the name of a signature may mean; TensorFlow's own are not offered."""
    offered = [signature for signature in known if not signature.startswith("__")]
    return names_hint("Signatures of the model", name, offered)


def version_hint(model: str, statuses: Iterable[VersionStatus]) -> str:
    """Returns which versions of a model answer, and what the others do."""
    available: list[str] = []
    others: list[str] = []
    for status in statuses:
        if status.state is State.AVAILABLE:
            available.append(str(status.version))
        elif status.state is not State.END or status.message:
            others.append(f"{status.version} is {status.state.name}")
    more = f" Version {_listed(others)}." if others else ""
    return f" Versions of {model} that answer: {_listed(available)}.{more}"


def base_path_hint(folder: Path) -> str:
    """Returns what a base path without versions holds instead."""
    if any((folder / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
        return f" It is a SavedModel itself: name the folder above it, {folder.parent}."
    found = sorted(path.name for path in folder.iterdir() if path.is_dir())
    return f" Its folders are {_listed(found)}." if found else " It is empty."


def path_hint(method: str, path: str) -> str:
    """Returns what a method and a path below `/v1/` probably mean, which together mean nothing."""
    if not path.lower().startswith("/v1/models"):
        return " Paths begin with /v1/models/."
    if method not in ("GET", "POST"):
        return " Send POST to predict, classify or regress, and GET for the status and metadata."
    if "/versions/" in path.lower() and "/labels/" in path.lower():
        return " Give a version or a label, not both."
    if bad := _BAD_VERSION.search(path):
        return (
            f" A version is a whole number, found {bad[1]!r}; a label is asked for by /labels/NAME."
        )
    if method == "GET":
        if _POST_ENDS.search(path):
            return " Send it by POST, with a body."
        return " GET is for /v1/models/NAME and /v1/models/NAME/metadata."
    if slashed := _SLASHED_VERB.search(path):
        return f" Write :{slashed[1]}, with a colon."
    if _NO_VERB.fullmatch(path):
        return " Add what to do: :predict, :classify or :regress."
    if verb := _OTHER_VERB.search(path):
        if verb[1].lower() not in _VERBS:
            near = _near(f":{verb[1]}", [f":{known}" for known in _VERBS])
            return f"{near} Known: :predict, :classify, :regress."
        return " A / in a name is written %2F, and a : is written %3A."
    return " A path is /v1/models/NAME:predict, with /versions/7 or /labels/NAME after the name."


def _fits(info: TensorInfo, array: np.ndarray) -> bool:
    if _kind(array.dtype.name) != _kind(info.dtype.name):
        return False
    if info.shape is None:
        return True
    return len(info.shape) == array.ndim and all(
        length in (None, size) for length, size in zip(info.shape, array.shape, strict=True)
    )


def _found(info: TensorInfo, array: np.ndarray) -> str:
    kind = _kind(array.dtype.name)
    same = kind == _kind(info.dtype.name)
    return shape_text(array.shape) if same else f"{kind} {shape_text(array.shape)}"


def _kind(dtype: str) -> str:
    return "string" if dtype == "object" else dtype


def _near(name: str, known: Collection[str]) -> str:
    # Clients send names of any size, and comparing takes as long as both together.
    return did_you_mean(name, known) if len(name) <= _LONGEST and len(known) <= _MOST_NEAR else ""


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "none"
    more = ", …" if len(names) > _MOST_NAMES else ""
    return ", ".join(name[:_LONGEST] for name in names[:_MOST_NAMES]) + more
