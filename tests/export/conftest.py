from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tfapp.export.saved_model import export_run
from tfapp.runs import Run


@pytest.fixture(scope="session")
def _digits_export(_digits_run: Path, tmp_path_factory: pytest.TempPathFactory):
    return export_run(Run(_digits_run), tmp_path_factory.mktemp("saved") / "digits")


@pytest.fixture
def digits_export(_digits_export, tmp_path: Path) -> Path:
    """An export of `digits_run` that a test may damage: `digits/1` in its folder."""
    return shutil.copytree(_digits_export.path, tmp_path / "digits" / "1")
