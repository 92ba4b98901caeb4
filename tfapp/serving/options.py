"""What this server can be told besides the flags of TensorFlow Serving."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServerOptions:
    """Options of our own.

    Attributes:
        rest_tls: Encrypt REST, too, by the flags' SSL config file.
        body_limit: Bytes of the largest body by REST; None for any.
        gzip_answers: Compress answers by REST for clients who accept it.
        adaptive_batching: Compute requests together where that changes nothing but last digits.
        busy_poll_seconds: How long REST looks for the next request before it sleeps, where requests
            follow one another; 0 for never.
        rest_readers: How many further processes may read requests by REST where many clients ask
            at once.
    """

    rest_tls: bool = False
    body_limit: int | None = 512 * 2**20
    gzip_answers: bool = False
    adaptive_batching: bool = True
    busy_poll_seconds: float = 200e-6
    rest_readers: int = 1
