"""What the environment says; the only module that reads it.

TFAPP_RUNS          where runs go (default `runs`)
TFAPP_SAVED_MODELS  where exports go (default `saved_models`)
TFAPP_DATA          where prepared data sets are kept (else TFDS_DATA_DIR, else TFDS's default)
TFAPP_DEBUG         anything but empty or 0: show tracebacks
TFAPP_CPU_DEVICES   how many devices TensorFlow makes of the CPU, to try `mirrored` without GPUs
TFAPP_WAIT_SECONDS  how long the workers of a cluster wait for one another (default 300)
TF_CONFIG           the cluster and this process's place in it, as TensorFlow defines it
KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP, KERASTUNER_ORACLE_PORT
                    a search's process on one of several machines, as KerasTuner defines them
TPU_NAME            the TPU to train on, as Google's machines set it
XDG_CACHE_HOME      where programs keep what can be made again (default `~/.cache`)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tfapp.errors import UsageError

CLUSTER_VARIABLE = "TF_CONFIG"
SUPERVISED_VARIABLE = "TFAPP_SUPERVISED"
TUNER_VARIABLES = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")


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


def cache_folder() -> Path:
    """Returns the folder of this user for what can be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "tfapp"


def tensorflow_log_level() -> str | None:
    """Returns `TF_CPP_MIN_LOG_LEVEL` if the user has set it."""
    return os.environ.get("TF_CPP_MIN_LOG_LEVEL")


def keras_backend() -> str:
    """Returns the backend that Keras will start with."""
    return os.environ.get("KERAS_BACKEND") or "tensorflow"


def cluster_description() -> str:
    """Returns `TF_CONFIG`; empty if it is not set."""
    return os.environ.get(CLUSTER_VARIABLE, "").strip()


def tpu_name() -> str:
    """Returns `TPU_NAME`; empty if it is not set."""
    return os.environ.get("TPU_NAME", "").strip()


def cpu_devices() -> int:
    """Returns how many devices TensorFlow is to make of the CPU."""
    return _count("TFAPP_CPU_DEVICES", 1)


def wait_seconds() -> int:
    """Returns how long workers wait for one another."""
    return _count("TFAPP_WAIT_SECONDS", 300)


def is_supervised() -> bool:
    """Tells whether this process was started by `tfapp train --workers`."""
    return bool(os.environ.get(SUPERVISED_VARIABLE))


def worker_environment(cluster: str) -> dict[str, str]:
    """Returns the environment of a worker that this process starts.

    Variables that stand for options of `train` are left out: they have been read.

    Args:
        cluster: Its place in a cluster, as `TF_CONFIG`.
    """
    return _without_options() | {CLUSTER_VARIABLE: cluster, SUPERVISED_VARIABLE: "1"}


def tuner_variables() -> tuple[str, str, str]:
    """Returns KerasTuner's variables: who this process is, address and port of the chief."""
    name, address, port = (os.environ.get(variable, "").strip() for variable in TUNER_VARIABLES)
    return name, address, port


def tuner_environment(name: str, address: str, port: int) -> dict[str, str]:
    """Returns the environment of a worker of a search that this process starts.

    Args:
        name: Who it is.
        address: Where the chief listens.
        port: At which port.
    """
    values = dict(zip(TUNER_VARIABLES, (name, address, str(port)), strict=True))
    return _without_options() | values | {SUPERVISED_VARIABLE: "1"}


def _without_options() -> dict[str, str]:
    read = ("TFAPP_TRAIN_", "TFAPP_TUNE_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(read)}
    if kept.get("TF_CPP_MIN_LOG_LEVEL") == "1":  # TensorFlow's own doing, when it was imported
        del kept["TF_CPP_MIN_LOG_LEVEL"]
    return kept


def _count(variable: str, default: int) -> int:
    text = os.environ.get(variable, "").strip()
    if text and not (text.isdecimal() and int(text) > 0):
        raise UsageError(f"{variable} is a whole number from 1 up, found {text!r}.")
    return int(text) if text else default
