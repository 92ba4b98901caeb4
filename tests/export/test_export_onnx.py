"""`--format onnx`: the file that tf2onnx writes, asked by ONNX Runtime."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tfapp.config import load_config
from tfapp.errors import ExitCode
from tfapp.export import onnx_format
from tfapp.export.onnx_format import NEEDED
from tfapp.export.saved_model import export_run
from tfapp.export.verification import Check
from tfapp.export.version import ExportOptions
from tfapp.runs import Run
from tfapp.serving.servable import load_servable
from tfapp.training.restore import load_trained
from tfapp.training.samples import read_samples
from tfapp.training.train import train_model

pytestmark = pytest.mark.usefixtures("read_back_here")

with_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(module) is None for module in NEEDED),
    reason="pip install 'tfapp[onnx]'",
)
COLOURS = ["red", "blue", "Zürich"]


def train(folder: Path, **overrides) -> Run:
    config = load_config(overrides={"train.epochs": 1, **overrides})
    return Run(train_model(config, runs=folder / "trained").path)


def export(run: Run, folder: Path, **options):
    return export_run(run, folder / "m", options=ExportOptions(formats=("onnx",), **options))


def session_of(exported):
    import onnxruntime

    return onnxruntime.InferenceSession(exported.path / "model.onnx")


def described(tensors):
    return {tensor.name: (tensor.shape, tensor.type) for tensor in tensors}


def ask(exported, **inputs):
    session = session_of(exported)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def table(folder: Path, target: str) -> str:
    file = folder / "shop.csv"
    rows = [f"{i % 5},{COLOURS[i % 3]},{['low', 'high'][i % 2]},{i % 7}" for i in range(84)]
    header = "size (cm),class,price,cost"
    kept = [0, 1, 2 if target == "price" else 3]
    lines = [",".join(line.split(",")[i] for i in kept) for line in [header, *rows]]
    file.write_text("\n".join(lines), encoding="utf-8")
    return str(file)


@with_onnx
@pytest.mark.parametrize("model", ["cnn", "mlp", "parallel_block", "raw_mlp", "resnet"])
def test_each_kind_of_model_computes_the_same_for_any_number_of_rows(model, tmp_path):
    run = train(tmp_path, **{"model.name": model})
    exported = export(run, tmp_path)
    images = read_samples(run).features
    live = load_trained(run).predictor
    assert exported.formats["onnx"] <= 1e-5
    for rows in (1, 5, 64):
        found = ask(exported, image=images[:rows])
        expected = live(images[:rows])
        np.testing.assert_allclose(found["probabilities"], expected["probabilities"], atol=1e-5)
        assert found["class_id"].shape == (rows,)


@with_onnx
def test_inputs_and_outputs_are_named_and_shaped_as_those_of_serving_default(digits_run, tmp_path):
    session = session_of(export(digits_run, tmp_path))
    assert described(session.get_inputs()) == {"image": (["batch", 8, 8, 1], "tensor(uint8)")}
    assert described(session.get_outputs()) == {
        "class_id": (["batch"], "tensor(int64)"),
        "probabilities": (["batch", 10], "tensor(float)"),
    }


@with_onnx
@pytest.mark.parametrize("platform", ["cpu", "tpu"])  # a TPU's SavedModel has two graphs
def test_texts_are_looked_up_and_unknown_ones_are_unknown(tmp_path, platform):
    run = train(tmp_path, **{"data.source": table(tmp_path, "price")})
    exported = export(run, tmp_path, platform=platform)
    sizes, texts = np.float32([1, 2, 3, 4]), [*COLOURS, "never seen"]
    servable = load_servable("m", 1, exported.path)
    encoded = np.array([text.encode() for text in texts], object)
    expected = servable.run(
        servable.signatures["predict"], {"size_cm": sizes, "class_": encoded}, ["probabilities"]
    )["probabilities"]
    found = ask(exported, size_cm=sizes, class_=np.array(texts))
    np.testing.assert_allclose(found["probabilities"], expected, atol=1e-5)
    inputs = described(session_of(exported).get_inputs())
    assert inputs == {
        "size_cm": (["batch"], "tensor(float)"),
        "class_": (["batch"], "tensor(string)"),
    }


@with_onnx
def test_numbers_are_predicted(tmp_path):
    source = {"data.source": table(tmp_path, "cost"), "data.task": "regression"}
    run = train(tmp_path, **source)
    exported = export(run, tmp_path)
    servable = load_servable("m", 1, exported.path)
    asked = {"size_cm": np.float32([0, 4]), "class_": np.array([b"red", b"blue"], object)}
    expected = servable.run(servable.signatures["predict"], asked)["value"]
    found = ask(exported, size_cm=asked["size_cm"], class_=np.array(["red", "blue"]))
    np.testing.assert_allclose(found["value"], expected, rtol=1e-5)


@with_onnx
def test_layers_may_compute_in_float16(digits_run, tmp_path):
    import onnx

    exported = export(digits_run, tmp_path, precision="mixed_float16")
    nodes = onnx.load(exported.path / "model.onnx").graph
    weights = {onnx.TensorProto.DataType.Name(w.data_type) for w in nodes.initializer}
    assert "FLOAT16" in weights
    assert exported.formats["onnx"] <= 2.5e-3


@with_onnx
def test_the_command_tells_the_difference(digits_run, cli):
    result = cli("export", digits_run.path, "--output", "m", "--format", "onnx")
    assert result.code == ExitCode.DONE, result.err
    assert "as onnx" in result.out
    assert "tf2onnx" not in result.err  # what it warns of is found out by asking the file
    assert Path("m/1/model.onnx").is_file()


def test_bfloat16_is_refused_before_anything_is_written(digits_run, cli):
    words = ("--output", "m", "--precision", "mixed_bfloat16", "--format", "onnx")
    result = cli("export", digits_run.path, *words)
    assert result.code == ExitCode.USAGE
    assert "Export the model once more for --format onnx, with --precision float32" in result.err
    assert not Path("m").exists()


@pytest.mark.parametrize("module", NEEDED)
def test_without_the_extra_it_is_named_before_anything_is_written(
    digits_run, cli, monkeypatch, module
):
    there = importlib.util.find_spec

    def find(name, *rest):
        if name in NEEDED:
            return None if name == module else object()
        return there(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    result = cli("export", digits_run.path, "--output", "m", "--format", "onnx")
    assert result.code == ExitCode.MISSING
    assert f"--format onnx needs {module}, which is not installed: pip install 'tfapp[onnx]'" in (
        result.err
    )
    assert not Path("m").exists()


def test_a_nan_of_the_first_row_alone_is_never_rounding(tmp_path, monkeypatch):
    check = Check({"x": np.ones([3, 1])}, {"y": np.ones([3, 1])})
    monkeypatch.setattr(onnx_format, "_converted", lambda module: None)
    monkeypatch.setitem(sys.modules, "onnx", SimpleNamespace(save_model=lambda *_: None))
    monkeypatch.setattr(
        onnx_format,
        "_answers",
        lambda file, inputs: {"y": inputs["x"] if len(inputs["x"]) > 1 else np.array([[np.nan]])},
    )
    assert np.isnan(onnx_format.write_onnx(tmp_path, None, check))
