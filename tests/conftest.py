from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tfapp.cli import main
from tfapp.cli.quiet import NOISE
from tfapp.config import load_config
from tfapp.runs import Run


@dataclass(frozen=True)
class Result:
    """What a command left on the terminal."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def _data_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Prepared data sets go to a folder of this test run, not to the user's."""
    folder = tmp_path_factory.mktemp("data")
    kept = {key: value for key, value in os.environ.items() if key.startswith("TFAPP_")}
    for key in kept:
        del os.environ[key]
    os.environ["TFAPP_DATA"] = str(folder)
    yield folder
    os.environ.update(kept)


@pytest.fixture
def cli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Result]:
    """Runs `tfapp ...` in this process, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path.with_name(f"{tmp_path.name}-cache")))

    def run(*words: str | Path) -> Result:
        capfd.readouterr()
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        # Where TensorFlow is loaded already, the program's own filter is not in place.
        lines = err.splitlines(keepends=True)
        return Result(code, out, "".join(x for x in lines if not NOISE.match(x.encode())))

    return run


@pytest.fixture
def with_calendar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A working folder with a file of the user's that TensorFlow would import for Python's own."""
    monkeypatch.chdir(tmp_path)
    executed = tmp_path / "executed"
    (tmp_path / "calendar.py").write_text(f"open({str(executed)!r}, 'w')\nraise SystemExit('mine')")
    yield
    assert not executed.exists()


@pytest.fixture(scope="session")
def _digits_run(tmp_path_factory: pytest.TempPathFactory, _data_folder: Path) -> Path:
    from tfapp.training.train import train_model

    config = load_config(overrides={"train.epochs": 3, "model.options": {"hidden": [32]}})
    return train_model(config, runs=tmp_path_factory.mktemp("runs"), name="digits").path


@pytest.fixture
def digits_run(_digits_run: Path, tmp_path: Path) -> Run:
    """A run of three epochs on digits that a test may damage: `runs/digits` in its folder."""
    copy = tmp_path / "runs" / "digits"
    shutil.copytree(_digits_run, copy)
    return Run(copy)


@pytest.fixture
def read_back_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has exports read back in this process: tests/export/test_export_verify.py starts others."""
    from tfapp.export import draft
    from tfapp.export.verification import largest_differences

    monkeypatch.setattr(draft, "differences_in_new_process", largest_differences)
