"""Checkpoints: every variable of a training, in numbered directories that appear whole.

    checkpoints/step-000000460/
        variables.index, variables.data-00000-of-00001     TensorFlow's own format
        state.json        step, best so far, early stopping; the path and shape of each variable

`tf.train.Checkpoint(model=...)` leaves out the state of Keras seed generators without a word, so
the variables are listed one by one. Their keys are their positions: Keras numbers the names of
layers by process, so a path written by one process need not exist in the next.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfapp.errors import (
    CheckpointError,
    CheckpointMismatch,
    MissingError,
    StorageError,
    reason_of,
    storage_errors,
)
from tfapp.training.actions import Best

_PREFIX = "step-"
# Of variable number i of a part; as `tf.train.Checkpoint` would name it, so that its tools read it.
_KEY = "{}/{:04d}/.ATTRIBUTES/VARIABLE_VALUE"
# What TensorFlow and JSON raise on files that are cut short, garbled or gone.
_DAMAGE = (tf.errors.OpError, OSError, ValueError, LookupError, TypeError, RuntimeError)


@dataclass(frozen=True)
class TrainingState:
    """What is not in variables.

    Attributes:
        step: Updates done.
        best: Best value so far, if an epoch was finished.
        stale_epochs: Epochs since the best one, for early stopping.
        seconds: Time spent training, over all sessions of the run.
        identity: What decides the numbers: config, data, surroundings.
    """

    step: int = 0
    best: Best | None = None
    stale_epochs: int = 0
    seconds: float = 0.0
    identity: Mapping[str, Any] = field(default_factory=dict)


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: Where they are kept.
        keep: How many of the newest stay; the best one stays besides.
    """

    def __init__(self, folder: Path, *, keep: int = 3) -> None:
        self.folder = folder
        self.keep = keep

    def steps(self) -> list[int]:
        """Returns the steps of the whole checkpoints, oldest first."""
        numbers = (p.name.removeprefix(_PREFIX) for p in self.folder.glob(f"{_PREFIX}*"))
        return sorted(int(number) for number in numbers if number.isdigit())

    def path(self, step: int) -> Path:
        """Returns the directory of the checkpoint of a step."""
        return self.folder / f"{_PREFIX}{step:09d}"

    def save(self, state: TrainingState, variables: Mapping[str, Sequence[Any]]) -> Path:
        """Writes a checkpoint beside its place and renames it there; then drops old ones.

        Args:
            state: Its step names the directory.
            variables: Lists of variables by part: `model`, `optimizer`, `metrics`.

        Raises:
            StorageError: The disk refused; the checkpoints that were there are untouched.
        """
        target = self.path(state.step)
        beside = self.folder / f".{target.name}.{os.getpid()}"
        with storage_errors(target):
            self._clear_leftovers()
            beside.mkdir(parents=True)
            try:
                _write_values(beside / "variables", variables)
                content = asdict(state) | {"variables": _manifest(variables)}
                (beside / "state.json").write_text(json.dumps(content, indent=1))
                if target.exists():  # written again after resuming from an older one
                    shutil.rmtree(target)
                beside.rename(target)
            except tf.errors.OpError as error:
                shutil.rmtree(beside, ignore_errors=True)
                raise _refused(target, error) from error
            except OSError:
                shutil.rmtree(beside, ignore_errors=True)
                raise
        self._drop_old(state)
        return target

    def state(self, step: int) -> TrainingState:
        """Reads the state of a checkpoint.

        Raises:
            CheckpointError: It is damaged.
        """
        content = self._read_state(step)
        try:
            best = content["best"]
            return TrainingState(
                step=content["step"],
                best=None if best is None else Best(**best),
                stale_epochs=content["stale_epochs"],
                seconds=content["seconds"],
                identity=content.get("identity", {}),
            )
        except (KeyError, TypeError) as error:
            raise self._damaged(step, error) from error

    def restore(self, step: int, variables: Mapping[str, Sequence[Any]]) -> TrainingState:
        """Reads a checkpoint into variables.

        Args:
            step: Which one.
            variables: The parts wanted, in the order they were saved in. Parts may be left out.

        Raises:
            CheckpointError: It is damaged.
            CheckpointMismatch: It was written by another model.
        """
        state = self.state(step)
        saved = self._read_state(step).get("variables", {})
        for part, wanted in _manifest(variables).items():
            _check_same(self.path(step), part, saved.get(part, []), wanted)
        values = self._read_values(step, variables)
        for part, listed in variables.items():
            for variable, value in zip(listed, values[part], strict=True):
                variable.assign(value)
        return state

    def restore_matching(self, step: int, variables: Mapping[str, Sequence[Any]]) -> list[str]:
        """Reads what a checkpoint has in common with another model.

        Args:
            step: Which one.
            variables: By part; those whose path, shape and type are in the checkpoint are read.

        Returns:
            The paths of the variables that kept their values.

        Raises:
            CheckpointError: It is damaged.
        """
        saved = self._read_state(step).get("variables", {})
        kept: list[str] = []
        for part, wanted in _manifest(variables).items():
            places: dict[str, list[int]] = {}
            for place, kind in enumerate(saved.get(part, [])):
                places.setdefault(_likeness(kind), []).append(place)
            values = self._read_values(step, {part: saved.get(part, [])})[part]
            for variable, kind in zip(variables[part], wanted, strict=True):
                if found := places.get(_likeness(kind)):
                    variable.assign(values[found.pop(0)])
                else:
                    kept.append(kind[0])
        return kept

    def set_aside(self, step: int) -> Path:
        """Renames a damaged checkpoint, so that it counts no more; returns where it is now."""
        aside = self.folder / f"damaged-{self.path(step).name}"
        with storage_errors(aside):
            if aside.exists():
                shutil.rmtree(aside)
            self.path(step).rename(aside)
        return aside

    def newest(self) -> int:
        """Returns the step of the newest checkpoint.

        Raises:
            MissingError: There is none.
        """
        steps = self.steps()
        if not steps:
            raise MissingError(
                f"no checkpoint in {self.folder}: the run ended before its first one."
                " Train again with tfapp train."
            )
        return steps[-1]

    def best(self) -> int:
        """Returns the step of the best checkpoint; the newest if no epoch was finished.

        Raises:
            MissingError: There is no checkpoint.
            CheckpointError: The newest checkpoint, which names the best, is damaged.
        """
        newest = self.newest()
        best = self.state(newest).best
        return best.step if best and self.path(best.step).exists() else newest

    def _read_values(self, step: int, variables: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """Reads every value before the first variable is touched."""
        try:
            reader = tf.train.load_checkpoint(str(self.path(step) / "variables"))
            return {
                part: [reader.get_tensor(_KEY.format(part, i)) for i in range(len(listed))]
                for part, listed in variables.items()
            }
        except _DAMAGE as error:
            raise self._damaged(step, error) from error

    def _read_state(self, step: int) -> dict[str, Any]:
        try:
            content = json.loads((self.path(step) / "state.json").read_text())
        except _DAMAGE as error:
            raise self._damaged(step, error) from error
        return content if isinstance(content, dict) else {}

    def _damaged(self, step: int, error: Exception) -> CheckpointError:
        reason = reason_of(error)
        return CheckpointError(
            f"checkpoint {self.path(step)} is damaged ({reason}). Choose another with --step"
            f" ({', '.join(str(s) for s in self.steps() if s != step) or 'there is none'}), or"
            " continue the run: tfapp train --resume passes over damaged checkpoints."
        )

    def _drop_old(self, state: TrainingState) -> None:
        best = state.best.step if state.best else -1
        for step in self.steps()[: -self.keep]:
            if step != best:
                # Renamed first: a kill in the middle of deleting must not leave half of one.
                doomed = self.folder / f".old-{self.path(step).name}.{os.getpid()}"
                self.path(step).rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)

    def _clear_leftovers(self) -> None:
        for leftover in self.folder.glob(f".*{_PREFIX}*"):
            shutil.rmtree(leftover, ignore_errors=True)


