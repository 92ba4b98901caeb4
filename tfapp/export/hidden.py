"""The folder that a version is written in before anybody may see it.

    saved_models/digits-mlp/
        .tfapp-export-XXXXXXXX/
            lock      held while the version is being written, by whichever process writes it
            model/    the version, which is renamed to its number when it is whole

A process that is killed leaves its folder, and the lock is free then: the next export removes it.
The number of a process would not tell as much: in containers it is usually 1, in each of them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tfapp.errors import storage_errors
from tfapp.locks import hold

_PREFIX = ".tfapp-export-"
_LOCK = "lock"


@contextmanager
def hidden_folder(folder: Path) -> Iterator[Path]:
    """Gives a new folder in another, which servers pass over; at the end it is removed.

    What exports left that were killed is removed before; what others write at this moment stays.

    Args:
        folder: Of the versions of a model. It is made if it is not there; it and the folders that
            were made above it are removed at the end if nothing is in them.

    Raises:
        StorageError: Nothing can be written there.
    """
    with ExitStack() as held:
        with storage_errors(folder):
            _clear_leftovers(folder)
            made = _make(folder, held)
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)


def _make(folder: Path, held: ExitStack) -> Path:
    while True:
        _make_parents(folder, held)
        try:
            made = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=folder))
        except FileNotFoundError:
            if folder.is_dir():
                raise
            continue  # another export made the folder, failed, and removed it, empty as it was
        # Until it is locked it looks like a leftover, and another export may remove it.
        with suppress(FileNotFoundError, BlockingIOError):
            held.enter_context(hold(made / _LOCK))
            if (made / _LOCK).exists():
                return made


def _make_parents(folder: Path, held: ExitStack) -> None:
    """Makes a folder and those above it, and has them removed at the end if they are empty."""
    for path in (*reversed(folder.parents), folder):
        if path.is_dir():
            continue
        try:
            path.mkdir()
        except FileExistsError:
            # Another export may have made it meanwhile. A file is told of by what cannot be in it.
            if path == folder and not path.is_dir():
                raise
        else:
            held.callback(_remove_if_empty, path)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _clear_leftovers(folder: Path) -> None:
    for leftover in folder.glob(f"{_PREFIX}*"):
        # Held meanwhile, so that nobody takes it for his own. Another user's is left to him.
        with suppress(OSError), hold(leftover / _LOCK):
            shutil.rmtree(leftover, ignore_errors=True)
