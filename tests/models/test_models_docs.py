"""What docs/models.md, examples/my_model and examples/my_hypermodel say is so."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from tfapp import names
from tfapp.models import build_model, describe_model, discover_space

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `(\w+)` \| [^|]+ \| (\w+) \| ([\d,]+) \| ([^|]+) \|", re.MULTILINE)
ROWS = ROW.findall((ROOT / "docs" / "models.md").read_text(encoding="utf-8"))


def test_every_model_has_a_row():
    assert [row[0] for row in ROWS] == sorted(names.MODELS)


@pytest.mark.parametrize(("name", "kind", "parameters", "options"), ROWS)
def test_row_is_true(name: str, kind: str, parameters: str, options: str):
    shape = (3,) if name == "quadratic" else (8, 8, 1)
    report = describe_model(name, {}, shape, 10)
    assert f"{report.parameters:,}" == parameters
    assert report.output_kind is not None
    assert report.output_kind in {kind, kind.replace("probability", "probabilities")}
    filled_in = {"outputs", "feature_shape", "name", "dtype"}
    arguments = [argument.name for argument in report.arguments if argument.name not in filled_in]
    assert re.findall(r"`(\w+)`", options) == arguments


def test_example_of_an_own_model_builds(monkeypatch: pytest.MonkeyPatch):
    folder = ROOT / "examples" / "my_model"
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    model = build_model("my_model:Mine", {"width": 5}, feature_shape=(8, 8, 1), outputs=10)
    sys.modules.pop("my_model")
    assert model(tf.zeros([3, 8, 8, 1])).shape == (3, 10)


def test_example_of_a_hypermodel_declares_what_the_page_shows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(ROOT / "examples" / "my_hypermodel")
    space = discover_space("my_hypermodel:MyHyperModel", {})
    sys.modules.pop("my_hypermodel")
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    shown = re.findall(r"^model\.options\.(\w+) +(.+)$", page, re.MULTILINE)
    assert shown == [(key.rpartition(".")[2], each.describe()) for key, each in space.items()]
