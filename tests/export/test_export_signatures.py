"""What each signature of an export takes and gives, asked the way TensorFlow Serving asks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfapp.config import load_config
from tfapp.data.columns import input_names
from tfapp.data.splits import Column
from tfapp.errors import ExportError
from tfapp.export.saved_model import export_run
from tfapp.models.mlp import MLP
from tfapp.runs import Run
from tfapp.serving.servable import load_servable
from tfapp.training.restore import load_trained
from tfapp.training.samples import read_samples
from tfapp.training.train import train_model

pytestmark = pytest.mark.usefixtures("read_back_here")

SCALES = tf.TensorSpec([None], tf.float32, "factors")


class WithOwnSignature(MLP):
    """Has a function of its own beside the predictions."""

    @tf.function(input_signature=[SCALES])
    def scaled_bias(self, factors):
        return {"bias": factors[:, tf.newaxis] * self.head.bias}

    @tf.function
    def of_anything(self, x):
        return x


class TakesOurName(MLP):
    """Has a function with the name of a signature that every export has."""

    @tf.function(input_signature=[SCALES])
    def classify(self, factors):
        return factors


def train(tmp_path: Path, **settings) -> Run:
    config = load_config(overrides={"train.epochs": 1, **settings})
    return Run(train_model(config, runs=tmp_path / "trained").path)


def ask(folder: Path, signature: str, **inputs) -> dict[str, np.ndarray]:
    servable = load_servable("m", 1, folder)
    try:
        return servable.run(servable.signatures[signature], inputs)
    finally:
        servable.close()


def example(**features) -> bytes:
    kinds = {
        bytes: lambda values: tf.train.Feature(bytes_list=tf.train.BytesList(value=values)),
        int: lambda values: tf.train.Feature(int64_list=tf.train.Int64List(value=values)),
        float: lambda values: tf.train.Feature(float_list=tf.train.FloatList(value=values)),
    }
    made = {name: kinds[type(values[0])](values) for name, values in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString()


def as_png(pixels: np.ndarray, path: Path) -> bytes:
    Image.fromarray(pixels[..., 0]).save(path)
    return path.read_bytes()


@pytest.fixture
def digits(digits_run, digits_export):
    return digits_export, read_samples(digits_run).features, load_trained(digits_run).predictor


def test_classify_takes_examples_and_names_the_classes(digits):
    folder, images, live = digits
    rows = [example(image=[int(v) for v in image.ravel()]) for image in images[:3]]
    found = ask(folder, "classify", inputs=np.array(rows, object))
    np.testing.assert_allclose(found["scores"], live(images[:3])["probabilities"], atol=1e-6)
    assert found["classes"].tolist() == [[str(n).encode() for n in range(10)]] * 3
    servable = load_servable("m", 1, folder)
    assert servable.signatures["classify"].method_name == "tensorflow/serving/classify"
    assert servable.signatures["predict"].method_name == "tensorflow/serving/predict"
    assert "regress" not in servable.signatures


def test_encoded_images_are_read_as_training_reads_files(digits, tmp_path):
    folder, images, live = digits
    small = [as_png(image, tmp_path / f"{n}.png") for n, image in enumerate(images[:2])]
    doubled = as_png(np.repeat(np.repeat(images[0], 2, 0), 2, 1), tmp_path / "large.png")
    found = ask(folder, "encoded_image", image_bytes=np.array([*small, doubled], object))
    wanted = live(images[[0, 1, 0]])  # every pixel of the large one is there four times
    np.testing.assert_allclose(found["probabilities"][:2], wanted["probabilities"][:2], atol=1e-6)
    assert found["class_id"].tolist() == wanted["class_id"].numpy().tolist()


def test_a_regression_has_regress_and_no_classes(tmp_path):
    table = tmp_path / "line.csv"
    table.write_text("x,y\n" + "\n".join(f"{x},{2 * x + 1}" for x in range(60)))
    run = train(tmp_path, **{"data.source": str(table), "model.options": {"hidden": []}})
    exported = export_run(run, tmp_path / "line")
    assert exported.signatures == ("serving_default", "predict", "regress")
    rows = np.array([example(features=[3.0]), example(features=[-1.0])], object)
    found = ask(exported.path, "regress", inputs=rows)
    live = load_trained(run).predictor(np.array([[3.0], [-1.0]], np.float32))["value"]
    np.testing.assert_allclose(found["outputs"], live, rtol=1e-5)


def test_examples_of_a_table_have_a_feature_for_each_column(tmp_path):
    table = tmp_path / "shop.csv"
    rows = [f"{i % 5},{['red', 'blue'][i % 2]},{['low', 'high'][i % 2]}" for i in range(80)]
    table.write_text("\n".join(["size (cm),class,price", *rows]))
    run = train(tmp_path, **{"data.source": str(table)})
    folder = export_run(run, tmp_path / "shop").path
    asked = np.array([example(size_cm=[1.0], class_=[b"red"])], object)
    by_example = ask(folder, "classify", inputs=asked)["scores"]
    by_name = ask(folder, "predict", size_cm=np.float32([1.0]), class_=np.array([b"red"], object))[
        "probabilities"
    ]
    np.testing.assert_array_equal(by_example, by_name)


def test_odd_names_of_columns_become_names_of_inputs():
    names = ["length (cm)", "2nd", "class", "self", "length", "Length", "column 2nd"]
    wanted = ["length_cm", "column_2nd", "class_", "self_", "length", "Length_", "column_2nd_"]
    assert input_names([Column(name) for name in names]) == wanted


ODD = [
    ["2nd", "column_2nd", "self", "length", "Length", "LENGTH_", "_", "%", "class"],
    ["args", "kwargs", "cls", "name", "inputs", "func", "function", "input_signature", "None"],
    ["true", "True", "self_", "SELF", "Self", "0", "_1", "fn", "captured_inputs", "ü"],
]


@pytest.mark.parametrize("names", ODD, ids=lambda names: names[0])
def test_columns_may_be_called_anything(tmp_path, names):
    table = tmp_path / "odd.csv"
    kinds = [["red", "blue"][(i // 3) % 2] for i in range(60)]
    rows = [",".join([*map(str, range(i, i + len(names) - 1)), kinds[i]]) for i in range(60)]
    lines = [f"{row},{['low', 'high'][i % 2]}" for i, row in enumerate(rows)]
    table.write_text("\n".join([",".join([*names, "price"]), *lines]), encoding="utf-8")
    run = train(tmp_path, **{"data.source": str(table), "data.label": "price"})
    exported = export_run(run, tmp_path / "odd")
    given = list(exported.inputs)
    values = [np.float32([column, 7.0]) for column in range(len(names) - 1)]
    asked = dict(zip(given, [*values, np.array([b"red", b"blue"], object)], strict=True))
    predictor = load_trained(run).predictor
    codes = [predictor.info.columns[-1].vocabulary.index(text) + 1 for text in ("red", "blue")]
    live = predictor(np.float32([*values, codes]).T)["probabilities"]
    found = ask(exported.path, "predict", **asked)["probabilities"]
    np.testing.assert_allclose(found, live, atol=1e-6)
    loaded = tf.saved_model.load(str(exported.path)).signatures["predict"]
    by_name = loaded(**{name: tf.constant(value) for name, value in asked.items()})
    np.testing.assert_allclose(by_name["probabilities"], live, atol=1e-6)


def test_a_models_own_signatures_are_kept(tmp_path):
    run = train(tmp_path, **{"model.name": f"{__name__}:WithOwnSignature"})
    exported = export_run(run, tmp_path / "own")
    assert "scaled_bias" in exported.signatures
    assert "of_anything" not in exported.signatures  # says not what it takes
    bias = load_trained(run).predictor.model.head.bias.numpy()
    found = ask(exported.path, "scaled_bias", factors=np.float32([2.0, -1.0]))["bias"]
    np.testing.assert_allclose(found, [2 * bias, -bias], rtol=1e-6)
    assert (
        "`scaled_bias`, which is a function of the model's own"
        in (exported.path / "model_card.md").read_text()
    )


def test_a_models_own_signature_may_not_take_the_name_of_ours(tmp_path):
    run = train(tmp_path, **{"model.name": f"{__name__}:TakesOurName"})
    with pytest.raises(
        ExportError, match=r"tf.function of its own called 'classify'.*another name"
    ):
        export_run(run, tmp_path / "own")
    assert not (tmp_path / "own").exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"model.name": "cnn", "model.options": {"filters": [4]}},  # moving averages
        {"model.name": "raw_mlp"},  # a tf.Module
        {"model.name": "mlp", "train.optimizer.use_ema": True},
    ],
    ids=["cnn", "raw_mlp", "averages"],
)
def test_a_loader_of_graphs_fills_every_variable_and_each_is_stored_once(tmp_path, settings):
    run = train(tmp_path, **settings)
    exported = export_run(run, tmp_path / "any")
    images = read_samples(run).features
    trained = load_trained(run)
    found = ask(exported.path, "serving_default", image=images)
    live = trained.predictor(images)
    np.testing.assert_allclose(found["probabilities"], live["probabilities"], atol=1e-6)
    stored = tf.train.list_variables(str(exported.path / "variables" / "variables"))
    shapes = sorted(shape for name, shape in stored if name.endswith("VARIABLE_VALUE"))
    assert shapes == sorted(list(v.shape) for v in trained.predictor.model.variables)
