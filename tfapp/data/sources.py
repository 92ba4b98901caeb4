"""From the name or path of a source to its splits.

    splits = load_splits(config.data, data_dir=settings.data)

A source is, in this order: an embedded name, a synthetic name, a path that exists and looks like
one (it holds a separator or a suffix), a name of TFDS, any other path that exists. Until the
source is known, TensorFlow is not imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from tfapp import names
from tfapp.config import DataConfig
from tfapp.data.raw import RawData, reading
from tfapp.data.splits import Splits
from tfapp.errors import DataError, MissingError, UnknownName, UsageError, did_you_mean

Kind = Literal["embedded", "synthetic", "tfds", "path"]

# `name`, `name/config`, `name:1.0.0` and `name/config:1.*.*`, the form of TFDS.
_TFDS_FORM = re.compile(r"[A-Za-z]\w*(/[\w+.\-]+)?(:[\d*]+\.[\d*]+\.[\d*]+)?")
_DEFAULT_SYNTHETIC = "synthetic/blobs"
_FILES = (".csv", ".npz")


class UnknownSource(UnknownName):
    """No data set has this name; the hundreds of names of TFDS are searched but not listed."""

    def __init__(self, name: str, tfds_names: Iterable[str]) -> None:
        tfds_names = list(tfds_names)
        own = (*names.EMBEDDED, *names.SYNTHETIC)
        UsageError.__init__(
            self,
            f"no data set named {name!r}.{did_you_mean(name, [*own, *tfds_names])} Known:"
            f" {', '.join(own)}, any of TFDS's {len(tfds_names)} names, or a path.",
        )


def load_splits(config: DataConfig, *, data_dir: Path, refit: bool = False) -> Splits:
    """Returns training, validation and test data of `config.source`.

    Args:
        config: What to load, and how to cut and label it.
        data_dir: Folder of prepared data sets; embedded sources are written there once.
        refit: Let the training split hold the examples of the validation split too, after its own.

    Raises:
        UsageError: The name is unknown, or a setting does not suit the source.
        DataError: The data is there but cannot be used.
        MissingError: A file is not there, or a data set is neither prepared nor reachable.
        StorageError: `data_dir` cannot be written.
    """
    kind = find_source(config.source, data_dir)
    check_settings(config, kind)
    found = _open(config, kind, data_dir)
    if isinstance(found, RawData):
        from tfapp.data.assembly import assemble

        return assemble(found, config, refit=refit)
    from tfapp.data.prepared import read_builder

    return read_builder(found, config, refit=refit)


def read_raw(config: DataConfig, *, data_dir: Path) -> RawData:
    """Returns the examples of `config.source` before labels are settled and splits are cut.

    A TFDS data set is read into memory whatever its size.

    Raises:
        TfappError: As `load_splits` does.
    """
    kind = find_source(config.source, data_dir)
    check_settings(config, kind)
    found = _open(config, kind, data_dir)
    if isinstance(found, RawData):
        return found
    from tfapp.data.prepared import find_layout, read_arrays

    return read_arrays(found, find_layout(found, config.image_size))


def find_source(source: str, data_dir: Path) -> Kind:
    """Returns what kind of source this is, without importing TensorFlow.

    Raises:
        UnknownName: It is no name and no path.
        MissingError: It has the form of a path, but there is no such file or folder.
    """
    if source in names.EMBEDDED:
        return "embedded"
    if source == "synthetic" or source in names.SYNTHETIC:
        return "synthetic"
    if source.startswith("synthetic/"):
        raise UnknownName("data set", source, names.SYNTHETIC)
    path = Path(source).expanduser()
    with reading(path):
        exists = bool(source) and path.exists()
    if exists and _looks_like_path(source):
        return "path"
    known: list[str] = []
    if _TFDS_FORM.fullmatch(source) and path.suffix not in _FILES:
        from tfapp.data.tfds import base_name, found_versions, tfds_names

        known = tfds_names()
        if base_name(source) in known or found_versions(source, data_dir):
            return "tfds"
    if exists:
        return "path"
    if _looks_like_path(source):
        raise MissingError(
            f"no file or folder {source} in {Path.cwd()}. For a data set of TFDS write"
            " name, name/config or name:1.0.0."
        )
    raise UnknownSource(source, known)


def synthetic_name(source: str) -> str:
    """Returns the full name of a synthetic source; `synthetic` alone means the blobs."""
    return _DEFAULT_SYNTHETIC if source == "synthetic" else source


def check_settings(config: DataConfig, kind: Kind) -> None:
    """Refuses settings that would do nothing for this kind of source.

    Raises:
        UsageError: Naming the setting and where it belongs.
    """
    suffix = Path(config.source).suffix.lower() if kind == "path" else ""
    if config.options and kind != "synthetic":
        raise UsageError(
            f"data.options are for synthetic sources, but data.source is {config.source!r};"
            " remove them."
        )
    if config.label is not None and suffix not in _FILES:
        raise UsageError(
            f"data.label names the label column of a .csv or the label array of a .npz file;"
            f" {config.source!r} has its own labels. Remove it."
        )
    if config.image_size is not None and (kind in ("embedded", "synthetic") or suffix in _FILES):
        raise UsageError(
            "data.image_size resizes the images of a folder or of TFDS; it does nothing for"
            f" {config.source!r}. Remove it."
        )


def _looks_like_path(source: str) -> bool:
    path = Path(source)
    marked = source.startswith((".", "~")) or source.endswith("/")
    return marked or len(path.parts) > 1 or bool(path.suffix)


def _open(config: DataConfig, kind: Kind, data_dir: Path) -> Any:
    """Returns a `RawData`, or the TFDS builder where the source is a prepared data set."""
    if kind == "embedded":
        from tfapp.data.embedded import open_embedded

        return open_embedded(config.source, data_dir)
    if kind == "tfds":
        from tfapp.data.tfds import open_tfds

        return open_tfds(config.source, data_dir)
    if kind == "synthetic":
        from tfapp.data.synthetic import make_synthetic

        name = synthetic_name(config.source)
        return make_synthetic(name, config.options, config.split_seed)
    path = Path(config.source).expanduser()
    with reading(path):
        return _open_path(path, config)


def _open_path(path: Path, config: DataConfig) -> Any:
    if not path.is_dir():
        return _read_file(path, config)
    if (path / "dataset_info.json").is_file():
        from tfapp.data.tfds import open_folder

        return open_folder(path)
    return _read_folder(path, config)


def _read_file(path: Path, config: DataConfig) -> RawData:
    suffix = path.suffix.lower()
    if suffix == ".csv":
        from tfapp.data.tables import read_csv

        return read_csv(path, config.label, config.classes)
    if suffix == ".npz":
        from tfapp.data.arrays import read_npz

        return read_npz(path, config.label)
    kinds = "a .csv or .npz file, a folder of images, of IDX files, or one prepared by TFDS"
    hint = f" Give its folder, {path.parent}." if "-ubyte" in path.name else ""
    raise DataError(f"{path} is a {suffix or 'nameless kind of'} file; a source is {kinds}.{hint}")


def _read_folder(path: Path, config: DataConfig) -> RawData:
    from tfapp.data.idx import is_idx_folder, read_idx
    from tfapp.data.images import read_image_folder

    if is_idx_folder(path):
        if config.image_size is not None:
            raise UsageError("data.image_size resizes image folders, not IDX files; remove it.")
        return read_idx(path)
    inner = sorted([*path.glob("*/dataset_info.json"), *path.glob("*/*/dataset_info.json")])
    if inner:
        raise DataError(f"{path} holds data sets prepared by TFDS; name one: {inner[-1].parent}.")
    return read_image_folder(path, config.image_size, config.memory_limit_mb * 2**20)
