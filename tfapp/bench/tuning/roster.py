"""Who can search: a plain table, so that a typo is answered at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tfapp.errors import UnknownName
from tfapp.names import is_import_path

REFERENCE = "tfapp"
PLAIN = "keras-tuner"
_HERE = "tfapp.bench.tuning"

ROSTER: Mapping[str, str] = {
    REFERENCE: f"{_HERE}.tfapp_tune:TfappTune",
    PLAIN: f"{_HERE}.keras_tuner_search:KerasTunerSearch",
    "keras-tuner-epoch": f"{_HERE}.keras_tuner_search:EpochAnExecution",
}
DEFAULT = (REFERENCE, PLAIN)


def find_searches(names: Iterable[str]) -> dict[str, str]:
    """Returns the import path of each contender by its name; the default ones without any name.

    Args:
        names: Names of the roster, or import paths `module:Class` of one's own.

    Raises:
        UnknownName: With the nearest known name.
    """
    found = {}
    for name in list(names) or DEFAULT:
        if name not in ROSTER and not is_import_path(name):
            raise UnknownName(
                "contender",
                name,
                ROSTER,
                "For your own, give an import path such as 'mypackage.bench:Mine'.",
            )
        found[name] = ROSTER.get(name, name)
    return found
