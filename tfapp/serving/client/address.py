"""Where a served model is: a URL taken apart.

    http://HOST[:PORT][/PREFIX]/v1/models/NAME[/versions/N | /labels/LABEL]
    http://HOST[:PORT]                                 the only model of a server that lists one
    grpc://HOST[:PORT]/NAME[/versions/N | /labels/LABEL]

`https` and `grpcs` are the same over TLS. `?version=N` and `?label=LABEL` may stand for the end of
a path. What comes after the model in a URL of curl, such as `:predict`, is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

from tfapp.errors import UsageError
from tfapp.serving.versions import LARGEST_VERSION

# gRPC has no port of its own: the default is TensorFlow Serving's.
_PORTS = {"http": 80, "https": 443, "grpc": 8500, "grpcs": 8500}
_MODEL = (
    r"(?P<name>[^/:]+)(?:/versions/(?P<version>[^/:]+)|/labels/(?P<label>[^/:]+))?"
    r"(?:/metadata|:predict|:classify|:regress)?/?"
)
_REST_PATH = re.compile(rf"(?P<prefix>/.*)?/v1/models/{_MODEL}", re.IGNORECASE)
_IN_PATHS = "/%:@!$&'()*+,;=~"  # what a path may hold as it is, and what is escaped already
_GRPC_PATH = re.compile(rf"(?P<prefix>)(?:/v1/models)?/{_MODEL}", re.IGNORECASE)


@dataclass(frozen=True)
class Address:
    """Where a model is served.

    Attributes:
        scheme: `http`, `https`, `grpc` or `grpcs`.
        host: Name or number of the machine; an IPv6 number without brackets.
        port: Of the server.
        prefix: What a gateway has in front of `/v1`, with a slash in front; usually empty.
        name: Of the model; empty where the URL has none.
        version: Its number, if one was asked for.
        label: The label of a version, if one was asked for; never both.
    """

    scheme: str
    host: str
    port: int
    prefix: str = ""
    name: str = ""
    version: int | None = None
    label: str | None = None

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted."""
        return self.scheme in ("https", "grpcs")

    @property
    def by_grpc(self) -> bool:
        """Whether the server is asked by gRPC."""
        return self.scheme in ("grpc", "grpcs")

    @property
    def server(self) -> str:
        """Host and port, as in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def path(self) -> str:
        """The path of the model in TensorFlow Serving's REST interface."""
        model = f"{self.prefix}/v1/models/{quote(self.name, safe='')}"
        if self.version is not None:
            return f"{model}/versions/{self.version}"
        return model if self.label is None else f"{model}/labels/{quote(self.label, safe='')}"

    def __str__(self) -> str:
        model = self.path.removeprefix("/v1/models") if self.by_grpc else self.path
        return f"{self.scheme}://{self.server}" + (model if self.name else self.prefix)


def is_url(text: str) -> bool:
    """Tells a URL from a path or the name of a run."""
    return re.match(r"[a-z][a-z0-9+.-]*://", text, re.IGNORECASE) is not None


def parse_address(url: str) -> Address:
    """Returns where a URL points to.

    Raises:
        UsageError: It is none of the forms that this module describes.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{url} is not a URL: {error}.") from error
    if parts.scheme not in _PORTS:
        raise UsageError(
            f"{url} begins with {parts.scheme}://; a served model is asked by"
            f" {', '.join(f'{s}://' for s in _PORTS)}."
        )
    if not host:
        raise UsageError(f"{url} names no host; type e.g. {_example(parts.scheme, 'localhost')}.")
    if parts.username is not None:
        raise UsageError(
            f"the URL of {host} holds a user or a password, which would end up in logs; give"
            " connect() an Authorization header instead."
        )
    found = Address(parts.scheme, host, port if port is not None else _PORTS[parts.scheme])
    if parts.path in ("", "/") and not parts.query:
        if found.by_grpc:
            raise UsageError(f"{url} names no model; type {_example(parts.scheme, found.server)}.")
        return found
    return _with_model(found, parts, url)


def _with_model(server: Address, parts: SplitResult, url: str) -> Address:
    match = (_GRPC_PATH if server.by_grpc else _REST_PATH).fullmatch(parts.path)
    if match is None:
        raise UsageError(
            f"{url}: the path {parts.path or '/'} names no model; type"
            f" {_example(parts.scheme, server.server)}."
        )
    ends = ((key, match[key]) for key in ("version", "label") if match[key])
    asked = [(key, unquote(value)) for key, value in ends]
    asked += parse_qsl(parts.query, keep_blank_values=True)
    unknown = [key for key, _ in asked if key not in ("version", "label")]
    if unknown or len(asked) > 1:
        what = f"has ?{unknown[0]}=" if unknown else "asks for more than one version"
        raise UsageError(f"{url} {what}; a model is followed by one of ?version=N, ?label=LABEL.")
    chosen = dict(asked)
    version = chosen.get("version")
    if version is not None:
        _check_version(version, url)
    return Address(
        server.scheme,
        server.host,
        server.port,
        quote(match["prefix"] or "", safe=_IN_PATHS),
        unquote(match["name"]),
        None if version is None else int(version),
        chosen.get("label"),
    )


def _check_version(text: str, url: str) -> None:
    if not re.fullmatch(r"[0-9]+", text):
        raise UsageError(f"{url}: a version is a number, not {text!r}; a name is ?label={text}.")
    if len(text) > 19 or int(text) > LARGEST_VERSION:
        raise UsageError(f"{url}: the largest number of a version is {LARGEST_VERSION}.")


def _example(scheme: str, server: str) -> str:
    return f"{scheme}://{server}" + ("/NAME" if scheme.startswith("grpc") else "/v1/models/NAME")
