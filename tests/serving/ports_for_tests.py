"""Ports for servers of tests."""

from __future__ import annotations

import random
import socket
from pathlib import Path


def free_port() -> int:
    """Returns a port that nobody listens on, and that the system gives to no client meanwhile."""
    given = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest = int(given.read_text().split()[0]) if given.exists() else 32768
    while True:
        port = random.SystemRandom().randrange(10_000, lowest)
        try:
            with socket.create_server(("", port)):
                return port
        except OSError:
            continue
