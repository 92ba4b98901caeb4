"""What `tfapp serve` serves: a folder of versions, one SavedModel, or the export of a run."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from pathlib import Path

import click

from tfapp.errors import MissingError, UsageError
from tfapp.serving.flags import Flags

REAL = "tensorflow_model_server"
REST_PORT = 8501
_SAVED_MODELS = ("saved_model.pb", "saved_model.pbtxt")


def with_model(flags: Flags, model: str, runs: Path | None, *, rest: bool) -> Flags:
    """Returns the flags that serve a model which is named by itself.

    Args:
        flags: As they were typed.
        model: A folder of versions, a SavedModel, or a run.
        runs: Folder of run directories.
        rest: Whether the port of REST is left as it is.

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
        model_name=flags.given().get("model_name", name),
        model_base_path=str(base_path),
        rest_api_port=flags.rest_api_port if rest else REST_PORT,
    )


def _find(model: str, runs: Path | None) -> tuple[str, Path]:
    """Returns the name and the base path of a model."""
    from tfapp.runs import find_run
    from tfapp.serving.versions import scan

    path = Path(model)
    if _is_saved_model(path):
        return _alone(path.resolve())
    if path.is_dir() and not (path / "config.toml").exists():
        if any(_is_saved_model(version) for version in scan(path).values()):
            return path.resolve().name, path.resolve()
        below = sorted(p for p in path.iterdir() if p.is_dir() and scan(p))
        raise MissingError(
            f"{path} holds no SavedModel: neither a saved_model.pb nor folders with one that are"
            f" named by their number, such as {path / '1'}."
            + (
                f" There are models below it: type tfapp serve {below[0]}."
                if below
                else " Export a run with tfapp export."
            )
        )
    try:
        run = find_run(model, runs)
    except MissingError as error:
        raise MissingError(
            f"no model {model}: it is neither a folder of SavedModels nor a run. Export a run with"
            " tfapp export, and name the folder it wrote to."
        ) from error
    return _export_of(run.path)


def _is_saved_model(path: Path) -> bool:
    return any((path / name).is_file() for name in _SAVED_MODELS)


def _alone(saved_model: Path, name: str | None = None) -> tuple[str, Path]:
    """Returns a base path that holds nothing but this SavedModel, by a link.

    A folder that is named by a number is that version of the folder above.
    """
    numbered = saved_model.name.isdecimal() and saved_model.name.isascii()
    version = saved_model.name if numbered else "1"
    base = Path(tempfile.mkdtemp(prefix="tfapp-serve-"))
    (base / version).symlink_to(saved_model, target_is_directory=True)
    click.get_current_context().call_on_close(lambda: shutil.rmtree(base, ignore_errors=True))
    return name or (saved_model.parent.name if numbered else saved_model.name), base


def _export_of(run: Path) -> tuple[str, Path]:
    """Returns the newest SavedModel that was written from a run."""
    from tfapp.cli.quiet import load_tensorflow
    from tfapp.config import load_config
    from tfapp.settings import saved_models_folder

    label = load_config(run / "config.toml").label
    folder = saved_models_folder() / label
    load_tensorflow()
    from tfapp.exported import CARD, read_card, versions

    for number in reversed(versions(folder)):
        version = folder / str(number)
        if (version / CARD).is_file() and read_card(version)["run"] == run.name:
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
