"""The models that are served: found in their folders, loaded, lent to requests, replaced."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tfapp.serving.configs import ModelConfig, model_configs
from tfapp.serving.hints import base_path_hint, names_hint, version_hint
from tfapp.serving.loading import Load, Loading, LoadOptions, Version
from tfapp.serving.models import ModelSpec, State, VersionStatus
from tfapp.serving.status import Code, ServingError
from tfapp.serving.versions import Specific, scan

if TYPE_CHECKING:
    from tfapp.serving.servable import Servable

log = logging.getLogger(__name__)

# Folders are looked into every second; nobody reads the same line every second.
_REPEAT_SECONDS = 60.0
_LOOK_SECONDS = 0.2  # how often somebody who waits asks whether the wait is over


@dataclass(frozen=True)
class RepositoryOptions:
    """How models are found and kept.

    Attributes:
        poll_seconds: Time between looks into the folders; 0 to look once, less to never look.
        early_labels: Whether a new label may be given to a version that is not available yet.
        loading: How versions are loaded.
    """

    poll_seconds: float = 1.0
    early_labels: bool = False
    loading: LoadOptions = field(default_factory=LoadOptions)


class Lease:
    """Lends a version to a request for the time of a `with` block."""

    __slots__ = ("_repository", "_spec", "_version")

    def __init__(self, repository: Repository, spec: ModelSpec) -> None:
        self._repository = repository
        self._spec = spec
        self._version: Version | None = None

    def __enter__(self) -> Servable:
        version = self._version = self._repository.acquire(self._spec)
        assert version.servable is not None
        return version.servable

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._version is not None:
            self._repository.release(self._version)
            self._version = None


class Repository:
    """Keeps what is served equal to what is in the folders of its models.

    Args:
        load: Makes a version callable: gets the name of the model, the number and the folder.
        options: How models are found and kept.
    """

    def __init__(self, load: Load, options: RepositoryOptions | None = None) -> None:
        self._options = options or RepositoryOptions()
        self._loading = Loading(load, self._options.loading)
        self._configs: dict[str, ModelConfig] | None = None
        self._labels: dict[str, Mapping[str, int]] = {}
        self._complaints: dict[str, dict[str, float]] = {}  # by model: each text, and when logged
        self._reloading = threading.Lock()
        self._scanning = threading.Lock()
        self._closed = threading.Event()
        self._first: frozenset[str] = frozenset()  # the models that were to be served at first
        # Both with the lock of `_loading`.
        self._changes = 0  # of the models that are to be served
        self._new: frozenset[str] = frozenset()  # models that nobody has been told the end of
        self._poller = threading.Thread(target=self._poll_until_closed, name="tfapp-poll")
        self._poller.daemon = True

    def use(self, spec: ModelSpec) -> Lease:
        """Lends a servable, which is not unloaded before it is given back.

        Raises:
            ServingError: When the block is entered: `NOT_FOUND` with `Servable not found for
                request: Latest(m)` or `Specific(m, 7)`; `INVALID_ARGUMENT` for a label that is not
                known, and for no name.
        """
        return Lease(self, spec)

    def acquire(self, spec: ModelSpec) -> Version:
        """Counts a request in; `release` counts it out.

        Raises:
            ServingError: As `use`.
        """
        number = self._number(spec)
        with self._loading.changed:
            if number is None:
                version = self._loading.latest(spec.name)
            else:
                version = self._loading.available(spec.name, number)
            if version is not None:
                version.in_use += 1
                return version
        asked = f"Latest({spec.name})" if number is None else f"Specific({spec.name}, {number})"
        hint = self._hint(spec.name)
        raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {asked}.{hint}")

    def release(self, version: Version) -> None:
        """Gives a version back."""
        self._loading.release(version)

    def statuses(self, name: str, version: int | None = None) -> Sequence[VersionStatus]:
        """Returns the versions of a model that are known, newest first; ended ones too.

        Raises:
            ServingError: `NOT_FOUND`: no such model, or no such version.
        """
        with self._loading.changed:
            known = self._loading.versions.get(name, {})
            found = [v.status() for v in known.values() if version in (None, v.number)]
        if not found and version is None:
            text, hint = f"Could not find any versions of model {name}", self._hint(name)
            raise ServingError(Code.NOT_FOUND, f"{text}.{hint}")
        if not found:
            text, hint = f"Could not find version {version} of model {name}", self._hint(name)
            raise ServingError(Code.NOT_FOUND, f"{text}.{hint}")
        return sorted(found, key=lambda status: status.version, reverse=True)

    def names(self) -> tuple[str, ...]:
        """Returns the names of the models that are to be served, in the order of the config."""
        return tuple(self._configs or ())

    def ready(self) -> bool:
        """Tells whether there are models, and each that is expected to answer does.

        Those of the first config are, and each that has answered. A model that is added later and
        cannot be loaded must not take the others from where they are served.
        """
        expected = self._first | self._loading.answered
        names = self.names()
        return bool(names) and all(
            self._loading.latest(name) is not None for name in names if name in expected
        )

    def reload(self, config: Any, stopped: Callable[[], bool] | None = None) -> None:
        """Takes a `ModelServerConfig` as the whole truth of what is to be served, as `serve` does.

        Models that are not in it are unloaded. If it is refused, nothing changes.

        Args:
            config: The config.
            stopped: Tells whether to give up waiting for its models.

        Raises:
            ServingError: `INVALID_ARGUMENT` or `FAILED_PRECONDITION`: it is refused; else as
                `serve`.
        """
        self.serve(self._new_configs(config), stopped=stopped)

    def follow(self, config: Any) -> None:
        """Takes a `ModelServerConfig` as `reload` does, but waits for no model.

        Raises:
            ServingError: `INVALID_ARGUMENT` or `FAILED_PRECONDITION`: it is refused.
        """
        self._adopt(self._new_configs(config))

    def _new_configs(self, config: Any) -> tuple[ModelConfig, ...]:
        if self._configs is not None and config.WhichOneof("config") is None:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                "Cannot transition to requested config. It is only legal to transition from one"
                " ModelConfigList to another.",
            )
        return model_configs(config)

    def serve(
        self, configs: Iterable[ModelConfig], *, stopped: Callable[[], bool] | None = None
    ) -> None:
        """Serves these models and no others; returns when each new one has a version that answers.

        New is also one that was given before if nobody has been told yet whether it answers: who
        gave up waiting may ask again. While it waits, others may be given: then it waits no more.

        Args:
            configs: The models.
            stopped: Tells whether to give up waiting.

        Raises:
            ServingError: `FAILED_PRECONDITION`: a label is given to a version that is not
                available, and nothing changes; `UNKNOWN`: a new model cannot be loaded; `ABORTED`:
                others were given meanwhile; `UNAVAILABLE`: it was closed meanwhile.
        """
        new, change = self._adopt(configs)
        self._await(new, change, stopped)

    def _adopt(self, configs: Iterable[ModelConfig]) -> tuple[list[str], int]:
        """Begins to serve these models and no others.

        Returns:
            The names of the new ones, and which change it was.
        """
        with self._reloading:
            given = {config.name: config for config in configs}
            before = self._configs or {}
            if not given:
                taken = "All models are unloaded" if before else "Taking no action"
                log.warning("%s for empty config: no model is served.", taken)
            labels = {name: self._checked_labels(config) for name, config in given.items()}
            with self._scanning:
                self._first = self._first if before else frozenset(given)
                self._configs, self._labels = given, labels
                with self._loading.changed:
                    self._changes += given != before
                    self._new = self._new & given.keys() | (given.keys() - before.keys())
                    new = [name for name in given if name in self._new]
                for name in before.keys() - given.keys():
                    self._loading.want(name, {})
            self._begin_polling()
            return new, self._changes

    def poll(self) -> None:
        """Looks into the folders of all models and begins to load and unload what has changed."""
        with self._scanning:
            for config in (self._configs or {}).values():
                try:
                    self._look(config)
                except Exception:  # no model may keep the others from new versions
                    log.exception("looking for versions of %s failed", config.name)

    def stop(self) -> None:
        """Looks for no more versions, and ends all waits for models; what is loaded answers on."""
        self._closed.set()

    def close(self, timeout: float = 10.0) -> None:
        """Stops polling and unloads everything.

        Args:
            timeout: Seconds to wait for requests that are under way.
        """
        self.stop()
        self._loading.close(timeout)

    def _hint(self, name: str) -> str:
        """Returns what is served instead of what was asked for."""
        known = self.names()
        if name not in known:
            return names_hint("Models", name, known)
        with self._loading.changed:
            versions = [v.status() for v in self._loading.versions.get(name, {}).values()]
        return version_hint(name, versions)

    def _label_hint(self, spec: ModelSpec) -> str:
        labels = self._labels  # another config may come at any time
        if spec.name not in labels:
            return names_hint("Models", spec.name, list(labels))
        return names_hint(f"Labels of {spec.name}", spec.label or "", labels[spec.name])

    def _number(self, spec: ModelSpec) -> int | None:
        if not spec.name:
            raise ServingError(Code.INVALID_ARGUMENT, "ModelSpec has no name specified.")
        if spec.label is None:
            return spec.version
        try:
            return self._labels[spec.name][spec.label]
        except KeyError:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Unrecognized servable version label: {spec.label}.{self._label_hint(spec)}",
            ) from None

    def _checked_labels(self, config: ModelConfig) -> Mapping[str, int]:
        given = self._labels.get(config.name, {})
        for label, number in config.labels.items():
            early = self._options.early_labels and label not in given
            with self._loading.changed:
                there = self._loading.available(config.name, number) is not None
            if not there and not early and given.get(label) != number:
                raise ServingError(
                    Code.FAILED_PRECONDITION,
                    f"Request to assign label to version {number} of model {config.name}, which is"
                    " not currently available for inference",
                )
        return config.labels

    def _begin_polling(self) -> None:
        if self._options.poll_seconds < 0 or self._closed.is_set():
            return
        self.poll()
        if self._options.poll_seconds > 0 and self._poller.ident is None:
            self._poller.start()

    def _poll_until_closed(self) -> None:
        while not self._closed.wait(self._options.poll_seconds):
            self.poll()

    def _look(self, config: ModelConfig) -> None:
        try:
            found = scan(config.base_path)
        except OSError as error:
            # What was there may come back: a network folder, a volume that is mounted late.
            text = (
                "FileSystemStoragePathSource encountered a filesystem access error: Could not find"
                f" base path {config.base_path} for servable {config.name} with error"
                f" {error.strerror or error}"
            )
            self._log(config.name, {text: logging.ERROR})
            return
        wanted = config.policy.wanted(found)
        missing = config.policy.versions - wanted if isinstance(config.policy, Specific) else ()
        wrong = [
            f"Version {number} of servable {config.name}, which was requested to be served as a"
            " 'specific' version in the servable's version policy, was not found in the file system"
            for number in sorted(missing)
        ]
        if not wanted:
            wrong.append(
                f"No versions of servable {config.name} found under base path {config.base_path}."
                " Did you forget to name your leaf directory as a number (eg. '/1/')?"
                + ("" if found else base_path_hint(config.base_path))
            )
        self._log(config.name, dict.fromkeys(wrong, logging.WARNING))
        self._loading.want(config.name, {number: found[number] for number in wanted})

    def _log(self, model: str, wrong: Mapping[str, int]) -> None:
        """Logs what a look has found wrong, by level; what the last one found too, now and then."""
        now, before = time.monotonic(), self._complaints.get(model, {})
        logged: dict[str, float] = {}
        for text, level in wrong.items():
            logged[text] = before.get(text, -math.inf)
            if now - logged[text] >= _REPEAT_SECONDS:
                log.log(level, text)
                logged[text] = now
        self._complaints[model] = logged

    def _await(self, names: Sequence[str], change: int, stopped: Callable[[], bool] | None) -> None:
        """Waits until each model has a version that answers, or none that could.

        Raises:
            ServingError: `UNKNOWN`: one has none; `ABORTED`: other models are to be served now;
                `UNAVAILABLE`: there will be no more.
        """
        with self._loading.changed:
            while True:
                # First: what is settled may be a model of the same name of the other config.
                if self._changes != change:
                    raise ServingError(Code.ABORTED, "Another config has been taken meanwhile.")
                if all(self._settled(name) for name in names):
                    break
                if stopped is not None and stopped():
                    return
                if self._closed.is_set():
                    raise ServingError(Code.UNAVAILABLE, "The server is being closed.")
                self._loading.changed.wait(_LOOK_SECONDS)
            self._new -= set(names)
            failed = [
                f"{{{{name: {name} version: {version.number}}} due to error:"
                f" {version.error.code.name}: {version.error}}}, "
                for name in names
                if self._loading.latest(name) is None
                for version in self._loading.versions.get(name, {}).values()
                if version.wanted and version.error is not None
            ]
        if failed:
            raise ServingError(
                Code.UNKNOWN,
                f"{len(failed)} model(s) did not become available: {{{''.join(failed)}}}",
            )

    def _settled(self, name: str) -> bool:
        if self._loading.latest(name) is not None:
            return True
        wanted = [v for v in self._loading.versions.get(name, {}).values() if v.wanted]
        return bool(wanted) and all(version.state is State.END for version in wanted)
