"""Loads and unloads versions, in threads of its own, so that a model never stops being served.

A version goes from START through LOADING, AVAILABLE and UNLOADING to END. A new one is loaded
before the one it takes the place of is unloaded; that one ends when its last request has.

Source: TensorFlow Serving, `core/availability_preserving_policy.cc` and `core/loader_harness.cc`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tfapp.errors import reason_of
from tfapp.serving.models import State, VersionStatus
from tfapp.serving.status import Code, ServingError

if TYPE_CHECKING:
    from tfapp.serving.servable import Servable

log = logging.getLogger(__name__)

# Name of a model, number and folder of a version.
Load = Callable[[str, int, Path], "Servable"]


@dataclass(frozen=True)
class LoadOptions:
    """How versions are loaded.

    Attributes:
        load_threads: How many may be loaded at a time.
        unload_threads: How many may be unloaded at a time.
        retries: How often a load that failed is tried again.
        retry_seconds: Time between tries.
    """

    load_threads: int = 1
    unload_threads: int = 1
    retries: int = 5
    retry_seconds: float = 60.0


@dataclass(eq=False)
class Version:
    """What is known of one version; changed under the lock of its `Loading` only.

    Attributes:
        model: Name of the model.
        number: Its own.
        path: Its folder.
        state: Where it is.
        wanted: Whether the policy asks for it.
        queued: Whether it waits for a thread to load it.
        waits: Whether it waits to be tried again.
        failures: How often loading has failed.
        in_use: Requests that hold it.
        servable: The model in memory, while there is one.
        error: Why it has ended, if it did not end as it should, or why it waits.
    """

    model: str
    number: int
    path: Path
    state: State = State.START
    wanted: bool = True
    queued: bool = False
    waits: bool = False
    failures: int = 0
    in_use: int = 0
    servable: Servable | None = None
    error: ServingError | None = None

    def status(self) -> VersionStatus:
        """Returns what clients are told of it."""
        if self.error is not None and self.state is State.END:
            return VersionStatus(self.number, self.state, self.error.code, str(self.error))
        if self.error is not None and self.state is State.LOADING:
            # It has not ended: who decides by the code waits on, as with TensorFlow Serving.
            text = f"Try {self.failures} to load it failed, another will follow: {self.error}"
            return VersionStatus(self.number, self.state, message=text)
        return VersionStatus(self.number, self.state)


class Loading:
    """Brings versions where they are wanted to be.

    Args:
        load: Makes a version callable, or raises `ServingError`.
        options: How.
    """

    def __init__(self, load: Load, options: LoadOptions) -> None:
        self._load = load
        self._options = options
        self._loaders = ThreadPoolExecutor(options.load_threads, "tfapp-load")
        self._unloaders = ThreadPoolExecutor(options.unload_threads, "tfapp-unload")
        self._closing = False
        self._latest: dict[str, Version] = {}
        # All that follows is read and written with it; it is notified of every change of a state.
        self.changed = threading.Condition()
        self.versions: dict[str, dict[int, Version]] = {}
        self.answered: set[str] = set()  # names of the models that have had an available version

    def want(self, model: str, folders: Mapping[int, Path]) -> None:
        """Sets which versions of a model are wanted, and begins what that needs.

        Args:
            model: Its name.
            folders: Folders of the versions by their numbers; empty if none is wanted any more.
        """
        with self.changed:
            versions = self.versions.setdefault(model, {})
            for number, path in folders.items():
                known = versions.get(number)
                # A version that failed, and was not wanted for a while, may have been mended.
                if known is None or (known.state is State.END and not known.wanted):
                    versions[number] = Version(model, number, path)
                else:
                    known.path = path
            for version in versions.values():
                version.wanted = version.number in folders
            self._advance(model)
            self.changed.notify_all()

    def latest(self, model: str) -> Version | None:
        """Returns the available version of the highest number."""
        return self._latest.get(model)

    def available(self, model: str, number: int) -> Version | None:
        """Returns a version, if it is available."""
        version = self.versions.get(model, {}).get(number)
        return version if version and version.state is State.AVAILABLE else None

    def release(self, version: Version) -> None:
        """Gives back a version that a request has counted itself in."""
        with self.changed:
            version.in_use -= 1
            if not version.in_use and version.state is State.UNLOADING:
                self._unload_soon(version)

    def close(self, timeout: float) -> None:
        """Unloads everything.

        Args:
            timeout: Seconds to wait for it.
        """
        with self.changed:
            self._closing = True
        for model in list(self.versions):
            self.want(model, {})
        with self.changed:
            self.changed.wait_for(self._all_ended, timeout)
        self._loaders.shutdown(wait=False, cancel_futures=True)
        self._unloaders.shutdown(wait=False, cancel_futures=True)

    def _all_ended(self) -> bool:
        return all(
            version.state in (State.START, State.END)
            for versions in self.versions.values()
            for version in versions.values()
        )

    def _advance(self, model: str) -> None:
        """Begins whatever may be done now; the lock is held."""
        versions = sorted(
            self.versions[model].values(), key=lambda version: version.number, reverse=True
        )
        wanted = [version for version in versions if version.wanted]
        for version in versions:
            if not version.wanted and (version.waits or version.state is State.START):
                self._end(version, version.error)
        if not wanted or any(version.state is State.AVAILABLE for version in wanted):
            for version in versions:
                if version.state is State.AVAILABLE and not version.wanted:
                    self._begin_unload(version)
        for version in wanted:
            if version.state is State.START and not version.queued:
                self._queue(version)
        available = [version for version in versions if version.state is State.AVAILABLE]
        if available:
            self.answered.add(model)
            self._latest[model] = available[0]
        else:
            self._latest.pop(model, None)

    def _queue(self, version: Version) -> None:
        if not self._closing:
            version.queued = True
            self._loaders.submit(self._try_load, version)

    def _retry(self, version: Version) -> None:
        with self.changed:
            if version.waits:
                version.waits = False
                self._queue(version)

    def _try_load(self, version: Version) -> None:
        with self.changed:
            version.queued = False
            if not version.wanted or self._closing:
                self._end(version, version.error)
                return
            version.state = State.LOADING
            self.changed.notify_all()
        started = time.monotonic()
        try:
            servable = self._load(version.model, version.number, version.path)
        except Exception as error:  # whatever a user's model does, the server goes on
            self._failed(version, error if isinstance(error, ServingError) else _unknown(error))
            return
        log.info(
            "loaded %s version %d in %.2f s",
            version.model,
            version.number,
            time.monotonic() - started,
        )
        with self.changed:
            version.servable, version.error = servable, None
            version.state = State.AVAILABLE
            self._advance(version.model)
            self.changed.notify_all()

    def _failed(self, version: Version, error: ServingError) -> None:
        left = self._options.retries - version.failures
        # Without the lock: whoever reads the log may be slow, and all requests would wait.
        log.error(
            "cannot load %s version %d: %s%s",
            version.model,
            version.number,
            error,
            f" Trying again in {self._options.retry_seconds:g} s." if left > 0 else "",
        )
        with self.changed:
            version.failures += 1
            version.error = error
            if left <= 0 or not version.wanted or self._closing:
                self._end(version, error)
                self._advance(version.model)
                return
            version.waits = True
        timer = threading.Timer(self._options.retry_seconds, self._retry, [version])
        timer.daemon = True
        timer.start()

    def _begin_unload(self, version: Version) -> None:
        version.state = State.UNLOADING
        if not version.in_use:
            self._unload_soon(version)

    def _unload_soon(self, version: Version) -> None:
        with suppress(RuntimeError):  # the process ends: its memory is freed without us
            self._unloaders.submit(self._unload, version)

    def _unload(self, version: Version) -> None:
        servable = version.servable
        error = None
        try:
            if servable is not None:
                servable.close()
        except Exception as failure:
            error = _unknown(failure)
            log.error("cannot unload %s version %d: %s", version.model, version.number, error)
        else:
            log.info("unloaded %s version %d", version.model, version.number)
        with self.changed:
            version.servable = None
            self._end(version, error)
            if version.wanted:  # it was asked for again in the meantime
                self.versions[version.model][version.number] = Version(
                    version.model, version.number, version.path
                )
            self._advance(version.model)

    def _end(self, version: Version, error: ServingError | None) -> None:
        version.state, version.error, version.waits = State.END, error, False
        self.changed.notify_all()


def _unknown(error: Exception) -> ServingError:
    return ServingError(Code.UNKNOWN, reason_of(error))
