"""`--ssl_config_file`: the certificate that the server shows, and whom it lets ask.

server_key: "-----BEGIN PRIVATE KEY-----
…
-----END PRIVATE KEY-----"
server_cert: "…"
custom_ca: "…"
client_verify: true
"""

from __future__ import annotations

import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfapp.serving.status import Code, ServingError
from tfapp.serving.text_protos import new_message, read_text_proto

_FLAG = "--ssl_config_file"


@dataclass(frozen=True)
class Encryption:
    """How the server proves who it is, and whom it believes.

    Attributes:
        key: Its private key, as PEM.
        certificate: Its certificate, and those between it and the root, as PEM.
        authorities: Who signs the certificates of clients, as PEM; empty if they show none.
        verify: Refuse clients without such a certificate.
        context: The same for a server of Python.
    """

    key: str
    certificate: str
    authorities: str
    verify: bool
    context: ssl.SSLContext

    def grpc_credentials(self) -> Any:
        """Returns it for a server of gRPC."""
        import grpc

        return grpc.ssl_server_credentials(
            [(self.key.encode(), self.certificate.encode())],
            root_certificates=self.authorities.encode() or None,
            require_client_auth=self.verify,
        )


def encryption(file: str) -> Encryption | None:
    """Reads how the server is to be encrypted.

    Args:
        file: A text file with an `SSLConfig`; empty for none.

    Returns:
        What it says; None if there is no file.

    Raises:
        ServingError: `INVALID_ARGUMENT`: the file cannot be read or is no `SSLConfig`, a part of it
            is missing or no PEM, or the certificate does not belong to the key.
    """
    if not file:
        return None
    config = read_text_proto(
        Path(file),
        new_message("SSLConfig"),
        what="SSL config file",
        flag=_FLAG,
        holds="server_key and server_cert",
    )
    for name in ("server_key", "server_cert"):
        if not getattr(config, name):
            raise _wrong(file, f"{name} is empty. Give it as PEM, between quotes.")
    if config.client_verify and not config.custom_ca:
        raise _wrong(
            file,
            "client_verify needs custom_ca: the certificates, as PEM, of those who sign the"
            " certificates of clients.",
        )
    return Encryption(
        config.server_key,
        config.server_cert,
        config.custom_ca,
        config.client_verify,
        _context(file, config),
    )


def _context(file: str, config: Any) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # Without this OpenSSL would ask on the terminal for the password of a key that has one.
    no_password = b""
    with tempfile.TemporaryDirectory(prefix="tfapp-tls-") as folder:  # for this user's eyes only
        key, certificate = Path(folder) / "key.pem", Path(folder) / "certificate.pem"
        key.write_text(config.server_key, encoding="utf-8")
        certificate.write_text(config.server_cert, encoding="utf-8")
        try:
            # Alone first: what is wrong with it has another text than what is wrong with the key.
            ssl.create_default_context(cafile=str(certificate))
        except (ssl.SSLError, ValueError) as error:
            raise _wrong(file, "server_cert is no certificate in PEM form.") from error
        try:
            context.load_cert_chain(certificate, key, password=no_password)
        except (ssl.SSLError, ValueError) as error:
            if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
                text = "server_cert does not belong to server_key. Give the two of one pair."
            else:
                text = "server_key is no private key in PEM form without a password."
            raise _wrong(file, text) from error
    if config.custom_ca:
        try:
            context.load_verify_locations(cadata=config.custom_ca)
        except (ssl.SSLError, ValueError, TypeError) as error:
            raise _wrong(file, "custom_ca is no certificate in PEM form.") from error
    if config.client_verify:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _wrong(file: str, text: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, f"{file}: {text}")
