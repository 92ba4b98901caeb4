"""The requests of TensorFlow Serving's REST interface: from method, path and body to JSON."""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import numpy as np
import orjson
from google.protobuf import json_format

from tfapp.serving import inference
from tfapp.serving.hints import path_hint, signatures_hint
from tfapp.serving.inference import Computation
from tfapp.serving.json_answers import classifications_json, predictions_json, regressions_json
from tfapp.serving.json_examples import parse_examples
from tfapp.serving.json_numbers import SHORT_BODY, BodyNeeded, NumberInputs, number_inputs
from tfapp.serving.json_parsing import parse_object, plain_object
from tfapp.serving.json_values import (
    PredictInputs,
    output_filter,
    predict_inputs,
    signature_name,
)
from tfapp.serving.models import DEFAULT_SIGNATURE, Models, ModelSpec
from tfapp.serving.servable import Servable, Signature
from tfapp.serving.status import Code, ServingError, invalid

# The JSON of a large body takes up to forty times its size until it is arrays, if it is more than
# numbers. Of all that come at a time only one is read.
_LARGE = 2**22  # bytes
_ONE_LARGE = threading.Lock()

_OF_VERSION = r"(?:(?:/versions/(?P<version>\d+))|(?:/labels/(?P<label>[^/:]+)))?"
_FLAGS = re.ASCII | re.IGNORECASE
_PATHS = {
    "POST": re.compile(
        rf"/v1/models/(?P<name>[^/:]+){_OF_VERSION}:(?P<action>classify|regress|predict)", _FLAGS
    ),
    "GET": re.compile(
        rf"/v1/models(?:/(?P<name>[^/:]+))?{_OF_VERSION}(?:/(?P<action>metadata))?", _FLAGS
    ),
}


@dataclass(frozen=True)
class Route:
    """What a method and a path ask for.

    Attributes:
        action: `predict`, `classify`, `regress`, `metadata` or `status`.
        spec: Of which model.
    """

    action: str
    spec: ModelSpec


def parse_route(method: str, path: str) -> Route:
    """Reads a method and a path of the `/v1/` space.

    Upper and lower case are one. Names and labels are decoded after the path was divided, so that
    they may hold `%2F` and `%3A`.

    Args:
        method: Of HTTP, in upper case.
        path: As it was sent, without the query.

    Raises:
        ServingError: `INVALID_ARGUMENT`: there is no such path, or not with this method.
    """
    pattern = _PATHS.get(method)
    match = pattern.fullmatch(path) if pattern is not None else None
    if match is None:
        raise invalid(f"Malformed request: {method} {path}.{path_hint(method, path)}")
    name, version, label, action = match.group("name", "version", "label", "action")
    number = None if version is None else _int64(version)
    if name is None:
        raise invalid("Missing model name in request.")
    spec = ModelSpec(
        _decoded(name),
        version=number,
        label=None if label is None else _decoded(label),
    )
    return Route("status" if action is None else action.lower(), spec)


class Content(NamedTuple):
    """The JSON of a body.

    Attributes:
        signature: Which signature it is for.
        document: As Python's objects; empty if it is `numbers`.
        numbers: As numbers, if it holds no other inputs.
    """

    signature: str
    document: dict[str, Any]
    numbers: NumberInputs | None = None


class Question(NamedTuple):
    """An inference request, read as far as that can be done without the model.

    Attributes:
        route: What is asked for.
        body: As it was sent, but for its compression; empty if only its numbers are there.
        content: Its JSON.
        examples: Serialized `tf.Example`s `[N]`, if they are to be classified or regressed.
    """

    route: Route
    body: bytes
    content: Content
    examples: np.ndarray | None


@contextmanager
def reading(body: bytes, seconds: float) -> Iterator[None]:
    """Is held from `read` to `plan`: a large body waits for others to be read.

    Args:
        body: Of the request, inflated.
        seconds: How long it may wait.

    Raises:
        ServingError: `DEADLINE_EXCEEDED`: it waited so long.
    """
    if len(body) <= _LARGE:
        yield
        return
    if not _ONE_LARGE.acquire(timeout=seconds):
        raise ServingError(
            Code.DEADLINE_EXCEEDED, "Timed out waiting for other large bodies to be read."
        )
    try:
        yield
    finally:
        _ONE_LARGE.release()


def content_of(route: Route, body: bytes) -> Content:
    """Parses the body of a request to predict, classify or regress.

    Args:
        route: What is asked for.
        body: Its JSON.

    Raises:
        ServingError: `INVALID_ARGUMENT`: it is not JSON, or no object.
    """
    return _numbers(route, body) or _document(parse_object(body))


def quick_content_of(route: Route, body: bytes) -> Content | None:
    """Parses the body of a request as `content_of` does, if that is quick.

    Args:
        route: What is asked for.
        body: Its JSON.

    Returns:
        What it holds; None for what takes longer to read, or is to be refused as no JSON.

    Raises:
        ServingError: `INVALID_ARGUMENT`: the name of its signature is no string.
    """
    numbers = _numbers(route, body)
    if numbers is not None:
        return numbers
    document = plain_object(body)
    return None if document is None else _document(document)


