"""What the metadata of an installed package say of it."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass


@dataclass(frozen=True)
class Package:
    """An installed package.

    Attributes:
        name: Its name in the package index.
        version: Which is installed.
        licence: As its metadata put it, which may also name the licences of what it bundles.
        field: Where they do; empty if they do not.
    """

    name: str
    version: str
    licence: str
    field: str


def find_package(name: str) -> Package | None:
    """Returns what is installed under a name; `None` if nothing is."""
    try:
        metadata = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    found = {key: metadata.get_all(key, []) for key in _FIELDS}
    found["Classifier"] = [c for c in found["Classifier"] if c.startswith("License ::")]
    for field, values in found.items():
        # The older field may hold the whole text of a licence; its title is the first line.
        if values and (lines := values[0].strip().splitlines()):
            return Package(name, metadata["Version"], lines[0].strip(), field)
    return Package(name, metadata["Version"], "", "")


# Source: core metadata, https://packaging.python.org/specifications/core-metadata; newest first.
_FIELDS = ("License-Expression", "License", "Classifier")
