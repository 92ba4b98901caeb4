"""Every error a user can cause, and the exit code that goes with it.

    TfappError                    1  something failed while running
    ├── UsageError                2  what was typed or configured cannot be meant
    │   ├── UnknownName              a registry does not hold the name
    │   ├── ConfigError              one or more keys of a config are wrong
    │   ├── RunExists                the run directory is taken
    │   ├── ModelMismatch            model and data do not fit together
    │   └── DataError                the user's data cannot be used as it is
    ├── MissingError              4  a data set, file, run, checkpoint or extra is not there
    ├── CheckpointError           1  a checkpoint cannot be read
    │   └── CheckpointMismatch       it is whole, but another model's
    ├── ExportError               1  a SavedModel cannot be written, read or trusted
    ├── StorageError              1  the disk refused: full, read-only, no permission
    ├── Diverged                  5  training met NaN or Inf
    ├── ServingError              1  a request, or the loading of a version (tfapp.serving.status)
    │   ├── NotServed             4  the server does not have it (tfapp.serving.client)
    │   └── Unreachable           4  no model server answered (tfapp.serving.client)
    ├── StartError              255  the server cannot start (tfapp.serving.flags)
    └── Interrupted         130/143  stopped by a signal after a clean save

A message says what was found, what is allowed, and what to type next, in one sentence or two.
"""

from __future__ import annotations

import difflib
import errno
import itertools
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

# Both forms in which TensorFlow says so: of an operation by itself, and of one in a graph.
_NO_FLOAT16 = re.compile(r"(?:device for node: .* = |to support Op ')(\w+)['\[].*DT_HALF")


class ExitCode(IntEnum):
    """What the process returns to the shell."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    DIFFERS = 3
    MISSING = 4
    DIVERGED = 5
    INTERRUPTED = 130
    TERMINATED = 143
    NOT_STARTED = 255


class TfappError(Exception):
    """Base of every error that is meant for the user; catch this one in programs."""

    exit_code = ExitCode.FAILED


class UsageError(TfappError):
    """What was asked for cannot be done as it was asked."""

    exit_code = ExitCode.USAGE


class UnknownName(UsageError):
    """A registry was asked for a name it does not hold.

    Args:
        kind: What was looked for, e.g. `model`.
        name: The name that was given.
        known: Every name that would have been right.
        hint: A closing sentence, e.g. how to name one's own class.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        known = sorted(known)
        super().__init__(
            f"no {kind} named {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}."
            + (f" {hint}" if hint else "")
        )


class ConfigError(UsageError):
    """One or more keys of a config are wrong; `problems` holds one line for each."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class RunExists(UsageError):
    """The directory a new run wants is taken."""


class ModelMismatch(UsageError):
    """The model cannot be built with these options, or does not fit the data."""


class DataError(UsageError):
    """The user's data was found but cannot be used as it is."""


class MissingError(TfappError):
    """A data set, file, run, checkpoint or extra that is needed is not there."""

    exit_code = ExitCode.MISSING


class CheckpointError(TfappError):
    """A checkpoint is damaged."""


class CheckpointMismatch(CheckpointError):
    """A checkpoint is whole, but belongs to another model."""


class ExportError(TfappError):
    """A SavedModel could not be written, read back, or did not compute the same."""


class StorageError(TfappError):
    """The disk refused to take a file: it is full, read-only, or not ours."""


class Diverged(TfappError):
    """Training met a value that is not finite."""

    exit_code = ExitCode.DIVERGED


class Interrupted(TfappError):
    """A signal ended the work after everything was saved.

    Args:
        message: What was saved, and how to go on.
        exit_code: `INTERRUPTED` for Ctrl-C, `TERMINATED` for SIGTERM.
    """

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def reason_of(error: BaseException) -> str:
    """Returns the one line of an exception that says something to a person.

    Left out are what Keras and TensorFlow wrap around a message: the call stack of a compiled
    function, the dump of arguments, names of graph nodes and operations.
    """
    if operation := _NO_FLOAT16.search(str(error)):
        return (
            f"{type(error).__name__}: TensorFlow has no {operation[1]} in float16 on this device;"
            " use train.precision 'mixed_bfloat16' or 'float32'"
        )
    text = re.sub(r"\x1b\[\d+m|\{\{.*?\}\}|\[Op:\w+\]( name:.*)?", "", str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and lines[0].startswith("in user code:"):
        # The message comes after the frames, and ends where Keras begins to list arguments.
        told = itertools.takewhile(lambda line: not line.startswith("Arguments received"), lines)
        lines = list(told)[-1:]
    elif len(lines) > 1 and lines[0].startswith("Exception encountered when calling"):
        lines = lines[1:]
    kind = type(error).__name__
    if not lines:
        return kind
    line = lines[0].rstrip(" .")
    known = isinstance(error, (ValueError, OSError)) or line.startswith(kind)
    named = known or type(error).__module__.startswith("tensorflow")
    return line if named else f"{kind}: {line}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Returns ` Did you mean 'x'?` for the nearest known name, or nothing."""
    folded = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.5)
    return f" Did you mean {folded[near[0]]!r}?" if near else ""


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turns the operating system's refusal to write `path` into one sentence.

    Raises:
        StorageError: Instead of any `OSError` raised inside the block.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        advice = "Free some space" if full else "Choose a folder that you may write to"
        raise StorageError(
            f"cannot write {path}: {reason}. Nothing that was there before was changed."
            f" {advice}, and run the command again."
        ) from error
