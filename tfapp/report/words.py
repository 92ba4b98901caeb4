"""Numbers, times and names as pages show them."""

from __future__ import annotations

from typing import Any

NOTHING = "-"


def shown(value: Any) -> str:
    """Returns a value for a table: numbers to four digits, nothing as a dash."""
    if value is None:
        return NOTHING
    if isinstance(value, float):
        return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def duration(seconds: float) -> str:
    """Returns a time in the two largest units that it has: `2.1 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def disk_size(size: int) -> str:
    """Returns bytes in the unit that suits them: `812 kB`, `3.4 MB`."""
    for unit, one in (("GB", 1e9), ("MB", 1e6)):
        if size >= one:
            return f"{size / one:.1f} {unit}"
    return f"{-(-size // 1000)} kB"


def shortened(name: str, most: int) -> str:
    """Returns a name of at most `most` characters, its middle left out where it is longer."""
    if len(name) <= most:
        return name
    head = (most - 1) // 2
    return f"{name[:head]}…{name[len(name) - (most - 1 - head) :]}"


def counted(number: int, one: str) -> str:
    """Returns `1 example`, `2,000 examples`."""
    return f"{number:,} {one}{'s' * (number != 1)}"
