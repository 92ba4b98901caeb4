from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfapp.config import DataConfig
from tfapp.data.sources import load_splits
from tfapp.data.splits import Splits


@pytest.fixture(scope="session")
def prepared_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that the tests of this room share, so each source is prepared once."""
    return tmp_path_factory.mktemp("prepared")


@pytest.fixture
def load(prepared_dir: Path) -> Callable[..., Splits]:
    def load_source(source: Any, **settings: Any) -> Splits:
        return load_splits(DataConfig(source=str(source), **settings), data_dir=prepared_dir)

    return load_source


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def write_text(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write_text
