"""Writes one version where nobody sees it, and finds out what it computes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import tensorflow as tf

from tfapp.export.card import write_card
from tfapp.export.formats import write_format
from tfapp.export.meta_graph import amend
from tfapp.export.model_card.facts import Export
from tfapp.export.model_card.page import write_model_card
from tfapp.export.platforms import prove_compiles, write_batching
from tfapp.export.signatures import METHODS, ServingModule, output_specs
from tfapp.export.verification import (
    SIGNATURES,
    TOLERANCE,
    Check,
    differences_in_new_process,
    refuse_differences,
    worst_difference,
    write_check,
)
from tfapp.export.version import ExportedModel, ExportOptions
from tfapp.export.warmup import write_warmup
from tfapp.exported import input_specs, named_inputs
from tfapp.training.restore import TrainedModel, load_trained
from tfapp.training.samples import read_samples


@dataclass(frozen=True)
class Draft:
    """A version that is to be written.

    Attributes:
        trained: The live model, in the precision it is to have.
        options: What was asked for.
        batch_sizes: Declared sizes.
        target: Where the version will be.
        intended_use: The owner's own words, in Markdown.
    """

    trained: TrainedModel
    options: ExportOptions
    batch_sizes: tuple[int, ...]
    target: Path
    intended_use: str

    @property
    def precision(self) -> str:
        """The policy that layers compute in."""
        return self.options.precision or self.trained.config.train.precision


def write_draft(draft: Draft, beside: Path) -> ExportedModel:
    """Writes `model` into a folder: a whole version, compared with the live model.

    Raises:
        ExportError: What was written does not compute the same, or cannot be written.
        OpError: The disk refused.
    """
    trained, folder = draft.trained, beside / "model"
    predictor, tolerance = trained.predictor, TOLERANCE[draft.precision]
    check = _live_answers(trained)
    module = ServingModule(predictor)
    if draft.options.platform == "tpu":
        prove_compiles(module, draft.batch_sizes, check, tolerance)
    signatures = _save(module, draft, beside)
    formats = {name: write_format(name, folder, module, check) for name in draft.options.formats}
    # Now only: LiteRT's converter does not read a SavedModel with two graphs.
    tags = ("serve", "tpu") if draft.options.platform == "tpu" else ()
    amend(folder, {n: m for n, m in METHODS.items() if n in signatures}, tags=tags)
    warmup_requests = _accompany(folder, draft, signatures, check)
    differences = differences_in_new_process(folder)
    refuse_differences(differences, tolerance)
    refuse_differences(formats, tolerance)
    exported = ExportedModel(
        path=draft.target,
        name=draft.target.parent.name,
        version=int(draft.target.name),
        step=trained.step,
        platform=draft.options.platform,
        precision=draft.precision,
        signatures=signatures,
        inputs=_show(input_specs(predictor.info)),
        outputs=_show(output_specs(module)),
        batch_sizes=draft.batch_sizes,
        warmup_requests=warmup_requests,
        examples=check.rows,
        max_difference=max(differences.values()),
        precision_difference=_precision_difference(draft, check),
        formats=formats,
        size_bytes=0,
    )
    write_model_card(folder, Export(trained, exported, tolerance, draft.intended_use))
    write_card(folder, trained, exported, tolerance)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return replace(exported, size_bytes=size)


def _live_answers(trained: TrainedModel) -> Check:
    features = read_samples(trained.run).features
    inputs = named_inputs(trained.predictor.info, features)
    answers = trained.predictor(tf.constant(features))
    return Check(
        {name: value.numpy() for name, value in inputs.items()},
        {name: value.numpy() for name, value in answers.items()},
    )


def _save(module: ServingModule, draft: Draft, beside: Path) -> tuple[str, ...]:
    """Writes the SavedModel alone; returns the names of its signatures."""
    folder, info = beside / "model", module.predictor.info
    if info.classes:
        labels = beside / "labels.txt"
        lines = [" ".join(name.splitlines()) for name in info.classes]
        labels.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        module.labels = tf.saved_model.Asset(str(labels))
    signatures = module.signatures()
    tf.saved_model.save(module, str(folder), signatures)
    return tuple(signatures)


def _accompany(folder: Path, draft: Draft, signatures: tuple[str, ...], check: Check) -> int:
    """Writes what a server or a later check reads; returns the number of warm-up requests."""
    write_check(folder, check)
    if draft.batch_sizes:
        write_batching(folder, draft.batch_sizes)
    ours = [name for name in SIGNATURES if name in signatures]
    name = draft.target.parent.name
    return write_warmup(folder, name, ours, check.inputs, draft.batch_sizes or (1,))


def _precision_difference(draft: Draft, check: Check) -> float:
    """Returns what computing in another precision than the run's own has changed."""
    trained = draft.trained
    if draft.precision == trained.config.train.precision:
        return 0.0
    before = _live_answers(load_trained(trained.run, step=trained.step))
    return worst_difference(before.outputs, check.outputs)


def _show(specs: dict[str, tf.TensorSpec]) -> dict[str, str]:
    return {
        name: f"[{', '.join('?' if size is None else str(size) for size in spec.shape)}]"
        f" {spec.dtype.name}"
        for name, spec in specs.items()
    }
