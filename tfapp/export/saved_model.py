"""Writes a trained model as the next numbered SavedModel, where TensorFlow Serving finds it.

saved_models/digits-mlp/
    1/
        saved_model.pb  variables/  fingerprint.pb
        assets/labels.txt     class names in the order of the probabilities
        assets.extra/         requests to warm up with; rows and answers to check it by
        model_card.md         what it is, of what data, how good: for people
        tfapp.json            where it comes from, what it takes, a checksum of each file
    intended_use.md           the owner's own words, if there are any: for the model cards
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from tfapp.errors import StorageError, UsageError, reason_of, storage_errors
from tfapp.export.draft import Draft, write_draft
from tfapp.export.formats import check_formats
from tfapp.export.hidden import hidden_folder
from tfapp.export.model_card.page import read_intended_use
from tfapp.export.place import free_version, refuse_version, taken_versions
from tfapp.export.platforms import settle_batch_sizes
from tfapp.export.version import ExportedModel, ExportOptions
from tfapp.runs import Run, open_run
from tfapp.settings import saved_models_folder
from tfapp.training.restore import load_trained

# What only the disk can be the reason of, or who may write to it.
_REFUSALS = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO,
)  # fmt: skip


def export_run(
    run: Run | str | Path,
    output: str | Path | None = None,
    *,
    version: int | None = None,
    step: int | None = None,
    options: ExportOptions | None = None,
) -> ExportedModel:
    """Writes a run's model as a SavedModel that takes raw features.

    The version appears whole or not at all: it is written beside its place, read back, compared
    with the live model on real examples, and only then renamed. A server that polls `output`
    never sees half of it.

    Args:
        run: A run with a checkpoint, or its path or name.
        output: Folder of the model's versions; `saved_models/NAME` when omitted, NAME being the
            run's label.
        version: A number from 1 to 2^63 - 1; the next free one when omitted.
        step: Step of a checkpoint; the best one when omitted.
        options: For which platform, in which precision and formats.

    Raises:
        UsageError: The version is there already, `output` is a version itself, or precision and
            format do not go together; nothing was changed.
        ExportError: What was written does not compute the same; nothing was left behind.
        StorageError: The disk refused; nothing was left behind.

    Source: the rule for directories is TensorFlow Serving's, `g3doc/serving_basic.md`.
    """
    options = options or ExportOptions()
    sizes = settle_batch_sizes(options.platform, options.batch_sizes)
    if output is not None:
        refuse_version(Path(output))
    run = open_run(run)
    check_formats(options.formats, options.precision or run.config().train.precision)
    trained = load_trained(run, step=step, precision=options.precision)
    folder = saved_models_folder() / trained.config.label if output is None else Path(output)
    if folder.name in ("", ".."):  # the model is called by the name of its folder
        folder = folder.resolve()
    intended_use = read_intended_use(folder)
    with hidden_folder(folder) as beside:
        with storage_errors(folder):
            target = folder / str(free_version(folder, version))
        with _disk_refusals(target):
            exported = write_draft(Draft(trained, options, sizes, target, intended_use), beside)
            _publish(beside / "model", target)
    return exported


@contextmanager
def _disk_refusals(target: Path) -> Iterator[None]:
    """Tells in one sentence that the disk refused; whatever else went wrong is raised as it is."""
    try:
        yield
    except tf.errors.OpError as error:
        raise StorageError(
            f"cannot write {target}: {reason_of(error)}. No version was added; free some space and"
            " run the command again."
        ) from error
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        with storage_errors(target):
            raise


def _publish(folder: Path, target: Path) -> None:
    # Another name of the same number counts, and so does what is no folder.
    appeared = int(target.name) in taken_versions(target.parent)
    try:
        if not appeared:
            folder.rename(target)
    except OSError as error:
        appeared = error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)
        if not appeared:
            raise
    if appeared:
        raise UsageError(
            f"version {target} appeared while this one was being written; it was not touched."
            " Run the command again for the next number."
        )
