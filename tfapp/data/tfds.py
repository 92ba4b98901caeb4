"""Data sets of TensorFlow Datasets, by name or by the folder they were prepared in."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfapp import names
from tfapp.data.embedded import quiet_tfds
from tfapp.data.network import first_unreachable
from tfapp.errors import DataError, MissingError, StorageError, TfappError, UsageError, reason_of

_REFUSALS = (errno.EACCES, errno.EDQUOT, errno.ENOSPC, errno.EPERM, errno.EROFS)


def tfds_names() -> list[str]:
    """Returns the names of all data sets TFDS knows; does not import TensorFlow."""
    import tensorflow_datasets as tfds

    return tfds.list_builders(with_community_datasets=False)


def base_name(name: str) -> str:
    """Returns `mnist` for `mnist`, `mnist:3.0.1` and the like."""
    return re.split("[/:]", name, maxsplit=1)[0]


def found_versions(name: str, data_dir: Path) -> list[str]:
    """Returns the prepared versions of a data set under `data_dir`, e.g. `3.0.1`."""
    folder = data_dir / base_name(name)
    infos = [*folder.glob("*/dataset_info.json"), *folder.glob("*/*/dataset_info.json")]
    return sorted(info.parent.relative_to(folder).as_posix() for info in infos)


def open_tfds(name: str, data_dir: Path, *, progress: bool = False) -> Any:
    """Returns the builder of `name[/config][:version]`, downloaded and prepared if need be.

    Args:
        name: A data set of TFDS, or one prepared under `data_dir`.
        data_dir: Folder of prepared data sets.
        progress: Whether TFDS draws its bars on standard error.

    Raises:
        UsageError: The data set has no such config or version.
        MissingError: It is not prepared, and cannot be fetched.
        StorageError: `data_dir` cannot be written.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=str(data_dir), try_gcs=False)
    except (ValueError, AssertionError, ImportError) as error:
        raise UsageError(
            f"TFDS cannot open {name!r}: {reason_of(error)}. Write name, name/config or"
            " name/config:1.0.0."
        ) from error
    if not (Path(builder.data_dir) / "dataset_info.json").is_file():
        host = first_unreachable(builder.url_infos or ())
        if host is not None:
            raise _not_prepared(name, data_dir, f"{host} cannot be reached")
        with _preparing(name, data_dir), quiet_tfds(progress):
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(try_download_gcs=False)
            )
    return builder


def open_folder(folder: Path) -> Any:
    """Returns the builder of a prepared data set, a folder with `dataset_info.json`.

    Raises:
        DataError: Its files are damaged.
    """
    import tensorflow_datasets as tfds

    try:
        return tfds.builder_from_directory(str(folder))
    except Exception as error:
        raise DataError(
            f"{folder} holds dataset_info.json, but TFDS cannot open it: {reason_of(error)}."
        ) from error


@contextmanager
def _preparing(name: str, data_dir: Path) -> Iterator[None]:
    """Sorts what may go wrong while TFDS downloads and writes into the project's errors."""
    try:
        yield
    except TfappError:
        raise
    except OSError as error:
        if error.errno in _REFUSALS:
            raise StorageError(
                f"cannot write under {data_dir}: {error.strerror or error}. Free some space, or"
                " name another folder by TFAPP_DATA."
            ) from error
        raise _not_prepared(name, data_dir, f"the download failed: {reason_of(error)}") from error
    except Exception as error:
        raise _not_prepared(name, data_dir, f"preparing failed: {reason_of(error)}") from error


def _not_prepared(name: str, data_dir: Path, reason: str) -> MissingError:
    base = base_name(name)
    versions = found_versions(name, data_dir)
    found = f" (there are other versions: {', '.join(versions)})" if versions else ""
    return MissingError(
        f"data set {name!r} is not prepared in {data_dir}{found}, and {reason}. On a machine with"
        f" network run 'tfapp data prepare {name}' and copy its folder {base} to"
        f" {data_dir / base}, or let TFAPP_DATA name the folder that holds {base}. These need no"
        f" network: {', '.join(names.EMBEDDED)}."
    )
