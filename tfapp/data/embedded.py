"""Sources that come with the installation, kept as TFDS data sets under the data folder."""

from __future__ import annotations

import importlib
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from tfapp.data.builders import BUILDERS, VERSION
from tfapp.errors import StorageError, reason_of, storage_errors


def prepared_path(name: str, data_dir: Path) -> Path:
    """Returns where the embedded source `name` is, or will be."""
    return data_dir / name / VERSION


def is_prepared(name: str, data_dir: Path) -> bool:
    """Tells whether the embedded source `name` has been written under `data_dir`."""
    return (prepared_path(name, data_dir) / "dataset_info.json").is_file()


def open_embedded(name: str, data_dir: Path) -> Any:
    """Returns the builder of an embedded source, prepared.

    It is written in a folder of its own and renamed, so a second process that prepares it at the
    same time, or a kill on the way, leaves one whole data set.

    Args:
        name: One of `names.EMBEDDED`.
        data_dir: Folder of prepared data sets.

    Raises:
        StorageError: `data_dir` cannot be written.
    """
    module, _, attribute = BUILDERS[name].partition(":")
    builder_class = getattr(importlib.import_module(module), attribute)
    if not is_prepared(name, data_dir):
        target = prepared_path(name, data_dir)
        with storage_errors(data_dir):
            target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=data_dir, prefix=".preparing-") as scratch:
                _write(builder_class(data_dir=scratch), data_dir)
                try:
                    prepared_path(name, Path(scratch)).rename(target)
                except OSError:
                    if not is_prepared(name, data_dir):  # else another process was first
                        raise
    return builder_class(data_dir=str(data_dir))


def _write(builder: Any, data_dir: Path) -> None:
    import tensorflow as tf
    import tensorflow_datasets as tfds

    try:
        with quiet_tfds():
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(try_download_gcs=False)
            )
    except (tf.errors.OpError, RuntimeError) as error:  # TFDS wraps what TensorFlow raises
        raise StorageError(
            f"cannot write under {data_dir}: {reason_of(error)}. Free some space, or name another"
            " folder by TFAPP_DATA."
        ) from error


@contextmanager
def quiet_tfds(progress: bool = False) -> Iterator[None]:
    """Keeps TFDS from printing to standard output, and from drawing bars unless `progress`.

    Afterwards the bars of TFDS are as they were.
    """
    from tensorflow_datasets.core.utils import tqdm_utils

    before = tqdm_utils._active
    tqdm_utils.display_progress_bar(enable=progress)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        tqdm_utils.display_progress_bar(enable=before)
