from __future__ import annotations

from pathlib import Path

import pytest

from tfapp.settings import Settings, keras_backend, read_settings, tensorflow_log_level


def test_defaults_are_relative_folders_and_the_one_of_tfds():
    assert read_settings({}) == Settings(
        runs=Path("runs"),
        saved_models=Path("saved_models"),
        data=Path.home() / "tensorflow_datasets",
        debug=False,
    )


def test_variables_decide():
    environ = {
        "TFAPP_RUNS": "/r",
        "TFAPP_SAVED_MODELS": "/s",
        "TFAPP_DATA": "/d",
        "TFAPP_DEBUG": "1",
    }
    assert read_settings(environ) == Settings(Path("/r"), Path("/s"), Path("/d"), True)


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"TFDS_DATA_DIR": "/tfds"}, "/tfds"),
        ({"TFDS_DATA_DIR": "/tfds", "TFAPP_DATA": "/ours"}, "/ours"),
        ({"TFDS_DATA_DIR": "/tfds", "TFAPP_DATA": ""}, "/tfds"),
    ],
)
def test_our_data_folder_comes_before_that_of_tfds(environ: dict[str, str], folder: str):
    assert read_settings(environ).data == Path(folder)


def test_empty_variables_count_as_absent():
    assert read_settings({"TFAPP_RUNS": "", "TFAPP_SAVED_MODELS": ""}) == read_settings({})


@pytest.mark.parametrize(("value", "debug"), [("", False), ("0", False), ("1", True), ("x", True)])
def test_debug_is_anything_but_empty_or_zero(value: str, debug: bool):
    assert read_settings({"TFAPP_DEBUG": value}).debug is debug


def test_the_environment_of_the_process_is_read_each_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TFAPP_RUNS", "first")
    assert read_settings().runs == Path("first")
    monkeypatch.setenv("TFAPP_RUNS", "second")
    assert read_settings().runs == Path("second")


def test_log_level_and_backend_of_the_user_are_seen(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert tensorflow_log_level() is None
    assert keras_backend() == "tensorflow"
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert tensorflow_log_level() == "0"
    assert keras_backend() == "jax"
