"""A request that works, for each signature of a model, and the answer to it.

Rows that came with the model make the best example: its warm-up requests, or the rows that it was
compared with when it was exported. Without them values are made up, and tried until the model takes
some. What is shown was therefore answered.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import tensorflow as tf

from tfapp.errors import reason_of
from tfapp.serving.example_features import features_of, made_up_features, text_json
from tfapp.serving.example_signatures import CLASSIFY, REGRESS
from tfapp.serving.json_types import JSON_TYPES
from tfapp.serving.models import DEFAULT_SIGNATURE
from tfapp.serving.servable import Servable, Signature
from tfapp.serving.status import ServingError
from tfapp.serving.tensors import to_arrays

Arrays = Mapping[str, np.ndarray]
# Kinds and requests by the names of their signatures.
Recorded = Mapping[str, tuple[str, Any]]
# Answers the JSON of a request by its verb, e.g. `predict`.
Ask = Callable[[str, bytes], bytes]

CHECK = Path("assets.extra") / "tfapp_check.npz"
_MOST_VALUES = 2**20
_OPEN_SIZES = (1, 8, 32)  # of dimensions that may vary, beside the first


@dataclass(frozen=True)
class Example:
    """A request, and the answer that was given to it.

    Attributes:
        verb: `predict`, `classify` or `regress`.
        body: Its JSON.
        answer: The JSON of the answer.
        real: Whether its rows came with the model.
    """

    verb: str
    body: bytes
    answer: bytes
    real: bool


class NoExample(Exception):
    """No request was found that a signature answers; the text says why."""


def find_example(
    servable: Servable,
    signature: Signature,
    recorded: Recorded,
    ask: Ask,
    *,
    seconds: float = math.inf,
) -> Example:
    """Returns a request that a signature answers.

    Args:
        servable: The model.
        signature: One of its signatures.
        recorded: The requests of its warm-up.
        ask: Answers requests to this version.
        seconds: How long to try; a request that is being tried is waited for.

    Raises:
        NoExample: It has none by REST, or none was found.
    """
    for info in (*signature.inputs.values(), *signature.outputs.values()):
        if info.dtype.name not in JSON_TYPES or not info.name:
            kind = info.dtype.name if info.name else "a tensor of several parts"
            raise NoExample(f"{info.alias} is {kind}, which has no JSON: ask by gRPC.")
    if not signature.inputs:
        raise NoExample("It has no inputs: ask by gRPC.")
    refusal, end = "", time.monotonic() + seconds

    def ask_in_time(verb: str, body: bytes) -> bytes:
        if time.monotonic() > end:
            raise NoExample(f"None that was tried in {seconds:g} s was answered.")
        return ask(verb, body)

    for verb, document, real in _candidates(servable, signature, recorded, ask_in_time):
        body = orjson.dumps(document)
        try:
            return Example(verb, body, ask_in_time(verb, body), real)
        except ServingError as error:
            refusal = refusal or reason_of(error)
    raise NoExample(f"None that was tried was answered; the first was refused: {refusal}")


def verb_of(signature: Signature) -> str:
    """Returns what a signature looks to be for: `predict`, `classify` or `regress`.

    Signatures of TensorFlow 2 all say that they are to predict.
    """
    if signature.method_name in (CLASSIFY, REGRESS):
        return "classify" if signature.method_name == CLASSIFY else "regress"
    texts = [info.dtype.name == "string" for info in signature.inputs.values()]
    if list(signature.inputs) != ["inputs"] or not all(texts):
        return "predict"
    if signature.outputs.keys() <= {"classes", "scores"}:
        return "classify"
    return "regress" if list(signature.outputs) == ["outputs"] else "predict"


def _candidates(
    servable: Servable, signature: Signature, recorded: Recorded, ask: Ask
) -> Iterator[tuple[str, Any, bool]]:
    """Gives verbs and bodies to try, the best first, and whether their rows are real."""
    if signature.name in recorded:
        verb, request = recorded[signature.name]
        if verb == "predict":
            sent = to_arrays(request.inputs)
            yield from ((verb, document, True) for document in _documents(signature, sent))
        elif (kind := request.input.WhichOneof("kind")) is not None:
            example = getattr(request.input, kind).examples[0]
            yield verb, _named(signature, {"examples": [features_of(example)]}), True
    for document in _documents(signature, _checked_rows(servable.path, signature)):
        yield "predict", document, True
    if (verb := verb_of(signature)) != "predict":
        features = made_up_features(
            lambda tried: ask(verb, orjson.dumps(_named(signature, {"examples": [tried]})))
        )
        yield verb, _named(signature, {"examples": [features]}), False
    if servable.exact_shapes and any(info.shape is None for info in signature.inputs.values()):
        return  # oneDNN's convolutions end the process with a rank that is not theirs
    for arrays in _made_up(signature):
        for document in _documents(signature, arrays):
            yield "predict", document, False


def _documents(signature: Signature, arrays: Arrays) -> Iterator[dict[str, Any]]:
    """Gives the bodies that send arrays: by rows, as far as there are any, and by columns."""
    if not arrays or arrays.keys() != signature.inputs.keys():
        return
    lengths = {len(array) if array.ndim else 0 for array in arrays.values()}
    if len(lengths) == 1 and lengths != {0}:
        if all(_may_vary(info.shape) for info in signature.inputs.values()):
            arrays = {name: array[:1] for name, array in arrays.items()}
        names, columns = list(arrays), [_json(array) for array in arrays.values()]
        rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        yield _named(signature, {"instances": rows if len(names) > 1 else columns[0]})
    named = {name: _json(array) for name, array in arrays.items()}
    yield _named(signature, {"inputs": named if len(named) > 1 else next(iter(named.values()))})


def _may_vary(shape: tuple[int | None, ...] | None) -> bool:
    return not shape or shape[0] is None


def _named(signature: Signature, document: dict[str, Any]) -> dict[str, Any]:
    if signature.name == DEFAULT_SIGNATURE:
        return document
    return {"signature_name": signature.name, **document}


def _checked_rows(path: Path, signature: Signature) -> Arrays:
    """Returns the rows that an export was compared with, if they are of this signature."""
    try:
        with np.load(path / CHECK, allow_pickle=False) as kept:
            found = {name: kept[f"input:{name}"][:1] for name in signature.inputs}
    except (OSError, ValueError, KeyError):
        return {}
    return found


def _made_up(signature: Signature) -> Iterator[Arrays]:
    """Gives arrays of the shapes and types of a signature, in which what is open is guessed."""
    infos = signature.inputs.values()
    is_open = any(info.shape is None or None in info.shape[1:] for info in infos)
    has_text = any(info.dtype.name == "string" for info in infos)
    for size, text in itertools.product(
        _OPEN_SIZES if is_open else (1,), (_TEXT, _png(), b"") if has_text else (b"",)
    ):
        shapes = {info.alias: _shape(info.shape, size) for info in infos}
        if sum(map(math.prod, shapes.values())) > _MOST_VALUES:
            raise NoExample("It takes too many values at a time to make some up.")
        yield {
            info.alias: np.full(shapes[info.alias], text, object)
            if info.dtype.name == "string"
            else np.full(shapes[info.alias], _number(info.dtype), info.dtype.as_numpy_dtype)
            for info in infos
        }


_TEXT = b"text"


def _number(dtype: Any) -> float:
    # A small integer is a row of a table, a color or a class.
    return 0.5 if dtype.is_floating else 0


def _png() -> bytes:
    image = tf.io.encode_png(np.zeros((8, 8, 3), np.uint8)).numpy()
    assert isinstance(image, bytes)
    return image


def _shape(shape: tuple[int | None, ...] | None, size: int) -> tuple[int, ...]:
    if shape is None:
        return (1,) if size == 1 else (1, size)
    return tuple(
        (1 if axis == 0 else size) if length is None else length
        for axis, length in enumerate(shape)
    )


def _json(array: np.ndarray) -> Any:
    """Returns an array as JSON holds it; floats as short as they are told apart."""
    if array.dtype.kind == "f":
        finite = np.nan_to_num(array, posinf=0.0, neginf=0.0)
        texts = [float(str(value)) for value in finite.ravel()]
        return np.array(texts, np.float64).reshape(array.shape).tolist()
    if array.dtype.kind in "SO":
        found = np.empty(array.size, object)
        found[:] = [text_json(value) for value in array.ravel()]
        return found.reshape(array.shape).tolist()
    return array.tolist()
