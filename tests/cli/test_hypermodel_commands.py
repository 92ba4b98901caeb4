"""The example of a HyperModel through the commands."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from tfapp.runs import Run

pytestmark = pytest.mark.usefixtures("read_back_here")

EXAMPLE = Path(__file__).parents[2] / "examples" / "my_hypermodel" / "my_hypermodel.py"
NAME = "my_hypermodel:MyHyperModel"


@pytest.fixture(autouse=True)
def example(cli, tmp_path, monkeypatch):
    shutil.copy(EXAMPLE, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("my_hypermodel", None)


def test_show_tells_the_hyperparameters(cli):
    result = cli("models", "show", NAME, "--shape", "8,8,1", "--set", "model.options.units_0=64")
    assert result.code == 0
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert "option units_2 32: a whole number from 32 to 256, step 32" in lines
    assert "option learning_rate 0.0001: a number from 0.0001 to 0.01, log" in lines
    assert "parameters 4,810" in lines  # 64 * 64 + 64 + 64 * 10 + 10
    shown = json.loads(cli("models", "show", NAME, "--shape", "8,8,1", "--json").out)
    assert shown["arguments"][0] == {
        "name": "layers",
        "default": "1",
        "values": "a whole number from 1 to 3",
    }


def test_it_trains_evaluates_and_exports(cli, tmp_path):
    options = ("--set", "model.options.learning_rate=0.003", "--set", "model.options.layers=2")
    trained = cli("train", "--model", NAME, *options, "--epochs", "3", "--run", "mine")
    assert trained.code == 0
    rates = {row.get("learning_rate", 0.003) for row in Run(tmp_path / "runs" / "mine").metrics()}
    assert [*rates] == pytest.approx([0.003] * len(rates))
    evaluated = json.loads(cli("evaluate", "mine", "--json").out)
    assert evaluated["metrics"]["accuracy"] > 0.8
    assert cli("export", "mine").code == 0


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        (
            "unit_0=64",
            "has no hyperparameter 'unit_0'. Did you mean 'units_0'? It declares: layers,",
        ),
        ("units_0=16", "model.options.units_0 must be a whole number from 32 to 256, as the"),
        ("learning_rate=fast", "model.options.learning_rate must be a number from 0.0001 to 0.01"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(cli, tmp_path, setting, problem):
    result = cli("train", "--model", NAME, "--set", f"model.options.{setting}")
    assert result.code == 2
    assert problem in result.err
    assert not (tmp_path / "runs").exists()
