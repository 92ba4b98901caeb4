from __future__ import annotations

import subprocess
import sys

import pytest

import tfapp.models
from tfapp import names
from tfapp.errors import UnknownName
from tfapp.models import Argument, VariableRow, describe_model, list_models


def test_report_of_a_keras_model():
    report = describe_model("cnn", {"filters": [4], "dense": 5}, (8, 8, 1), 3)
    assert report.class_path == "tfapp.models.cnn:CNN"
    assert report.docstring.startswith("A small convolutional network")
    assert report.arguments[:2] == (Argument("outputs", None), Argument("filters", "(32, 64)"))
    assert report.output_shape == (None, 3)
    assert report.output_kind == "logits"
    assert report.variables[0] == VariableRow("cnn/conv_0/kernel", (3, 3, 1, 4), "float32", True)
    assert VariableRow("cnn/norm_0/moving_mean", (4,), "float32", False) in report.variables
    assert report.parameters == 9 * 4 + 4 * 4 + (4 * 4 * 4 + 1) * 5 + 6 * 3
    assert report.trainable_parameters == report.parameters - 2 * 4


def test_report_of_a_tf_module():
    report = describe_model("raw_mlp", {"hidden": []}, feature_shape=(4,), outputs=2)
    assert set(report.variables) == {
        VariableRow("raw_mlp/w0", (4, 2), "float32", True),
        VariableRow("raw_mlp/b0", (2,), "float32", True),
    }


def test_random_states_are_no_parameters():
    plain = describe_model("mlp", {}, (4,), 2)
    dropping = describe_model("mlp", {"dropout": 0.5}, (4,), 2)
    assert dropping.variables == plain.variables


def test_report_of_a_class_without_docstring_or_output_kind():
    report = describe_model("tests_own:Bare", {}, (4,), 2)
    assert report.docstring == ""
    assert report.output_kind is None


@pytest.fixture(autouse=True)
def bare_model(tmp_path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "tests_own.py").write_text(
        "import keras\n"
        "class Bare(keras.Model):\n"
        "    def __init__(self, outputs):\n"
        "        super().__init__()\n"
        "        self.head = keras.layers.Dense(outputs)\n"
        "    def call(self, x):\n"
        "        return self.head(x)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("tests_own", None)


def test_unknown_model_is_refused():
    with pytest.raises(UnknownName, match="no model named 'mpl'"):
        describe_model("mpl", {}, (4,), 2)


def test_list_is_sorted_and_complete():
    assert [model.name for model in list_models()] == sorted(names.MODELS)


def test_listing_models_imports_neither_tensorflow_nor_keras():
    code = (
        "import sys; from tfapp.models import list_models; list_models();"
        " sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_public_names_all_load():
    for name in tfapp.models.__all__:
        assert getattr(tfapp.models, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tfapp.models.nothing  # noqa: B018
