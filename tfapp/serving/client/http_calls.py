"""Requests by HTTP over one connection that is kept, and what can go wrong on the way."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tfapp.serving.client.address import Address
from tfapp.serving.client.failures import Unreachable
from tfapp.serving.client.served import PAUSES_S
from tfapp.serving.status import Code, ServingError


@dataclass(frozen=True)
class Answer:
    """What came back, whatever its status is."""

    status: int
    reason: str
    body: bytes


class _NothingAnswered(Exception):
    """The connection was refused or lost before a byte came back."""


class HttpCalls:
    """A server that is asked over one connection; threads take turns.

    Args:
        address: Where the server is.
        timeout_s: How long to wait for a connection, and for each part of an answer.
        headers: Sent with each request.
        tls: How the server of an `https` address is checked.
    """

    def __init__(
        self,
        address: Address,
        timeout_s: float,
        headers: Mapping[str, str],
        tls: ssl.SSLContext | None,
    ) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._headers = {**headers, "Accept": "application/json"}
        self._lock = threading.Lock()
        where = (address.host, address.port)
        if tls is None:
            self._connection = http.client.HTTPConnection(*where, timeout=timeout_s)
        else:
            self._connection = http.client.HTTPSConnection(*where, timeout=timeout_s, context=tls)

    def ask(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """Sends a request, again if the connection is lost before a byte came back.

        Raises:
            Unreachable: Nothing answers, or something that does not speak HTTP.
            ServingError: `DEADLINE_EXCEEDED`: it took too long.
        """
        with self._lock:
            for pause in PAUSES_S:
                try:
                    return self._once(method, path, body)
                except _NothingAnswered:
                    time.sleep(pause)
            try:
                return self._once(method, path, body)
            except _NothingAnswered as lost:
                assert lost.__cause__ is not None
                raise Unreachable(self._lost(lost.__cause__)) from lost.__cause__

    def close(self) -> None:
        """Closes the connection; the next request opens another."""
        self._connection.close()

    def _once(self, method: str, path: str, body: bytes | None) -> Answer:
        headers = self._headers if body is None else {**self._headers, **_JSON}
        began = False
        try:
            response = self._send(method, path, body, headers)
            began = True
            return Answer(response.status, response.reason, response.read())
        except TimeoutError as error:
            self.close()
            raise ServingError(
                Code.DEADLINE_EXCEEDED,
                f"{self._address.server} did not answer within {self._timeout_s:g} s.",
            ) from error
        except ssl.SSLError as error:
            self.close()
            raise Unreachable(_tls_trouble(self._address, error)) from error
        except ConnectionError as error:
            self.close()
            if not began:
                raise _NothingAnswered from error
            raise Unreachable(f"{self._address.server} broke off its answer: {error}.") from error
        except (http.client.HTTPException, OSError, UnicodeError) as error:
            self.close()
            raise Unreachable(self._lost(error)) from error
        except BaseException:  # such as Ctrl-C: the answer may still come, and is not the next one
            self.close()
            raise

    def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        try:
            self._connection.request(method, path, body, headers)
        except ConnectionError:
            if self._connection.sock is None:  # it was never there
                raise
            # A server that takes no body so large says so, and closes, before it has read it.
        return self._connection.getresponse()

    def _lost(self, error: BaseException) -> str:
        server = self._address.server
        if isinstance(error, ConnectionRefusedError):
            usual = "" if self._address.port == 8501 else "; REST is usually on 8501"
            return f"nothing listens on {server}. Start the server, or correct the port{usual}."
        if isinstance(error, socket.gaierror):
            return f"no machine named {self._address.host!r} is known: {error.strerror}."
        if isinstance(error, http.client.IncompleteRead):
            return f"{server} broke off its answer after {len(error.partial)} bytes."
        if isinstance(error, ConnectionError | http.client.HTTPException):
            other = "http" if self._address.secure else "https"
            return (
                f"{server} closes the connection, or does not speak HTTP. If it is the port of"
                f" gRPC, type grpc://{server}/NAME; REST is usually on 8501. It may want {other}://."
            )
        return f"cannot reach {server}: {getattr(error, 'strerror', None) or error}."


_JSON = {"Content-Type": "application/json"}


def _tls_trouble(address: Address, error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {address.server} is not trusted: {error.verify_message}. Give the"
            " certificate of who signed it: connect(url, ca=FILE), or SSL_CERT_FILE=FILE."
        )
    reason = (error.reason or str(error)).replace("_", " ").lower()
    return (
        f"no encrypted connection to {address.server}: {reason}. If the server is not encrypted,"
        " type http:// instead of https://."
    )
