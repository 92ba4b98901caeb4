"""The REST interface of what is served, as an OpenAPI document.

Source: OpenAPI Specification 3.1.1; its schemas are JSON Schema 2020-12.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from tfapp.serving.describing import Described, Served, Version
from tfapp.serving.examples import Example
from tfapp.serving.models import DEFAULT_SIGNATURE
from tfapp.serving.pages import EXAMPLE_PATH
from tfapp.serving.servable import TensorInfo

# Requests and answers up to here stand in the document itself.
INLINE_BYTES = 4096

_INT32 = {"minimum": -(2**31), "maximum": 2**31 - 1}
_NUMBERS: dict[str, dict[str, Any]] = {
    "float32": {"type": "number"}, "float64": {"type": "number"}, "bool": {"type": "boolean"},
    "int8": _INT32, "int16": _INT32, "int32": _INT32, "uint8": _INT32,
    "int64": {"minimum": -(2**63), "maximum": 2**63 - 1},
    "uint32": {"minimum": 0, "maximum": 2**32 - 1}, "uint64": {"minimum": 0, "maximum": 2**64 - 1},
}  # fmt: skip
_BASE64 = {
    "type": "object",
    "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
    "required": ["b64"],
    "additionalProperties": False,
}
_ERROR = {"$ref": "#/components/responses/Error"}
_FEATURE = {"type": ["array", "string", "number", "boolean", "object"]}


def openapi(served: Served, base_url: str, program_version: str) -> dict[str, Any]:
    """Returns the document.

    Args:
        served: What is served.
        base_url: Where, e.g. `http://localhost:8501`.
        program_version: Of the program that serves.
    """
    paths: dict[str, Any] = {}
    for version in served.versions:
        paths |= _paths_of(version, base_url)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Served models",
            "version": program_version,
            "description": "The REST interface of TensorFlow Serving. Answers may hold NaN,"
            " Infinity and -Infinity, which JSON does not know; requests may hold them, too.",
        },
        "servers": [{"url": base_url}],
        "tags": [{"name": name} for name in served.statuses],
        "paths": paths | _own_paths(),
        "components": {"schemas": {"Error": _ERROR_SCHEMA}, "responses": {"Error": _ERROR_ANSWER}},
    }


def model_path(version: Version, *, numbered: bool = False) -> str:
    """Returns the path of a version: by its number, unless it is the latest one anyway."""
    path = f"/v1/models/{quote(version.model, safe='')}"
    return path if version.is_latest and not numbered else f"{path}/versions/{version.number}"


def example_url(version: Version, signature: Described, base_url: str = "") -> str:
    """Returns where the whole request of an example is."""
    query = {"model": version.model, "version": version.number, "signature": signature.name}
    return f"{base_url}{EXAMPLE_PATH}?{urlencode(query)}"


def _paths_of(version: Version, base_url: str) -> dict[str, Any]:
    verbs: dict[str, list[Described]] = {}
    for signature in version.signatures:
        if signature.example is not None:
            verbs.setdefault(signature.example.verb, []).append(signature)
    paths: dict[str, Any] = {}
    for path in dict.fromkeys((model_path(version), model_path(version, numbered=True))):
        for verb, signatures in verbs.items():
            paths[f"{path}:{verb}"] = {
                "post": _operation(version, path, verb, signatures, base_url)
            }
        paths[path] = {"get": _get(version, f"status {path}", "States of versions")}
        paths[f"{path}/metadata"] = {"get": _get(version, f"metadata {path}", "Signatures")}
    return paths


def _operation(
    version: Version, path: str, verb: str, signatures: Sequence[Described], base_url: str
) -> dict[str, Any]:
    shown = {s.name: _shown(version, s, base_url) for s in signatures}
    answers = {
        s.name: {"value": value}
        for s in signatures
        if s.example is not None and (value := _inline(s.example.answer)) is not None
    }
    answer: dict[str, Any] = {"schema": _any_of([_answer_schema(verb, s) for s in signatures])}
    if answers:
        answer["examples"] = answers
    return {
        "operationId": f"{verb} {path}",
        "summary": f"{verb.title()} with {version.model}, version {version.number}",
        "tags": [version.model],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _any_of([_request_schema(verb, s) for s in signatures]),
                    "examples": shown,
                }
            },
        },
        "responses": {
            "200": {
                "description": "What was computed",
                "content": {"application/json": answer},
            },
            "default": _ERROR,
        },
    }


def _shown(version: Version, signature: Described, base_url: str) -> dict[str, Any]:
    example = signature.example
    assert isinstance(example, Example)
    rows = "Of rows that came with the model" if example.real else "Of values that were made up"
    value = _inline(example.body)
    if value is None:
        return {"summary": rows, "externalValue": example_url(version, signature, base_url)}
    return {"summary": rows, "value": value}


def _inline(document: bytes) -> Any:
    """Returns JSON as a value; None if it is long, or holds what is no JSON."""
    if len(document) > INLINE_BYTES or b"NaN" in document or b"Infinity" in document:
        return None
    return json.loads(document)


def _request_schema(verb: str, signature: Described) -> dict[str, Any]:
    named = {"signature_name": {"const": signature.name}}
    required = [] if signature.name == DEFAULT_SIGNATURE else ["signature_name"]
    if verb != "predict":
        example = {"type": "object", "additionalProperties": _FEATURE}
        properties = {
            "examples": {"type": "array", "minItems": 1, "items": example},
            "context": example,
        }
        return _object(named | properties, [*required, "examples"])
    outputs = {"enum": [info.alias for info in signature.outputs]}
    named["output_filter"] = {"type": "array", "items": outputs}  # type: ignore[dict-item]
    columns = {info.alias: _tensor_schema(info, info.shape) for info in signature.inputs}
    forms = [_object(named | {"inputs": _alone_or_named(columns)}, [*required, "inputs"])]
    if all(info.shape != () for info in signature.inputs):
        rows = {info.alias: _tensor_schema(info, _row(info.shape)) for info in signature.inputs}
        listed = {"type": "array", "minItems": 1, "items": _alone_or_named(rows)}
        forms.insert(0, _object(named | {"instances": listed}, [*required, "instances"]))
    return _any_of(forms)


def _answer_schema(verb: str, signature: Described) -> dict[str, Any]:
    if verb == "classify":
        pair = {"type": "array", "prefixItems": [{"type": "string"}, _number()], "minItems": 2}
        results: dict[str, Any] = {"type": "array", "items": {"type": "array", "items": pair}}
        return _object({"results": results}, ["results"])
    if verb == "regress":
        return _object({"results": {"type": "array", "items": _number()}}, ["results"])
    named = {info.alias: _tensor_schema(info, info.shape) for info in signature.outputs}
    rows = {info.alias: _tensor_schema(info, _row(info.shape)) for info in signature.outputs}
    return _any_of(
        [
            _object({"predictions": {"type": "array", "items": _by_name(rows)}}, ["predictions"]),
            _object({"outputs": _by_name(named)}, ["outputs"]),
        ]
    )


def _tensor_schema(info: TensorInfo, shape: Sequence[int | None] | None) -> dict[str, Any]:
    """Returns the schema of a tensor in JSON: lists in lists, as deep as its shape.

    Args:
        info: Of which type.
        shape: That of the tensor, or of one of its rows.
    """
    dtype = info.dtype.name
    element: dict[str, Any] = {"anyOf": [{"type": "string"}, _BASE64]}
    if dtype != "string":
        element = {"type": "integer", **_NUMBERS.get(dtype, {})}
    if shape is None:
        return {"anyOf": [element, {"type": "array"}]}
    for length in reversed(shape):
        element = {"type": "array", "items": element}
        if length is not None:
            element |= {"minItems": length, "maxItems": length}
    return element


def _row(shape: Sequence[int | None] | None) -> Sequence[int | None] | None:
    return None if shape is None else shape[1:]


def _alone_or_named(values: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    named = _object(dict(values), list(values))
    return named if len(values) > 1 else _any_of([next(iter(values.values())), named])


def _by_name(values: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    return _object(dict(values), []) if len(values) > 1 else next(iter(values.values()), {})


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


def _any_of(schemas: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}


def _number() -> dict[str, Any]:
    return {"type": "number"}


def _get(version: Version, name: str, description: str) -> dict[str, Any]:
    answer = {"description": description, "content": {"application/json": {}}}
    return {
        "operationId": name,
        "tags": [version.model],
        "responses": {"200": answer, "default": _ERROR},
    }


def _own_paths() -> dict[str, Any]:
    told = {
        "/models": "Every model that is to be served, with the states of its versions",
        "/healthz": "200 while the process answers",
        "/readyz": "200 when every model has a version that answers, else 503",
    }
    return {
        path: {
            "get": {
                "operationId": path.removeprefix("/"),
                "summary": summary,
                "responses": {
                    "default": {"description": summary, "content": {"application/json": {}}}
                },
            }
        }
        for path, summary in told.items()
    }


_ERROR_SCHEMA = _object({"error": {"type": "string"}}, ["error"])
_ERROR_ANSWER = {
    "description": "What is wrong, in words",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}
