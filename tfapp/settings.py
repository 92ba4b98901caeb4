"""What the environment says; the only module that reads it.

TFAPP_RUNS          where runs go (default `runs`)
TFAPP_SAVED_MODELS  where exports go (default `saved_models`)
TFAPP_DATA          where prepared data sets are kept (else TFDS_DATA_DIR, else TFDS's default)
TFAPP_DEBUG         anything but empty or 0: show tracebacks
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Folders and switches taken from the environment.

    Attributes:
        runs: Folder of run directories.
        saved_models: Folder of exported models.
        data: Folder of prepared data sets.
        debug: Whether errors show their traceback.
    """

    runs: Path
    saved_models: Path
    data: Path
    debug: bool


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Returns the settings in `environ` (default: this process's environment)."""
    env = os.environ if environ is None else environ
    default_data = Path("~/tensorflow_datasets").expanduser()
    return Settings(
        runs=Path(env.get("TFAPP_RUNS") or "runs"),
        saved_models=Path(env.get("TFAPP_SAVED_MODELS") or "saved_models"),
        data=Path(env.get("TFAPP_DATA") or env.get("TFDS_DATA_DIR") or default_data),
        debug=env.get("TFAPP_DEBUG", "0") not in ("", "0"),
    )


def runs_folder(given: str | Path | None = None) -> Path:
    """Returns the folder of run directories: as given, else by the settings."""
    return read_settings().runs if given is None else Path(given)


def saved_models_folder(given: str | Path | None = None) -> Path:
    """Returns the folder of exported models: as given, else by the settings."""
    return read_settings().saved_models if given is None else Path(given)


def data_folder(given: str | Path | None = None) -> Path:
    """Returns the folder of prepared data sets: as given, else by the settings."""
    return read_settings().data if given is None else Path(given)


def tensorflow_log_level() -> str | None:
    """Returns `TF_CPP_MIN_LOG_LEVEL` if the user has set it."""
    return os.environ.get("TF_CPP_MIN_LOG_LEVEL")


def keras_backend() -> str:
    """Returns the backend that Keras will start with."""
    return os.environ.get("KERAS_BACKEND") or "tensorflow"
