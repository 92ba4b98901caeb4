"""What the protocols ask of the models behind them, whoever keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tfapp.serving.status import Code, ServingError

if TYPE_CHECKING:  # clients tell of versions, too, and do without TensorFlow
    from tfapp.serving.servable import Servable


# The signature of requests that name none.
DEFAULT_SIGNATURE = "serving_default"


class State(IntEnum):
    """Where a version is between its discovery and its end.

    Source: `ModelVersionStatus.State` in TensorFlow Serving's `apis/get_model_status.proto`.
    """

    UNKNOWN = 0
    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


class ModelSpec(NamedTuple):
    """Which model a request is for.

    Attributes:
        name: Of the model.
        version: Its number, if one was asked for.
        label: The label of a version, if one was asked for; never both.
    """

    name: str
    version: int | None = None
    label: str | None = None


@dataclass(frozen=True)
class VersionStatus:
    """What is known of one version.

    Attributes:
        version: Its number.
        state: Where it is.
        code: `OK`, or why it has ended.
        message: The error, or why it is not loaded yet; empty if there was none.
    """

    version: int
    state: State
    code: Code = field(default=Code.OK)
    message: str = ""


class Models(Protocol):
    """Finds the servable of a request."""

    def use(self, spec: ModelSpec) -> AbstractContextManager[Servable]:
        """Lends a servable, which is not unloaded before it is given back.

        Raises:
            ServingError: `NOT_FOUND` with `Servable not found for request: Latest(m)` or
                `Specific(m, 7)`; `INVALID_ARGUMENT` for a label that is not known.
        """

    def statuses(self, name: str, version: int | None = None) -> Sequence[VersionStatus]:
        """Returns the versions of a model that are known, newest first.

        Raises:
            ServingError: `NOT_FOUND`: no such model, or no such version.
        """


class ServedModels(Models, Protocol):
    """Models that can be listed."""

    def names(self) -> Sequence[str]:
        """Returns the names of the models that are to be served."""

    def ready(self) -> bool:
        """Tells whether each of them has had a version that answers."""


def versions_of(models: Models, name: str) -> list[VersionStatus]:
    """Returns what is known of the versions of a model; nothing if none has been found yet."""
    try:
        return list(models.statuses(name))
    except ServingError:
        return []
