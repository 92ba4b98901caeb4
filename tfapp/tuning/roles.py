"""Which part this process has in a search on several machines, as KerasTuner's variables tell."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from tfapp.errors import UsageError
from tfapp.settings import TUNER_VARIABLES, tuner_variables


@dataclass(frozen=True)
class Chief:
    """Where the chief of a search on several machines is.

    Attributes:
        worker: Who this process is.
        address: Where the chief listens.
        port: At which port.
    """

    worker: str
    address: str
    port: int

    @property
    def is_here(self) -> bool:
        """Whether this process is the chief."""
        return "chief" in self.worker


def check_address(chief: Chief) -> None:
    """Refuses an address at which a chief could not listen, before anything is written.

    Raises:
        UsageError: The port is in use, or the address is not this machine's.
    """
    try:
        family = socket.getaddrinfo(chief.address, chief.port, type=socket.SOCK_STREAM)[0][0]
        socket.create_server((chief.address, chief.port), family=family).close()
    except OSError as error:
        raise cannot_listen(chief.address, chief.port) from error


def cannot_listen(address: str, port: int) -> UsageError:
    """Returns what is said where workers cannot be served."""
    return UsageError(
        f"workers cannot be served at {address}:{port}: the port is in use, or the address is not"
        " this machine's. Set KERASTUNER_ORACLE_PORT to a free port, for all of them."
    )


def find_chief() -> Chief | None:
    """Returns what KerasTuner's variables say; `None` if none of them is set.

    Raises:
        UsageError: Some of them are missing or wrong.
    """
    values = tuner_variables()
    if not any(values):
        return None
    missing = [name for name, value in zip(TUNER_VARIABLES, values, strict=True) if not value]
    if missing:
        raise UsageError(
            f"{' and '.join(missing)} not set, but a search on several machines needs all of"
            f" {', '.join(TUNER_VARIABLES)}: export them, or unset the others."
        )
    worker, address, port = values
    if not (port.isdecimal() and 0 < int(port) < 65536):
        raise UsageError(f"KERASTUNER_ORACLE_PORT is a port from 1 to 65535, found {port!r}.")
    return Chief(worker, address, int(port))
