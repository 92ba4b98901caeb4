"""What is served, as data: each version with its signatures, and a request that each answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from tfapp.errors import reason_of
from tfapp.serving.examples import Example, NoExample, Recorded, find_example
from tfapp.serving.models import (
    DEFAULT_SIGNATURE,
    ModelSpec,
    ServedModels,
    State,
    VersionStatus,
    versions_of,
)
from tfapp.serving.servable import Servable, Signature, TensorInfo
from tfapp.serving.status import ServingError
from tfapp.serving.warmup import recorded_requests

log = logging.getLogger(__name__)

# Answers the JSON of a request to a servable by its verb, e.g. `predict`.
Answer = Callable[[Servable, str, bytes], bytes]

# So long a page may try requests; the rest of them has its turn with the next.
_SECONDS = 2.0


@dataclass(frozen=True)
class Described:
    """A signature as people read of it.

    Attributes:
        name: What requests call it by.
        inputs: Its inputs.
        outputs: Its outputs.
        example: A request that it answers, if there is one.
        missing: Why there is none; empty if there is.
    """

    name: str
    inputs: Sequence[TensorInfo]
    outputs: Sequence[TensorInfo]
    example: Example | None
    missing: str = ""


@dataclass(frozen=True)
class Version:
    """A version that answers.

    Attributes:
        model: Name of the model.
        number: Its own.
        is_latest: Whether requests that name no version go to it.
        signatures: Those that are meant for others than TensorFlow.
    """

    model: str
    number: int
    is_latest: bool
    signatures: Sequence[Described]


@dataclass(frozen=True)
class Served:
    """All that is served.

    Attributes:
        versions: Those that answer, model by model, newest first.
        statuses: All that are known, by the name of their model.
        is_whole: Whether there was time to try a request to each signature.
    """

    versions: Sequence[Version]
    statuses: dict[str, list[VersionStatus]]
    is_whole: bool


class Descriptions:
    """Describes what is served; each request is tried once in the life of a version.

    It is for one thread at a time.

    Args:
        models: Who keeps the models.
        answer: Answers requests.
        seconds: After how long no more signatures, and no more requests to one, are tried.
    """

    def __init__(self, models: ServedModels, answer: Answer, seconds: float = _SECONDS) -> None:
        self._models = models
        self._answer = answer
        self._seconds = seconds
        self._known: WeakKeyDictionary[Servable, dict[str, Described]] = WeakKeyDictionary()

    def served(self) -> Served:
        """Describes what is served now."""
        end = time.monotonic() + self._seconds
        statuses: dict[str, list[VersionStatus]] = {}
        versions: list[Version] = []
        for name in self._models.names():
            statuses[name] = versions_of(self._models, name)
            available = [s.version for s in statuses[name] if s.state is State.AVAILABLE]
            for number in available:
                with suppress(ServingError), self._models.use(ModelSpec(name, number)) as servable:
                    signatures = self._signatures(servable, end)
                    versions.append(Version(name, number, number == available[0], signatures))
        late = [
            signature
            for version in versions
            for signature in version.signatures
            if signature.example is None and not signature.missing
        ]
        return Served(versions, statuses, not late)

    def _signatures(self, servable: Servable, end: float) -> list[Described]:
        known = self._known.setdefault(servable, {})
        # Those with underscores in front are TensorFlow's own.
        names = [name for name in servable.signatures if not name.startswith("__")]
        names.sort(key=lambda name: (name != DEFAULT_SIGNATURE, name))
        found, recorded = [], None
        for name in names:
            if name not in known and time.monotonic() < end:
                recorded = recorded_requests(servable) if recorded is None else recorded
                known[name] = self._described(servable, servable.signatures[name], recorded)
            found.append(known.get(name) or _untried(servable.signatures[name]))
        return found

    def _described(self, servable: Servable, signature: Signature, recorded: Recorded) -> Described:
        plain = _untried(signature)
        try:
            example = find_example(
                servable,
                signature,
                recorded,
                lambda verb, body: self._answer(servable, verb, body),
                seconds=self._seconds,
            )
        except NoExample as reason:
            return Described(plain.name, plain.inputs, plain.outputs, None, str(reason))
        except Exception as error:
            # What lies in the folder of one model must not take the page from all the others.
            log.exception("no example for %s of %s", signature.name, servable.path)
            return Described(
                plain.name, plain.inputs, plain.outputs, None, f"None was made: {reason_of(error)}"
            )
        return Described(plain.name, plain.inputs, plain.outputs, example)


def _untried(signature: Signature) -> Described:
    inputs, outputs = tuple(signature.inputs.values()), tuple(signature.outputs.values())
    return Described(signature.name, inputs, outputs, None)
