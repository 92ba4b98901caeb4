"""Finds out fast whether hosts can be reached.

Without network the downloader of TFDS tries for more than three minutes before it gives up.
"""

from __future__ import annotations

import socket
import threading
import urllib.request
from collections.abc import Iterable
from urllib.parse import urlsplit

TIMEOUT_S = 4.0
MOST_HOSTS = 3


def first_unreachable(urls: Iterable[str], timeout_s: float = TIMEOUT_S) -> str | None:
    """Returns a host of `urls` when none of the first few hosts can be reached, else `None`.

    With a proxy configured nothing is tried, because the proxy does the reaching.

    Args:
        urls: Addresses that will be fetched; others than http and https are passed over.
        timeout_s: Seconds after which a host counts as unreachable.
    """
    proxies = urllib.request.getproxies()
    if {"http", "https", "all"} & proxies.keys():
        return None
    hosts = sorted({host for url in urls if (host := _host(url)) is not None})[:MOST_HOSTS]
    if not hosts or any(_can_reach(*host, timeout_s) for host in hosts):
        return None
    return hosts[0][0]


def _host(url: str) -> tuple[str, int] | None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or parts.hostname is None:
        return None
    return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _can_reach(host: str, port: int, timeout_s: float) -> bool:
    reached = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection((host, port), timeout=timeout_s).close()
        except OSError:
            return
        reached.set()

    # Looking up a name has no time limit of its own, so it is waited for from outside.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(timeout_s)
    return reached.is_set()
