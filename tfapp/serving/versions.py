"""Which folders of a model are versions, and which of them are wanted."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

# The largest number of a version: it travels as a signed integer of 64 bits.
LARGEST_VERSION = 2**63 - 1


@dataclass(frozen=True)
class Latest:
    """The versions of the highest numbers are wanted.

    Attributes:
        count: How many of them; 0 counts as 1, as in TensorFlow Serving.
    """

    count: int = 1

    def wanted(self, found: Iterable[int]) -> set[int]:
        """Returns the versions to serve, of those that were found."""
        return set(sorted(found)[-max(self.count, 1) :])


@dataclass(frozen=True)
class All:
    """Every version is wanted."""

    def wanted(self, found: Iterable[int]) -> set[int]:
        """Returns the versions to serve, of those that were found."""
        return set(found)


@dataclass(frozen=True)
class Specific:
    """The versions of these numbers are wanted, if they are there.

    Attributes:
        versions: Their numbers.
    """

    versions: frozenset[int]

    def wanted(self, found: Iterable[int]) -> set[int]:
        """Returns the versions to serve, of those that were found."""
        return set(found) & self.versions


Policy = Latest | All | Specific


def number_of(name: str) -> int | None:
    """Returns the number that the name of a folder is; `None` if it is another name."""
    return int(name) if re.fullmatch(r"\d+", name, re.ASCII) else None


def scan(base_path: Path) -> Mapping[int, Path]:
    """Returns the folders in a base path whose names are numbers, by their number.

    Other names are passed over: a writer makes a version under one and renames it when it is whole.

    Raises:
        OSError: The base path is not there, or cannot be read.

    Source: TensorFlow Serving, `sources/storage_path/file_system_storage_path_source.cc`.
    """
    found: dict[int, Path] = {}
    # Of two names of one number the last in the order of their letters is served.
    for folder in sorted(base_path.iterdir()):
        number = number_of(folder.name)
        if number is None or number > LARGEST_VERSION or not folder.is_dir():
            continue
        if number in found:
            log.warning(
                "Duplicate version directories detected. Version %d will be loaded from %s, %s"
                " will be ignored.",
                number,
                folder.name,
                found[number].name,
            )
        # What is told of a version is told of the folder that holds it.
        found[number] = folder.resolve() if folder.is_symlink() else folder
    return found
