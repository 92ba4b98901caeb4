"""Whether a SavedModel computes what the live model computed, here and anywhere else.

An export carries real rows and the live model's answers to them. They are asked of the SavedModel
the way TensorFlow Serving asks: loaded into a session, each signature by its own kind of request.

    assets.extra/tfapp_check.npz     input:NAME and output:NAME
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tfapp.errors import ExportError, MissingError
from tfapp.export.requests import Arrays, request_for
from tfapp.exported import find_version, read_card
from tfapp.processes import python_module
from tfapp.serving.servable import Servable, Signature, load_servable
from tfapp.serving.status import ServingError

CHECK = Path("assets.extra") / "tfapp_check.npz"
SIGNATURES = ("serving_default", "predict", "classify", "regress", "encoded_image")
# The graph that is read back may fuse operations differently: a few units in the last place of
# float32, or of the type that layers compute in.
TOLERANCE = {"float32": 1e-5, "mixed_bfloat16": 2e-2, "mixed_float16": 2.5e-3}
# Where a signature calls an output of `serving_default` by another name.
_SAME = {"scores": "probabilities", "outputs": "value"}


@dataclass(frozen=True)
class Check:
    """Real rows, and what the live model says of them.

    Attributes:
        inputs: Named inputs of `serving_default`, N rows of each.
        outputs: Its named outputs.
    """

    inputs: Arrays
    outputs: Arrays

    @property
    def rows(self) -> int:
        """N."""
        return len(next(iter(self.inputs.values())))


def write_check(folder: Path, check: Check) -> None:
    """Writes the rows and answers into a SavedModel."""
    file = folder / CHECK
    file.parent.mkdir(exist_ok=True)
    named: dict[str, Any] = {f"input:{name}": _plain(v) for name, v in check.inputs.items()}
    named |= {f"output:{name}": value for name, value in check.outputs.items()}
    np.savez_compressed(file, **named)


def read_check(folder: Path) -> Check:
    """Reads what `write_check` wrote.

    Raises:
        ExportError: It is not there, or damaged.
    """
    try:
        with np.load(folder / CHECK, allow_pickle=False) as arrays:
            named = {side: _part(arrays, f"{side}:") for side in ("input", "output")}
    except (OSError, ValueError) as error:
        raise ExportError(
            f"{folder} holds no examples to check it with ({error}). Export the run again with"
            " tfapp export."
        ) from error
    return Check(named["input"], named["output"])


@dataclass(frozen=True)
class Verification:
    """What came of checking an export again.

    Attributes:
        path: The SavedModel.
        files: How many files are what was written.
        examples: Real rows that were asked.
        differences: Largest difference from the live model's answers, by signature.
        tolerance: The largest that rounding makes.
        ok: Whether none is larger.
        tensorflow: The version that was asked here.
    """

    path: Path
    files: int
    examples: int
    differences: dict[str, float]
    tolerance: float
    ok: bool
    tensorflow: str


def verify_export(path: str | Path) -> Verification:
    """Checks an export on this machine: its files, and its answers to the rows it carries.

    Args:
        path: A version, or the folder of versions, of which the newest is taken.

    Raises:
        MissingError: There is no SavedModel.
        ExportError: A file is missing or changed, or the SavedModel cannot be used.
    """
    folder = find_version(Path(path))
    if folder is None:
        raise MissingError(f"no SavedModel in {path}. Export one with tfapp export RUN.")
    card = read_card(folder)
    differences = largest_differences(folder)
    tolerance = float(card["check"]["tolerance"])
    return Verification(
        path=folder,
        files=len(card["files"]),
        examples=read_check(folder).rows,
        differences=differences,
        tolerance=tolerance,
        ok=all(difference <= tolerance for difference in differences.values()),
        tensorflow=tf.__version__,
    )


def largest_differences(folder: Path) -> dict[str, float]:
    """Returns the largest difference of each signature from the live model's answers.

    It is relative to the largest value of an output, or to 1 where all values are smaller: the
    rounding of a price of 200,000 is not that of a probability.

    Raises:
        ExportError: The SavedModel cannot be read or called, or has nothing to check it with.
    """
    check = read_check(folder)
    try:
        servable = load_servable(folder.parent.name, 0, folder)
        return {
            name: _difference(servable, signature, check)
            for name, signature in servable.signatures.items()
            if name in SIGNATURES
        }
    except (ServingError, KeyError, tf.errors.OpError) as error:
        raise ExportError(f"the SavedModel {folder} cannot be read back: {error}") from error


def differences_in_new_process(folder: Path) -> dict[str, float]:
    """Does what `largest_differences` does where nothing of this process can help.

    Raises:
        ExportError: As above.
    """
    asked = python_module("tfapp.export", str(folder))
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise ExportError(f"the SavedModel just written cannot be used elsewhere: {reason[0]}")
    differences: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return differences


def refuse_differences(differences: Mapping[str, float], tolerance: float) -> None:
    """Raises `ExportError` when a difference is more than rounding, or not a number."""
    for name, difference in differences.items():
        if not difference <= tolerance:
            raise ExportError(
                f"the SavedModel computes something else than the live model: {name} differs by"
                f" {difference:.3g} of the largest output, at most {tolerance:g} is rounding."
                " It was not kept. If call() of your model depends on Python state or on"
                " training=None, give it an explicit `training=False` default."
            )


def worst_difference(live: Arrays, other: Arrays) -> float:
    """Returns the largest difference of named outputs, relative to the largest value or to 1.

    It is NaN if one of them is, be it because both have a NaN in the same place: what computes NaN
    of real rows is not exported. `class_id` is left out: it may flip between two classes of equal
    probability.

    Args:
        live: Outputs of the live model, N rows of each.
        other: The same by another way, under the same names.
    """
    compared = [name for name in live if name != "class_id"]
    each = [_relative_difference(live[name], np.asarray(other[name])) for name in compared]
    return float(np.max(each))  # Python's own passes over a NaN that is not the first


def _relative_difference(live: npt.NDArray[Any], other: npt.NDArray[Any]) -> float:
    scale = max(1.0, float(np.max(np.abs(live), initial=0.0)))
    return float(np.max(np.abs(live - other), initial=0.0)) / scale


def _difference(servable: Servable, signature: Signature, check: Check) -> float:
    known = {_SAME.get(name, name): name for name in signature.outputs}
    live = {name: values for name, values in check.outputs.items() if name in known}
    asked = [known[name] for name in live]
    answers = servable.run(signature, request_for(signature.name, check.inputs), asked)
    return worst_difference(live, {name: answers[known[name]] for name in live})


def _plain(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return values.astype(bytes) if values.dtype == object else values


def _part(arrays: Any, prefix: str) -> dict[str, npt.NDArray[Any]]:
    return {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
