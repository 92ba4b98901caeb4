"""What `tfapp serve` serves: a folder of versions, one SavedModel, or the export of a run."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

import click
from click.core import ParameterSource

from tfapp.errors import MissingError, UsageError
from tfapp.serving.flags import Flags
from tfapp.settings import cache_folder, saved_models_folder

REAL = "tensorflow_model_server"
REST_PORT = 8501
_SAVED_MODELS = ("saved_model.pb", "saved_model.pbtxt")


class OwnOption(click.Option):
    """An option that `tensorflow_model_server` does not have."""


def refuse_own_options(context: click.Context, real: str) -> None:
    """Refuses options that the program which is about to be started does not have.

    Args:
        context: Of the command.
        real: Path of the program.

    Raises:
        UsageError: One was given, on the command line or in the environment.
    """
    given = [
        option.opts[0]
        for option in context.command.params
        if isinstance(option, OwnOption)
        and context.get_parameter_source(option.name or "") is not ParameterSource.DEFAULT
    ]
    if given:
        are = "is an option" if len(given) == 1 else "are options"
        raise UsageError(
            f"{', '.join(given)} {are} of the embedded server only, and {real} would be started."
            f" Leave {'it' if len(given) == 1 else 'them'} out, or add --server embedded."
        )


def with_model(flags: Flags, typed: Collection[str], model: str, runs: Path | None) -> Flags:
    """Returns the flags that serve a model which is named by itself.

    Args:
        flags: As they were typed.
        typed: The names of those that were typed; the others follow the model.
        model: A folder of versions, a SavedModel, or a run.
        runs: Folder of run directories.

    Raises:
        UsageError: The flags name other models.
        MissingError: There is no such model, or the run has not been exported.
    """
    for name in ("model_base_path", "model_config_file"):
        if getattr(flags, name):
            raise UsageError(f"either {model} or --{name}; both say what is to be served.")
    name, base_path = _find(model, runs)
    return dataclasses.replace(
        flags,
        model_name=flags.model_name if "model_name" in typed else name,
        model_base_path=str(base_path),
        rest_api_port=flags.rest_api_port if "rest_api_port" in typed else REST_PORT,
    )


def _find(model: str, runs: Path | None) -> tuple[str, Path]:
    """Returns the name and the base path of a model."""
    from tfapp.runs import find_run
    from tfapp.serving.versions import scan

    path = Path(model)
    if _is_saved_model(path):
        return _alone(path.resolve())
    if path.is_file():
        folder = path.parent if _is_saved_model(path.parent) else None
        advice = f"type tfapp serve {folder}." if folder else "name a folder that holds one."
        raise UsageError(f"{path} is a file, and a model is a folder: {advice}")
    if path.is_dir() and not (path / "config.toml").exists():
        found = scan(path)
        if any(_is_saved_model(version) for version in found.values()):
            return path.resolve().name, path.resolve()
        raise MissingError(_nothing_in(path, found.values()))
    try:
        run = find_run(model, runs)
    except MissingError as error:
        raise MissingError(
            f"no model {model}: it is neither a folder of SavedModels nor a run. Export a run with"
            " tfapp export, and name the folder it wrote to."
        ) from error
    return _export_of(run.path)


def _nothing_in(path: Path, versions: Collection[Path]) -> str:
    """Returns what is wrong with a folder in which no SavedModel was found."""
    from tfapp.serving.versions import scan

    if versions:
        names = ", ".join(str(version) for version in versions)
        return (
            f"{path} holds no SavedModel: there is no saved_model.pb in {names}. Copy the whole"
            " folder that was exported, or export the run again with tfapp export."
        )
    below = sorted(p for p in path.iterdir() if p.is_dir() and scan(p))
    unnumbered = sorted(p for p in path.iterdir() if _is_saved_model(p))
    advice = "Export a run with tfapp export."
    if below:
        advice = f"There are models below it: type tfapp serve {below[0]}."
    elif unnumbered:
        advice = f"There is one without a number: type tfapp serve {unnumbered[0]}."
    return (
        f"{path} holds no SavedModel: neither a saved_model.pb nor folders with one that are named"
        f" by their number, such as {path / '1'}. {advice}"
    )


def _is_saved_model(path: Path) -> bool:
    return any((path / name).is_file() for name in _SAVED_MODELS)


def _alone(saved_model: Path, name: str | None = None) -> tuple[str, Path]:
    """Returns a base path that holds nothing but this SavedModel, by a link.

    A folder that is named by a number is that version of the folder above.
    """
    numbered = saved_model.name.isdecimal() and saved_model.name.isascii()
    version = saved_model.name if numbered else "1"
    return name or (saved_model.parent.name if numbered else saved_model.name), _linked(
        saved_model, version
    )


def _linked(saved_model: Path, version: str) -> Path:
    """Returns a folder whose one entry, a link, leads to a SavedModel.

    The real server takes the place of this process, so nobody can clean up after it. The same
    SavedModel therefore always has the same folder: none is added when it is served again.
    """
    key = hashlib.sha256(str(saved_model).encode(errors="surrogateescape")).hexdigest()[:16]
    try:
        base = cache_folder() / "serve" / key
        base.mkdir(parents=True, exist_ok=True)
        _link(base / version, saved_model)
    except OSError:  # no home that can be written to, as in some containers
        base = Path(tempfile.mkdtemp(prefix="tfapp-serve-"))
        _link(base / version, saved_model)
    return base.absolute()


def _link(link: Path, target: Path) -> None:
    if link.is_symlink() and link.readlink() == target:
        return
    beside = link.with_name(f".{link.name}.{os.getpid()}")
    beside.symlink_to(target, target_is_directory=True)
    beside.replace(link)


def _export_of(run: Path) -> tuple[str, Path]:
    """Returns the newest SavedModel that was written from a run."""
    from tfapp.cli.quiet import load_tensorflow
    from tfapp.config import load_config

    label = load_config(run / "config.toml").label
    folder = saved_models_folder() / label
    load_tensorflow()
    from tfapp.exported import CARD, read_card, read_unchecked_card, versions

    for version in reversed(versions(folder).values()):
        # Only what will be served must be whole: others may be of other runs.
        if (version / CARD).is_file() and read_unchecked_card(version)["run"] == run.name:
            read_card(version)
            return _alone(version.resolve(), label)
    raise MissingError(
        f"run {run} has no SavedModel in {folder}. Type: tfapp export {run}"
        " (or give the folder it was exported to)"
    )


def real_server(wanted: str) -> str | None:
    """Returns the `tensorflow_model_server` to use; `None` for the embedded one.

    Args:
        wanted: `auto` for the one on PATH, if there is one; `embedded`; or its path.

    Raises:
        MissingError: There is no such program.
    """
    if wanted == "embedded":
        return None
    found = shutil.which(REAL if wanted == "auto" else wanted)
    if found is None and wanted != "auto":
        raise MissingError(
            f"no program {wanted}. Give --server the path of {REAL}, or leave it out for the"
            " embedded server."
        )
    return found
