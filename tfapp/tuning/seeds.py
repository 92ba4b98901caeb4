"""Seeds that follow from other numbers, the same in every process and on every machine."""

from __future__ import annotations

import hashlib


def derive_seed(*parts: int) -> int:
    """Returns a seed of 31 bits that is another one for other parts."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "big") >> 1