def _write_values(prefix: Path, variables: Mapping[str, Sequence[Any]]) -> None:
    """Writes the values in one operation.

    `tf.train.Checkpoint.write` also describes a tree of objects, which nothing here reads and which
    takes twice as long as the values of a small model.
    """
    values = {
        _KEY.format(part, index): _tf_variable(variable).read_value()
        for part, listed in variables.items()
        for index, variable in enumerate(listed)
    }
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=list(values.values()),
    )


def _tf_variable(variable: Any) -> tf.Variable:
    """Returns what lies under a `keras.Variable`; a `tf.Variable` is returned as it is."""
    return variable if isinstance(variable, tf.Variable) else variable.value


def _manifest(variables: Mapping[str, Sequence[Any]]) -> dict[str, list[list[Any]]]:
    return {
        part: [
            [getattr(v, "path", v.name), [int(size) for size in v.shape], _dtype(v)] for v in listed
        ]
        for part, listed in variables.items()
    }


def _likeness(kind: list[Any]) -> str:
    """Returns path, shape and type without the numbers that Keras gives to names by process."""
    path, *rest = kind
    return json.dumps([re.sub(r"_\d+(?=/|$)", "", path), *rest])


def _dtype(variable: Any) -> str:
    return str(tf.as_dtype(variable.dtype).name)


def _check_same(path: Path, part: str, saved: list[list[Any]], wanted: list[list[Any]]) -> None:
    for (saved_path, *saved_kind), (wanted_path, *wanted_kind) in zip(saved, wanted, strict=False):
        if saved_kind != wanted_kind:
            raise CheckpointMismatch(
                f"checkpoint {path} belongs to another model: its {part} variable {saved_path!r}"
                f" is {saved_kind[1]} {saved_kind[0]}, this one's {wanted_path!r} is"
                f" {wanted_kind[1]} {wanted_kind[0]}. Use the config.toml that the run was made"
                " with, or train a new run."
            )
    if len(saved) != len(wanted):
        raise CheckpointMismatch(
            f"checkpoint {path} belongs to another model: it has {len(saved)} {part} variables,"
            f" this one has {len(wanted)}. Use the config.toml that the run was made with, or"
            " train a new run."
        )


def _refused(target: Path, error: tf.errors.OpError) -> StorageError:
    reason = reason_of(error)
    return StorageError(
        f"cannot write {target}: {reason}. The checkpoints that were there are untouched; free"
        " some space and continue with tfapp train --resume."
    )
