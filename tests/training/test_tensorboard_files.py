"""What TensorBoard finds in a run, read with its own loader."""

from __future__ import annotations

import re
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer

from tfapp.config import load_config
from tfapp.errors import ExitCode, Interrupted
from tfapp.runs import Run
from tfapp.training.graph import prediction_graph
from tfapp.training.restore import load_trained
from tfapp.training.resume import resume_training
from tfapp.training.train import train_model
from tfapp.training.writers import TensorBoard, Writer

# 108 training examples: 9 steps an epoch.
IRIS = {
    "data.source": "iris",
    "data.batch_size": 12,
    "model.options": {"hidden": [8, 6]},
    "train.epochs": 4,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of four epochs that nothing may change."""
    runs = tmp_path_factory.mktemp("trained")
    return Run(train_model(load_config(overrides=IRIS), runs=runs, name="iris").path)


def load(run):
    events = EventMultiplexer()
    events.AddRunsFromDirectory(str(run.path / "tensorboard"))
    events.Reload()
    return events


def scalars(events, split, tag):
    found = events.Tensors(split, tag)
    return [(event.step, tf.make_ndarray(event.tensor_proto).item()) for event in found]


def assert_same_as_metrics(run):
    events, rows = load(run), run.metrics()
    for split in ("train", "validation"):
        own = [row for row in rows if row["split"] == split]
        for tag in own[0].keys() - {"split", "step", "epoch"}:
            expected = [(row["step"], np.float32(row[tag])) for row in own]
            assert scalars(events, split, tag) == expected, tag


def test_the_curves_are_those_of_the_metrics_file(trained):
    assert len(trained.metrics()) == 8
    assert_same_as_metrics(trained)


def test_the_config_is_shown_as_text(trained):
    (event,) = load(trained).Tensors("train", "config")
    text = tf.make_ndarray(event.tensor_proto).item().decode()
    assert text == f"```toml\n{(trained.path / 'config.toml').read_text()}\n```"


def test_steps_that_are_trained_again_are_told_once(tmp_path):
    def stop():
        return ExitCode.INTERRUPTED if reached and reached[-1] >= 27 else None

    class Watch(Writer):
        def progress(self, progress):
            reached.append(progress.step)

    reached = []
    settings = IRIS | {"train.checkpoint.every_steps": 9, "train.checkpoint.keep": 9}
    with pytest.raises(Interrupted):
        config = load_config(overrides=settings)
        train_model(config, runs=tmp_path, name="cut", writers=[Watch()], stop=stop)
    run = Run(tmp_path / "cut")
    for step in (18, 27):
        shutil.rmtree(run.checkpoints / f"step-{step:09d}")
    resume_training(run)
    assert len(list((run.path / "tensorboard" / "train").iterdir())) == 2
    assert_same_as_metrics(run)
    assert [event.step for event in load(run).Tensors("train", "config")] == [0, 9]


def test_the_graph_has_the_names_of_the_code(trained):
    graph = load(trained).Graph("train")
    nodes = {node.name: node for node in graph.node}
    model = load_trained(trained).predictor.model
    variables = {node.name for node in graph.node if node.op == "Placeholder"} - {"features"}
    assert variables == {variable.path for variable in model.variables}
    assert [dim.size for dim in nodes["features"].attr["shape"].shape.dim] == [-1, 4]
    products = {node.name for node in graph.node if node.op == "MatMul"}
    assert products == {f"mlp/{layer}/MatMul" for layer in ("hidden_0", "hidden_1", "head")}
    assert {"probabilities", "class_id"} <= nodes.keys()
    assert not [node for node in graph.node if node.op == "NoOp"]


def test_the_graph_under_its_new_names_is_that_of_the_prediction(trained):
    predictor = load_trained(trained).predictor
    graph = prediction_graph(predictor)
    features = tf.constant([[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5], [5.0, 2.0, 3.5, 1.0]])

    @tf.function
    def evaluate():
        inputs = {v.path: tf.identity(v.value.handle) for v in predictor.model.variables}
        inputs["features"] = tf.identity(features)
        names = ["probabilities:0", "class_id:0"]
        return tf.graph_util.import_graph_def(graph, inputs, names)

    probabilities, classes = evaluate()
    expected = predictor(features)
    np.testing.assert_allclose(probabilities, expected["probabilities"], rtol=1e-6)
    np.testing.assert_array_equal(classes, expected["class_id"])


def test_layers_keep_their_names_where_keras_numbers_them(trained):
    class Network(keras.Model):
        def __init__(self):
            super().__init__(name="network")
            self.first = keras.layers.Dense(4, name="dense")
            self.second = keras.layers.Dense(4, name="dense_1")
            self.last = keras.layers.Dense(3, name="stage_2")

        def call(self, x, training=False):
            return self.last(self.second(self.second(self.first(x))))

    predictor = load_trained(trained).predictor
    predictor.model = Network()
    predictor(tf.zeros([2, 4]))
    graph = prediction_graph(predictor)
    names = [node.name for node in graph.node]
    assert len(names) == len(set(names))
    assert {variable.path for variable in predictor.model.variables} <= set(names)
    products = [node.name for node in graph.node if node.op == "MatMul"]
    layers = [re.fullmatch(r"network/(\w+)/MatMul", name)[1] for name in products]
    assert [layers[0], layers[1], layers[3]] == ["dense", "dense_1", "stage_2"]
    assert layers[2].startswith("dense_1_"), "the second call of a layer is another node"


def test_a_model_that_cannot_be_drawn_says_why(tmp_path, trained):
    class Batches(tf.Module):
        def __call__(self, x, training=False):
            raise ValueError("made for batches of 12")

    predictor = load_trained(trained).predictor
    predictor.model = Batches()
    TensorBoard(tmp_path / "tensorboard", "seed = 0", predictor=predictor).close()
    events = load(Run(tmp_path))
    text = tf.make_ndarray(events.Tensors("train", "graph")[0].tensor_proto).item().decode()
    assert text.startswith("it cannot be drawn for a batch of any size: ")
    assert text.endswith("made for batches of 12")
    with pytest.raises(ValueError, match="no graph"):
        events.Graph("train")


def test_the_graph_can_be_left_out(tmp_path):
    TensorBoard(tmp_path / "tensorboard", "seed = 0").close()
    events = load(Run(tmp_path))
    assert events.Runs()["train"]["tensors"] == ["config"]
    assert not events.Runs()["train"]["graph"]
