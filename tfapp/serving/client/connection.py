"""From a URL to a model that can be asked."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tfapp.errors import MissingError, UsageError
from tfapp.serving.client.address import Address, parse_address
from tfapp.serving.client.served import ServedModel

if TYPE_CHECKING:
    from tfapp.serving.client.http_calls import HttpCalls

File = str | Path

# Names and values of headers; gRPC takes fewer.
_BY_HTTP = (r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", r"[\t\x20-\x7e\x80-\xff]*")
_BY_GRPC = (r"[0-9A-Za-z_.-]+", r"[\x20-\x7e]*")


def connect(
    url: str,
    *,
    timeout_s: float = 60.0,
    headers: Mapping[str, str] | None = None,
    ca: File | None = None,
    certificate: tuple[File, File] | None = None,
) -> ServedModel:
    """Returns the model at a URL; use it in a `with`, or close it.

    Nothing is sent before the model is asked, except where the URL names no model: then the server
    is asked for its list. REST does not import TensorFlow, gRPC does.

    Args:
        url: `http://HOST:8501/v1/models/NAME`, `grpc://HOST:8500/NAME`, either with
            `/versions/N` or `/labels/LABEL` behind; `https` and `grpcs` with encryption; or
            `http://HOST:8501` of a server that lists one model.
        timeout_s: Longest wait for an answer, in seconds.
        headers: Sent with each request, such as `{"Authorization": "Bearer …"}`.
        ca: PEM file with the certificates that are trusted; those of the system when omitted.
        certificate: PEM files of the client's own certificate and key, for servers that ask.

    Raises:
        UsageError: The URL or the files are none, or a header cannot be sent.
        MissingError: A file is not there.
        NotServed, Unreachable: No single model could be found at a URL that names none.
    """
    address = parse_address(url)
    if (ca is not None or certificate is not None) and not address.secure:
        secure = "grpcs" if address.by_grpc else "https"
        raise UsageError(f"{url} is not encrypted, so certificates mean nothing; type {secure}://.")
    if timeout_s <= 0:
        raise UsageError(f"timeout_s is {timeout_s}; give seconds above 0.")
    _check_headers(headers or {}, _BY_GRPC if address.by_grpc else _BY_HTTP)
    if address.by_grpc:
        return _by_grpc(address, timeout_s, headers or {}, ca, certificate)
    from tfapp.serving.client.http_calls import HttpCalls
    from tfapp.serving.client.over_rest import RestModel

    tls = _tls(ca, certificate) if address.secure else None
    calls = HttpCalls(address, timeout_s, headers or {}, tls)
    if not address.name:
        try:
            address = replace(address, name=_only_name(address, calls))
        except BaseException:
            calls.close()
            raise
    return RestModel(address, calls)


def _check_headers(headers: Mapping[str, str], allowed: tuple[str, str]) -> None:
    for name, value in headers.items():
        if not re.fullmatch(allowed[0], str(name)):
            raise UsageError(f"{name!r} cannot be the name of a header.")
        if not isinstance(value, str) or not re.fullmatch(allowed[1], value):
            # The value is not told: it may be a login.
            raise UsageError(
                f"the header {name} holds what cannot be sent, such as the end of a line or a"
                " letter beyond ASCII; give a text without."
            )


def _only_name(address: Address, calls: HttpCalls) -> str:
    from tfapp.serving.client.over_rest import list_names

    names = list_names(address, calls)
    if len(names) != 1:
        raise UsageError(
            f"{address} serves {', '.join(names) or 'no models'}; name one:"
            f" {address}/v1/models/{names[0] if names else 'NAME'}."
        )
    return names[0]


def _by_grpc(
    address: Address,
    timeout_s: float,
    headers: Mapping[str, str],
    ca: File | None,
    certificate: tuple[File, File] | None,
) -> ServedModel:
    import grpc

    from tfapp.serving.client.over_grpc import GrpcModel

    if not address.secure:
        return GrpcModel(address, timeout_s, headers)
    if ca is not None or certificate is not None:
        _tls(ca, certificate)  # gRPC itself would tell of files that are none by no connection
    chain, key = (None, None) if certificate is None else map(_read, certificate)
    roots = None if ca is None else _read(ca)
    credentials = grpc.ssl_channel_credentials(roots, key, chain)
    return GrpcModel(address, timeout_s, headers, credentials)


def _tls(ca: File | None, certificate: tuple[File, File] | None) -> ssl.SSLContext:
    for file in (() if ca is None else (ca,)) + (certificate or ()):
        _read(file)
    try:
        context = ssl.create_default_context(cafile=ca)
        if certificate is not None:
            context.load_cert_chain(*certificate)
    except ssl.SSLError as error:
        files = ", ".join(str(f) for f in (ca, *(certificate or ())) if f is not None)
        raise UsageError(f"{files}: {error.reason or error}; needed are PEM files.") from error
    return context


def _read(file: File) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise MissingError(f"cannot read {file}: {error.strerror}.") from error