def _numbers(route: Route, body: bytes) -> Content | None:
    if route.action != "predict" or len(body) <= SHORT_BODY:
        return None
    numbers = number_inputs(body)
    return None if numbers is None else content_of_numbers(numbers)


def content_of_numbers(numbers: NumberInputs) -> Content:
    """Returns what `content_of` does for a body that is read already."""
    return Content(numbers.signature or DEFAULT_SIGNATURE, {}, numbers)


def _document(document: dict[str, Any]) -> Content:
    return Content(signature_name(document), document)


def read(route: Route, body: bytes, content: Content | None = None) -> Question:
    """Reads a request to predict, classify or regress.

    Args:
        route: What is asked for.
        body: Its JSON.
        content: What was made of it, if that was asked.

    Raises:
        ServingError: `INVALID_ARGUMENT`: it is not JSON, or not what such a request holds.
    """
    content = content or content_of(route, body)
    examples = None if route.action == "predict" else parse_examples(content.document)
    return Question(route, body, content, examples)


def plan(
    question: Question, servable: Servable, *, check_method: bool = False
) -> Computation[bytes]:
    """Returns what computes the JSON of the answer.

    Args:
        question: What is asked.
        servable: Who is asked.
        check_method: Refuse signatures that do not say that they are for this.

    Raises:
        ServingError: The request does not fit the model.
        BodyNeeded: Nor do its numbers, and its body is not there.
    """
    name, examples = question.content.signature, question.examples
    if examples is None:
        return _plan_predict(question, servable, check_method)
    if question.route.action == "classify":
        found = inference.classify(servable, name, examples, check_method=check_method)
        return found.then(classifications_json)
    return inference.regress(servable, name, examples, check_method=check_method).then(
        regressions_json
    )


def describe(route: Route, models: Models) -> bytes:
    """Answers a request for the status or the metadata of a model.

    Raises:
        ServingError: It is not there.
    """
    if route.action == "status":
        return _status(route.spec, models)
    with models.use(route.spec) as servable:
        return _metadata(servable)


def _plan_predict(question: Question, servable: Servable, check_method: bool) -> Computation[bytes]:
    content = question.content
    signature = servable.signatures.get(content.signature)
    if signature is None:
        raise invalid(
            f'Serving signature name: "{content.signature}" not found in signature def.'
            + signatures_hint(content.signature, servable.signatures)
        )
    _check_has_inputs(signature)
    inputs, filtered = _inputs(question, signature)
    found = inference.predict(
        servable, signature.name, inputs.arrays, filtered, check_method=check_method
    )
    return found.then(functools.partial(predictions_json, rows=inputs.rows))


def _inputs(question: Question, signature: Signature) -> tuple[PredictInputs, list[str]]:
    """Returns the inputs of a predict request, and the outputs that it wants."""
    body, (_, document, numbers) = question.body, question.content
    if numbers is not None:
        arrays = numbers.take(signature.inputs)
        if arrays is not None:
            return PredictInputs(arrays, numbers.rows), []
        if not body:
            raise BodyNeeded
        document = parse_object(body)
    inputs = predict_inputs(
        document,
        signature.inputs,
        may_hold_bools=_may_hold_bools(body),
        quotes=body.count(b'"'),
    )
    filtered = output_filter(document)
    document.clear()  # of a large body it holds much more than the arrays do
    return inputs, filtered


def _may_hold_bools(body: bytes) -> bool:
    # One letter is found ten times as fast as a word; numbers have neither.
    return (b"u" in body and b"true" in body) or (b"l" in body and b"false" in body)


def _check_has_inputs(signature: Signature) -> None:
    if not signature.inputs:
        name = "DEFAULT" if signature.name == DEFAULT_SIGNATURE else signature.name
        raise invalid(f"Failed to get input map for signature: {name}")


def _status(spec: ModelSpec, models: Models) -> bytes:
    # A label is ignored, as by TensorFlow Serving: all versions are told of.
    versions = [
        {
            "version": str(version.version),
            "state": version.state.name,
            "status": {"error_code": version.code.name, "error_message": version.message},
        }
        for version in models.statuses(spec.name, spec.version)
    ]
    return orjson.dumps({"model_version_status": versions})


def _metadata(servable: Servable) -> bytes:
    spec = {"name": servable.name, "signature_name": "", "version": str(servable.version)}
    definitions = json_format.MessageToDict(
        inference.definitions(servable),
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )
    return orjson.dumps({"model_spec": spec, "metadata": {"signature_def": definitions}})


def _int64(digits: str) -> int:
    # Python refuses to read thousands of digits, zeros in front among them.
    significant = digits.lstrip("0") or "0"
    if len(significant) > 19 or int(significant) >= 2**63:
        raise invalid(f"Failed to convert version: {digits} to numeric.")
    return int(significant)


def _decoded(text: str) -> str:
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape")
