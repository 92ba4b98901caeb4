from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from page_reading import ReadPage

from tfapp.runs import Run

if TYPE_CHECKING:
    from tfapp.report.reports import Report

Train = Callable[[str, dict[str, Any]], Path]
# A linear model of flowers, wrong on some of them.
IRIS = {
    "data.source": "iris",
    "data.batch_size": 16,
    "train.epochs": 3,
    "model.options": {"hidden": []},
}
LINEAR = {
    "data.source": "synthetic/linear",
    "train.epochs": 4,
    "train.optimizer.learning_rate": 0.01,
    "model.options": {"hidden": [8]},
}


@pytest.fixture(scope="session")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Trains each config once."""
    found: dict[str, Path] = {}

    def train(name: str, overrides: dict[str, Any]) -> Path:
        from tfapp.config import load_config
        from tfapp.training.train import train_model

        if name not in found:
            config = load_config(overrides=overrides)
            found[name] = train_model(config, runs=tmp_path_factory.mktemp(name), name=name).path
        return found[name]

    return train


@dataclass(frozen=True)
class Reported:
    """A run whose report was written, for tests that change nothing."""

    run: Run
    report: Report
    page: ReadPage


def reported(run: Path, folder: Path) -> Reported:
    from tfapp.report.reports import write_report

    copy = Run(folder / run.name)
    shutil.copytree(run, copy.path)
    report = write_report(copy)
    return Reported(copy, report, ReadPage(report.path))


@pytest.fixture(scope="session")
def digits_report(_digits_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """A classifier of images."""
    return reported(_digits_run, tmp_path_factory.mktemp("reported"))


@pytest.fixture(scope="session")
def iris_report(_trained: Train, tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """A classifier of rows."""
    return reported(_trained("iris", IRIS), tmp_path_factory.mktemp("reported"))


@pytest.fixture(scope="session")
def linear_report(_trained: Train, tmp_path_factory: pytest.TempPathFactory) -> Reported:
    """A regression."""
    return reported(_trained("linear", LINEAR), tmp_path_factory.mktemp("reported"))


@pytest.fixture
def iris_run(_trained: Train, tmp_path: Path) -> Run:
    """A run on rows that a test may damage."""
    copy = tmp_path / "runs" / "iris"
    shutil.copytree(_trained("iris", IRIS), copy)
    return Run(copy)
