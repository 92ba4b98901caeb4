"""Where a version goes: into which folder, and under which number."""

from __future__ import annotations

import os
from pathlib import Path

from tfapp.errors import UsageError, storage_errors
from tfapp.serving.versions import LARGEST_VERSION, number_of


def refuse_version(output: Path) -> None:
    """Refuses a folder for versions that is a version itself, or is inside of one.

    Servers take a folder for a version because its name is a number, whatever is in it, and try
    to load it ever after.

    Raises:
        UsageError: The name is a number, or a SavedModel is there or above.
        StorageError: The folder cannot be looked into.
    """
    full = output.resolve() if ".." in output.parts else output.absolute()
    with storage_errors(output):
        models = [p for p in (full, *full.parents) if (p / "saved_model.pb").is_file()]
    if not models and number_of(full.name) is None:
        return
    version = models[0] if models else full
    shown, above = (
        path if output.is_absolute() else Path(os.path.relpath(path))
        for path in (version, version.parent)
    )
    number = number_of(version.name)
    if number is None:
        advice = "a folder for the model's versions, or leave --output out for saved_models/NAME"
    elif os.path.lexists(version) or not 1 <= number <= LARGEST_VERSION:
        advice = f"--output {above} for the next free number"
    else:
        advice = f"--output {above} --version {number}"
    what = "is a SavedModel" if models else "is a number, as versions are named"
    where = "" if version == full else f", and {output} is inside"
    raise UsageError(
        f"{shown} {what}{where}; --output is the folder of a model's versions. Type {advice}."
    )


def taken_versions(folder: Path) -> dict[int, Path]:
    """Returns everything in a folder that has the name of a version, by its number.

    A file or a link that leads nowhere is no version, but none can be written in its place.
    """
    named = ((number_of(path.name), path) for path in sorted(folder.iterdir()))
    return {n: path for n, path in named if n is not None and n <= LARGEST_VERSION}


def free_version(folder: Path, wanted: int | None) -> int:
    """Returns the number that was asked for, or else one more than the highest there.

    Raises:
        UsageError: It is taken, or there is no such version.
    """
    taken = taken_versions(folder)
    following = max(taken, default=0) + 1
    if wanted is None:
        if following > LARGEST_VERSION:
            raise UsageError(
                f"{taken[following - 1]} has the largest number that a version can have. Give a"
                " smaller one that is free with --version."
            )
        return following
    if not 1 <= wanted <= LARGEST_VERSION:
        raise UsageError(f"version {wanted}: versions are numbers from 1 to {LARGEST_VERSION}.")
    if wanted in taken:
        advice = "Give another number with --version."
        if following <= LARGEST_VERSION:
            advice = f"Leave --version out for the next free one, {following}."
        raise UsageError(f"{taken[wanted]} exists and was not touched. {advice}")
    return wanted
