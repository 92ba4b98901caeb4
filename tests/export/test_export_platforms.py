"""Exports for other platforms, precisions and formats, and what warms a server up."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import prediction_log_pb2

from tfapp.config import load_config
from tfapp.errors import ExitCode, ExportError, StorageError
from tfapp.export.saved_model import export_run
from tfapp.export.verification import verify_export
from tfapp.export.version import ExportOptions
from tfapp.export.warmup import WARMUP
from tfapp.exported import read_card
from tfapp.models.mlp import MLP
from tfapp.prediction import predict_rows
from tfapp.runs import Run
from tfapp.serving.servable import load_servable
from tfapp.serving.warmup import warm_up
from tfapp.training.restore import load_trained
from tfapp.training.samples import read_samples
from tfapp.training.train import train_model

pytestmark = pytest.mark.usefixtures("read_back_here")


class NoXla(MLP):
    """Computes predictions with an operation that XLA does not have."""

    def call(self, x, training=False):
        outputs = super().call(x, training=training)
        if training:
            return outputs
        return tf.strings.to_number(tf.as_string(outputs))


class Own(keras.Model):
    """As anybody writes one."""

    def __init__(self, outputs, width):
        super().__init__()
        self.arguments = {"outputs": outputs, "width": width}
        self.first = keras.layers.Dense(width, "relu")
        self.head = keras.layers.Dense(outputs)

    def call(self, x, training=False):
        return self.head(self.first(x))


class OwnWithConfig(Own):
    """Tells what it was made with."""

    def get_config(self):
        return dict(self.arguments)


def export(run: Run, tmp_path: Path, **options):
    return export_run(run, tmp_path / "m", options=ExportOptions(**options))


def records(folder: Path) -> list[prediction_log_pb2.PredictionLog]:
    stored = tf.data.TFRecordDataset(str(folder / WARMUP)).as_numpy_iterator()
    return [prediction_log_pb2.PredictionLog.FromString(record) for record in stored]


def tags(folder: Path) -> list[set[str]]:
    saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    return [set(graph.meta_info_def.tags) for graph in saved.meta_graphs]


def test_a_server_is_warmed_up_with_real_rows(digits_run, digits_export):
    folder = digits_export
    logs = records(folder)
    kinds = [log.WhichOneof("log_type") for log in logs]
    assert kinds == ["predict_log", "predict_log", "classify_log", "predict_log"]
    first = tf.make_ndarray(logs[0].predict_log.request.inputs["image"])
    np.testing.assert_array_equal(first, read_samples(digits_run).features[:1])
    names = [log.predict_log.request.model_spec.signature_name for log in logs]
    assert [names[0], names[1], names[3]] == ["serving_default", "predict", "encoded_image"]
    warm_up(load_servable("m", 1, folder))  # as our server does: a record that fails is an error


def test_declared_batch_sizes_are_warmed_up_and_told_to_the_server(digits_run, tmp_path):
    exported = export(digits_run, tmp_path, platform="gpu", batch_sizes=(8, 2, 8))
    assert exported.batch_sizes == (2, 8)
    lines = (exported.path / "batching_params.pbtxt").read_text().splitlines()
    assert lines == [
        "max_batch_size { value: 8 }",
        "allowed_batch_sizes: 2",
        "allowed_batch_sizes: 8",
    ]
    sizes = [
        len(tf.make_ndarray(log.predict_log.request.inputs["image"]))
        for log in records(exported.path)
        if "image" in log.predict_log.request.inputs
    ]
    assert sizes == [2, 8, 2, 8]
    assert tags(exported.path) == [{"serve"}]


def test_more_rows_than_there_are_examples_are_repeated(digits_run, tmp_path):
    exported = export(digits_run, tmp_path, platform="gpu", batch_sizes=(65,))
    rows = tf.make_ndarray(records(exported.path)[0].predict_log.request.inputs["image"])
    np.testing.assert_array_equal(rows[64], rows[0])


def test_an_export_for_a_tpu_has_both_sets_of_tags(digits_run, tmp_path):
    exported = export(digits_run, tmp_path, platform="tpu")
    assert tags(exported.path) == [{"serve"}, {"serve", "tpu"}]
    assert exported.batch_sizes == (1, 32)
    images = read_samples(digits_run).features[:3]
    live = load_trained(digits_run).predictor(images)["probabilities"]
    for wanted in (("serve",), ("serve", "tpu")):
        servable = load_servable("m", 1, exported.path, tags=wanted)
        found = servable.run(servable.signatures["predict"], {"image": images})
        np.testing.assert_allclose(found["probabilities"], live, atol=1e-6)
    # and what reads exports here reads this one
    predictions = predict_rows(exported.path, [image.tolist() for image in images])
    np.testing.assert_allclose(predictions.probabilities, live, atol=1e-6)


def test_what_xla_does_not_compile_is_no_export_for_a_tpu(tmp_path):
    own = {"model.name": f"{__name__}:NoXla", "train.loop": "streaming"}
    config = load_config(overrides={"train.epochs": 1, **own})
    run = Run(train_model(config, runs=tmp_path / "trained").path)
    assert export(run, tmp_path).version == 1
    with pytest.raises(ExportError, match=r"XLA does not compile the model for batches of 1, so"):
        export(run, tmp_path, platform="tpu")
    assert [p.name for p in (tmp_path / "m").iterdir()] == ["1"]


def test_another_precision_is_computed_in_and_its_difference_told(digits_run, tmp_path):
    exported = export(digits_run, tmp_path, platform="gpu", precision="mixed_float16")
    live = load_trained(digits_run).predictor
    images = read_samples(digits_run).features
    servable = load_servable("m", 1, exported.path)
    found = servable.run(servable.signatures["predict"], {"image": images})["probabilities"]
    difference = np.abs(found - live(images)["probabilities"]).max()
    assert exported.precision_difference == pytest.approx(difference, abs=1e-3)
    assert 0 < difference < 0.02
    operations = saved_model_pb2.SavedModel.FromString(
        (exported.path / "saved_model.pb").read_bytes()
    ).meta_graphs[0]
    types = {
        node.attr["T"].type
        for function in operations.graph_def.library.function
        for node in function.node_def
        if node.op == "MatMul"
    }
    assert tf.float16.as_datatype_enum in types  # the last layer is in float32


def test_other_formats_are_read_back(digits_run, tmp_path):
    exported = export(digits_run, tmp_path, formats=("keras", "tflite"))
    assert exported.formats.keys() == {"keras", "tflite"}
    live = load_trained(digits_run).predictor
    loaded = keras.models.load_model(
        exported.path / "model.keras", custom_objects={"MLP": MLP}, compile=False
    )
    for mine, theirs in zip(live.model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    interpreter = tf.lite.Interpreter(model_path=str(exported.path / "model.tflite"))
    images = read_samples(digits_run).features[:5]
    found = interpreter.get_signature_runner("serving_default")(image=images)["probabilities"]
    np.testing.assert_allclose(found, live(images)["probabilities"], atol=1e-5)


def test_an_export_for_a_tpu_is_written_in_other_formats_too(digits_run, tmp_path):
    exported = export(digits_run, tmp_path, platform="tpu", formats=("tflite", "keras"))
    assert tags(exported.path) == [{"serve"}, {"serve", "tpu"}]
    assert exported.formats["tflite"] <= 1e-5
    assert {"model.tflite", "model.keras"} <= read_card(exported.path)["files"].keys()
    assert verify_export(exported.path).ok


@pytest.mark.parametrize("platform", ["cpu", "tpu"])
def test_litert_looks_texts_up_and_unknown_ones_are_unknown(tmp_path, platform):
    table = tmp_path / "shop.csv"
    texts = ["red", "blue", "Zürich"]
    rows = [f"{i % 5},{texts[i % 3]},{texts[i // 3 % 2]},{i % 7}" for i in range(84)]
    table.write_text("\n".join(["size (cm),class,Class,price", *rows]), encoding="utf-8")
    config = load_config(overrides={"data.source": str(table), "train.epochs": 1})
    run = Run(train_model(config, runs=tmp_path / "trained").path)
    exported = export(run, tmp_path, platform=platform, formats=("tflite",))
    assert exported.formats["tflite"] <= 1e-5
    encoded = np.array([text.encode() for text in [*texts, "never seen"]], object)
    asked = {"size_cm": np.float32([1, 2, 3, 4]), "class_": encoded, "Class": encoded[::-1]}
    servable = load_servable("m", 1, exported.path)
    expected = servable.run(servable.signatures["predict"], asked)
    interpreter = tf.lite.Interpreter(model_path=str(exported.path / "model.tflite"))
    found = interpreter.get_signature_runner("serving_default")(**asked)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, atol=1e-5)


FULL = os.strerror(errno.ENOSPC)


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (OSError(errno.ENOSPC, FULL), StorageError, f"{FULL}.*Free some space"),
        (tf.errors.ResourceExhaustedError(None, None, f"m; {FULL}"), StorageError, "free some"),
        (tf.errors.ResourceExhaustedError(None, None, "OOM"), ExportError, "Leave --format keras"),
        (OSError("unknown layout"), ExportError, "as keras: unknown layout. Leave --format keras"),
    ],
    ids=["disk", "disk by TensorFlow", "memory", "format"],
)
def test_a_full_disk_is_no_fault_of_the_format(
    digits_run, tmp_path, monkeypatch, error, kind, said
):
    def fail(self, file):
        raise error

    monkeypatch.setattr(keras.Model, "save", fail)
    with pytest.raises(kind, match=said):
        export(digits_run, tmp_path, formats=("keras",))
    assert not (tmp_path / "m").exists()


def test_a_module_has_no_keras_file(tmp_path):
    config = load_config(overrides={"train.epochs": 1, "model.name": "raw_mlp"})
    run = Run(train_model(config, runs=tmp_path / "trained").path)
    with pytest.raises(ExportError, match=r"no keras.Model.*Leave --format keras out"):
        export(run, tmp_path, formats=("keras",))
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("name", ["Own", "OwnWithConfig"])
def test_a_model_of_ones_own_needs_get_config_for_a_keras_file(tmp_path, name):
    own = {"model.name": f"{__name__}:{name}", "model.options": {"width": 3}}
    config = load_config(overrides={"train.epochs": 1, "data.source": "iris", **own})
    run = Run(train_model(config, runs=tmp_path / "trained").path)
    if name == "OwnWithConfig":
        assert export(run, tmp_path, formats=("keras",)).formats["keras"] <= 1e-6
        return
    with pytest.raises(ExportError) as caught:
        export(run, tmp_path, formats=("keras",))
    assert str(caught.value) == (
        "the model cannot be written as keras: Own has no get_config(), which tells Keras the"
        " arguments that it is made with. Write one into the class, or leave --format keras out."
    )
    assert not (tmp_path / "m").exists()


def test_the_command_passes_it_all_on(digits_run, cli, tmp_path):
    words = ("--platform", "gpu", "--precision", "mixed_bfloat16", "--batch-size", "4")
    result = cli("export", digits_run.path, "--output", "m", *words, "--format", "keras")
    assert result.code == ExitCode.DONE, result.err
    assert "gpu, mixed_bfloat16, batches of 4; " in result.out
    assert "as keras" in result.out
    assert (tmp_path / "m" / "1" / "model.keras").is_file()


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_litert_in_16_bits_is_refused_before_anything_is_written(digits_run, cli, precision):
    words = ("--output", "m", "--precision", precision, "--format", "tflite")
    result = cli("export", digits_run.path, *words)
    assert result.code == ExitCode.USAGE
    assert f"LiteRT has no kernels in 16 bits, and the model would compute in {precision}." in (
        result.err
    )
    assert not Path("m").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--batch-size", "0"), "0 is not in the range x>=1"),
        (("--platform", "npu"), "'npu' is not one of 'cpu', 'gpu', 'tpu'"),
        (("--format", "onxx"), "'onxx' is not one of 'keras', 'tflite', 'onnx'"),
        (("--precision", "float16"), "'float16' is not one of 'float32'"),
    ],
)
def test_options_that_mean_nothing(digits_run, cli, words, said):
    result = cli("export", digits_run.path, *words)
    assert result.code == ExitCode.USAGE
    assert said in result.err
