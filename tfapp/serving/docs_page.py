"""A page about what is served: signatures, requests that work, and a form that sends them.

It is one file of HTML that asks nobody but the server it came from.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tfapp.serving.describing import Described, Served, Version
from tfapp.serving.examples import Example
from tfapp.serving.hints import shape_text
from tfapp.serving.json_types import JSON_TYPES
from tfapp.serving.models import State, VersionStatus
from tfapp.serving.openapi import example_url, model_path
from tfapp.serving.servable import TensorInfo

# Requests up to here stand in the commands; longer ones are fetched by them.
_INLINE_BYTES = 400
_SHOWN_ITEMS = 6  # of a long list
_LINE = 88
_WORDS = {"string": ("text", "texts"), "bool": ("true or false", "times true or false")}


@dataclass(frozen=True)
class Commands:
    """What to type to send an example.

    Attributes:
        curl: For a shell.
        python: For Python, without further packages.
    """

    curl: str
    python: str


def docs_page(served: Served, base_url: str) -> str:
    """Returns the page as HTML.

    Args:
        served: What is served.
        base_url: Where, as the reader's browser calls it.
    """
    template = _environment().get_template("docs.html")
    return template.render(served=served, base_url=base_url, style=_style(), script=_script())


def content_security_policy() -> str:
    """Returns what a browser may do with the page: run its own script, and ask its own server."""
    style, script = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for text in (_style(), _script())
    )
    return (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}';"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def commands(version: Version, signature: Described, base_url: str) -> Commands:
    """Returns what to type to send the example of a signature.

    Args:
        version: Of the model.
        signature: One that has an example.
        base_url: Where it is served.
    """
    example = signature.example
    assert isinstance(example, Example)
    url = f"{base_url}{model_path(version)}:{example.verb}"
    if len(example.body) <= _INLINE_BYTES:
        curl = f"curl -d {shlex.quote(example.body.decode())} {shlex.quote(url)}"
        made = f"body = json.dumps({json.loads(example.body)!r}).encode()"
    else:
        source = example_url(version, signature, base_url)
        curl = f"curl -s {shlex.quote(source)} | curl -d @- {shlex.quote(url)}"
        made = f"body = urllib.request.urlopen({source!r}).read()"
    python = (
        f"import json\nimport urllib.request\n\n{made}\n"
        f"with urllib.request.urlopen({url!r}, body) as answer:\n    print(json.load(answer))"
    )
    return Commands(curl, python)


def takes(info: TensorInfo) -> str:
    """Returns in words the JSON of one row of an input or output, or of the whole of a scalar."""
    dtype = info.dtype.name
    if dtype not in JSON_TYPES:
        return "none: by gRPC only"
    one, many = _WORDS.get(
        dtype, ("number", "numbers") if dtype.startswith("float") else ("integer", "integers")
    )
    if info.shape is None:
        return f"{one}, or lists of them"
    for length in reversed(info.shape[1:]):
        size = "" if length is None else f"{length} "
        inner = one if length == 1 else many
        one, many = f"list of {size}{inner}", f"lists of {size}{inner}"
    return one


def shortened(document: bytes) -> str:
    """Returns JSON over several lines; of a long list only the beginning, and how long it is."""
    try:
        value = json.loads(document)
    except ValueError:
        return document.decode(errors="replace")
    return "\n".join(_lines(value, ""))


def _lines(value: Any, indent: str) -> list[str]:
    flat = _flat(value)
    if len(flat) + len(indent) <= _LINE or not isinstance(value, (dict, list)):
        return [flat if len(flat) <= _LINE else f"{flat[: _LINE - 1]}…"]
    inner = f"{indent}  "
    if isinstance(value, dict):
        parts = [(f"{json.dumps(key, ensure_ascii=False)}: ", item) for key, item in value.items()]
    else:
        parts = [("", item) for item in value[:_SHOWN_ITEMS]]
    lines = ["{" if isinstance(value, dict) else "["]
    for place, (label, item) in enumerate(parts):
        first, *more = _lines(item, inner)
        lines += [f"{inner}{label}{first}", *more]
        if place < len(value) - 1:
            lines[-1] += ","
    if len(parts) < len(value):
        lines.append(f"{inner}… {len(value):,} in all")
    return [*lines, f"{indent}{'}' if isinstance(value, dict) else ']'}"]


def _flat(value: Any) -> str:
    """Returns JSON in one line; long lists of scalars are cut."""
    if isinstance(value, list) and len(value) > 2 * _SHOWN_ITEMS and not _nested(value):
        start = ", ".join(_flat(item) for item in value[:_SHOWN_ITEMS])
        return f"[{start}, … {len(value):,} in all]"
    if isinstance(value, list):
        return f"[{', '.join(map(_flat, value))}]"
    if isinstance(value, dict):
        members = (f"{json.dumps(k, ensure_ascii=False)}: {_flat(v)}" for k, v in value.items())
        return f"{{{', '.join(members)}}}"
    return json.dumps(value, ensure_ascii=False)


def _nested(values: Sequence[Any]) -> bool:
    return isinstance(values[0], (list, dict))


def _kind(status: VersionStatus) -> str:
    """Returns the class of a badge: a version may end because another took its place."""
    if status.state is State.AVAILABLE:
        return "ok"
    return "differs" if status.message else "missing"


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=ChoiceLoader([PackageLoader("tfapp.serving"), PackageLoader("tfapp")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "shape": lambda info: shape_text(info.shape),
        "takes": takes,
        "shortened": shortened,
        "state": _kind,
    }
    environment.globals |= {
        "commands": commands,
        "model_path": model_path,
        "example_url": example_url,
        "inline_bytes": _INLINE_BYTES,
    }
    return environment


@functools.cache
def _style() -> Markup:
    return Markup(_source("page.css") + _source("docs.css"))


@functools.cache
def _script() -> Markup:
    return Markup(_source("docs.js"))


def _source(name: str) -> str:
    environment = _environment()
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]
