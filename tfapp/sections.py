"""What the tables of a config have in common: unknown keys are refused, values do not change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from tfapp import names
from tfapp.errors import UnknownName, did_you_mean

Fraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[int, Field(gt=0, strict=True)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def check_known(kind: str, name: str, known: Iterable[str]) -> None:
    """Refuses a name in the form in which pydantic collects mistakes.

    Raises:
        ValueError: `known` does not hold it, and it is no import path.
    """
    try:
        names.check_name(kind, name, known)
    except UnknownName as error:
        raise ValueError(str(error)) from error


class Section(BaseModel):
    """A table of the config: unknown keys are refused, values cannot be changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class OpenSection(BaseModel):
    """A table that also takes the options of what it names; they are checked against `names`."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @property
    def options(self) -> dict[str, Any]:
        """The keys beside the declared ones."""
        return dict(self.model_extra or {})

    def check_options(self, what: str, known: Iterable[str]) -> None:
        """Raises `ValueError` naming each option that is not in `known` or is text."""
        known = sorted({*known, *type(self).model_fields})
        problems = [
            f"{what} has no option {key!r}.{did_you_mean(key, known)} It takes: {', '.join(known)}."
            for key in self.options
            if key not in known
        ]
        problems += [  # no option of Keras's is text; `.9` and `1e-3x` come here from `--set`
            f"{what} takes a number for {key}, e.g. 0.9, found {value!r}."
            for key, value in self.options.items()
            if key in known and isinstance(value, str)
        ]
        if problems:
            raise ValueError(" ".join(problems))
