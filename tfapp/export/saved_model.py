"""Writes a trained model as the next numbered SavedModel, where TensorFlow Serving finds it.

saved_models/digits-mlp/
    1/
        saved_model.pb  variables/  fingerprint.pb
        assets/labels.txt     class names in the order of the probabilities
        model_card.md         what it is, of what data, how good: for people
        tfapp.json            where it comes from, what it takes, a checksum of each file
    intended_use.md           the owner's own words, if there are any: for the model cards
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from tfapp.errors import StorageError, UsageError, reason_of, storage_errors
from tfapp.export.card import write_card
from tfapp.export.check import TOLERANCE, largest_difference, refuse_difference
from tfapp.export.model_card.facts import Export
from tfapp.export.model_card.page import read_intended_use, write_model_card
from tfapp.export.signatures import ServingModule, output_specs
from tfapp.exported import input_specs, versions
from tfapp.locks import process_alive
from tfapp.runs import Run, open_run
from tfapp.settings import saved_models_folder
from tfapp.training.restore import TrainedModel, load_trained
from tfapp.training.samples import read_samples

SIGNATURES = ("serving_default", "predict")


@dataclass(frozen=True)
class ExportedModel:
    """A SavedModel that was written, read back, and found to compute the same.

    Attributes:
        path: Directory of the version.
        name: Name of the model: the folder above.
        version: Number of the version.
        step: Step of the checkpoint it holds.
        inputs: Shape and type of each input of `serving_default`, e.g. `[?, 8, 8, 1] uint8`.
        outputs: The same of each output.
        examples: Real examples it was compared on.
        max_difference: Largest difference between live and reloaded outputs on them, relative
            to the largest output or to 1.
        size_bytes: Size of all files.
    """

    path: Path
    name: str
    version: int
    step: int
    inputs: dict[str, str]
    outputs: dict[str, str]
    examples: int
    max_difference: float
    size_bytes: int


def export_run(
    run: Run | str | Path,
    output: str | Path | None = None,
    *,
    version: int | None = None,
    step: int | None = None,
) -> ExportedModel:
    """Writes a run's model as a SavedModel that takes raw features.

    The version appears whole or not at all: it is written beside its place, read back, compared
    with the live model on real examples, and only then renamed. A server that polls `output`
    never sees half of it.

    Args:
        run: A run with a checkpoint, or its path or name.
        output: Folder of the model's versions; `saved_models/NAME` when omitted, NAME being the
            run's label.
        version: A positive number; the next free one when omitted.
        step: Step of a checkpoint; the best one when omitted.

    Raises:
        UsageError: The version is there already; nothing was changed.
        ExportError: What was written does not compute the same; nothing was left behind.
        StorageError: The disk refused; nothing was left behind.

    Source: the rule for directories is TensorFlow Serving's, `g3doc/serving_basic.md`.
    """
    trained = load_trained(open_run(run), step=step)
    folder = saved_models_folder() / trained.config.label if output is None else Path(output)
    intended_use = read_intended_use(folder)
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / str(_free_version(folder, version))
        beside = folder / f".tfapp-export-{target.name}.{os.getpid()}"
        try:
            _clear_leftovers(folder)
            beside.mkdir()
            exported = _write(trained, beside, target, intended_use)
            _publish(beside / "model", target)
        except tf.errors.OpError as error:
            reason = reason_of(error)
            raise StorageError(
                f"cannot write {target}: {reason}. No version was added; free some space and run"
                " the command again."
            ) from error
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return exported


def _write(trained: TrainedModel, beside: Path, target: Path, intended_use: str) -> ExportedModel:
    predictor = trained.predictor
    module = ServingModule(predictor)
    if predictor.info.classes:
        labels = beside / "labels.txt"
        lines = [" ".join(name.splitlines()) for name in predictor.info.classes]
        labels.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        module.labels = tf.saved_model.Asset(str(labels))
    folder = beside / "model"
    tf.saved_model.save(module, str(folder), dict.fromkeys(SIGNATURES, module.serving))
    features = read_samples(trained.run).features
    difference = largest_difference(predictor, folder, features)
    refuse_difference(difference, trained.config.train.precision)
    inputs, outputs = _show(input_specs(predictor.info)), _show(output_specs(module))
    export = Export(
        trained=trained,
        name=target.parent.name,
        version=int(target.name),
        inputs=inputs,
        outputs=outputs,
        examples=len(features),
        max_difference=difference,
        tolerance=TOLERANCE[trained.config.train.precision],
        intended_use=intended_use,
    )
    write_model_card(folder, export)
    signature = {"inputs": inputs, "outputs": outputs}
    write_card(folder, trained, dict.fromkeys(SIGNATURES, signature))
    return ExportedModel(
        path=target,
        name=export.name,
        version=export.version,
        step=trained.step,
        inputs=inputs,
        outputs=outputs,
        examples=len(features),
        max_difference=difference,
        size_bytes=sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()),
    )


def _publish(folder: Path, target: Path) -> None:
    if target.exists():
        raise UsageError(
            f"version {target} appeared while this one was being written; it was not touched."
            " Run the command again for the next number."
        )
    folder.rename(target)


def _free_version(folder: Path, wanted: int | None) -> int:
    taken = versions(folder)
    if wanted is None:
        return max(taken, default=0) + 1
    if wanted < 1:
        raise UsageError(f"version {wanted}: versions are positive numbers.")
    if wanted in taken:
        raise UsageError(
            f"{folder / str(wanted)} exists and was not touched. Leave --version out for the next"
            f" free one, {max(taken) + 1}."
        )
    return wanted


def _clear_leftovers(folder: Path) -> None:
    """Removes what a killed export left; one that is still being written stays."""
    for leftover in folder.glob(".tfapp-export-*.*"):
        pid = leftover.name.rpartition(".")[2]
        if not (pid.isdigit() and process_alive(int(pid))):
            shutil.rmtree(leftover, ignore_errors=True)


def _show(specs: dict[str, tf.TensorSpec]) -> dict[str, str]:
    return {
        name: f"[{', '.join('?' if size is None else str(size) for size in spec.shape)}]"
        f" {spec.dtype.name}"
        for name, spec in specs.items()
    }
