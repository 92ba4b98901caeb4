"""A repository whose servables weigh nothing, and what there is to see of it."""

from __future__ import annotations

import time
from contextlib import contextmanager

import pytest

from tfapp.serving.loading import LoadOptions
from tfapp.serving.models import ModelSpec
from tfapp.serving.repository import Repository, RepositoryOptions
from tfapp.serving.status import Code, ServingError


class Light:
    """A servable that weighs nothing: what a state machine can see of one."""

    def __init__(self, name, version, path):
        self.name, self.version, self.path = name, version, path
        self.closed = False

    def close(self):
        self.closed = True


class Loader:
    """Loads `Light` servables; fails for folders with a file `bad`, waits for `gates`."""

    def __init__(self):
        self.loaded = []
        self.tries = []
        self.gates = {}

    def __call__(self, name, version, path):
        self.tries.append((name, version))
        if gate := self.gates.get(version):
            assert gate.wait(10)
        if (path / "bad").exists():
            raise ServingError(Code.DATA_LOSS, f"{path.name} is damaged")
        self.loaded.append(Light(name, version, path))
        return self.loaded[-1]


def add(base, version, *, bad=False):
    folder = base / str(version)
    folder.mkdir(parents=True)
    if bad:
        (folder / "bad").touch()


@contextmanager
def repository(loader, **options):
    """A repository that looks into its folders only when it is told to, and retries fast."""
    loading = LoadOptions(
        retries=options.pop("retries", 0), retry_seconds=options.pop("retry_seconds", 0.01)
    )
    kept = Repository(loader, RepositoryOptions(poll_seconds=0, loading=loading, **options))
    try:
        yield kept
    finally:
        for gate in loader.gates.values():
            gate.set()
        kept.close(5)


def until(true, seconds=10):
    """Waits until something holds; fails if it never does."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came to hold"
        time.sleep(0.005)


def states(models, name="m"):
    try:
        return {status.version: status.state for status in models.statuses(name)}
    except ServingError:
        return {}


def served(models, **spec):
    with models.use(ModelSpec("m", **spec)) as servable:
        return servable.version


def refused(code, text, call, *arguments, **named):
    with pytest.raises(ServingError) as caught:
        call(*arguments, **named)
    assert (caught.value.code, str(caught.value)) == (code, text)
