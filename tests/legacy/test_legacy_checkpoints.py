from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from legacy_tf1 import checkpoints, raw_mlp
from legacy_tf1.training import open_session, read_weights

WEIGHTS = raw_mlp.draw_weights(0, (6, 5, 4, 3))
IMAGES = np.random.default_rng(0).uniform(size=(9, 6)).astype(np.float32)
FEEDS = {"images": IMAGES}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Returns the folder with all three forms, and the weights that were written."""
    folder = tmp_path_factory.mktemp("tf1")
    training = raw_mlp.build(IMAGES, np.arange(9) % 3, WEIGHTS, 9, 0.1)
    with open_session(training.graph) as session:
        session.run(training.initialize)
        for step in range(3):
            session.run(training.update, feed_dict=training.feeds(step))
        checkpoints.write_checkpoint(session, folder / "model.ckpt")
        checkpoints.write_frozen_graph(session, folder / "frozen.pb", ["out"])
        checkpoints.write_saved_model(session, folder / "saved", {"x": "images"}, {"y": "out"})
        return folder, read_weights(session, training)


def numpy_output(weights):
    """Returns `[9, 3]`: the network in float64."""
    x = np.maximum(IMAGES @ weights["w1"] + weights["b1"], 0)
    x = np.maximum(x @ weights["w2"] + weights["b2"], 0)
    return x @ weights["w3"] + weights["b3"]


def test_the_weights_that_are_written_are_trained_ones(written):
    _, weights = written
    assert not np.array_equal(weights["w3"], WEIGHTS["w3"])


def test_a_checkpoint_holds_every_variable_by_its_name(written):
    folder, weights = written
    stored = checkpoints.read_checkpoint(folder / "model.ckpt")
    assert set(stored) == {"w1", "b1", "w2", "b2", "w3", "b3"}
    for name, weight in weights.items():
        np.testing.assert_array_equal(stored[name], weight)


def test_a_checkpoint_is_of_the_second_format_with_its_graph_beside_it(written):
    folder, _ = written
    assert {path.name for path in folder.glob("*ckpt*")} | {"checkpoint"} == {
        "checkpoint",
        "model.ckpt.data-00000-of-00001",
        "model.ckpt.index",
        "model.ckpt.meta",
    }


def test_every_form_computes_the_network(written):
    folder, weights = written
    (restored,) = checkpoints.run_checkpoint(folder / "model.ckpt", FEEDS, ["out"])
    (frozen,) = checkpoints.run_frozen_graph(folder / "frozen.pb", FEEDS, ["out"])
    served = checkpoints.run_saved_model(folder / "saved", {"x": IMAGES})
    np.testing.assert_allclose(restored, numpy_output(weights), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(frozen, restored)
    assert set(served) == {"y"}
    np.testing.assert_array_equal(served["y"], restored)


def test_a_frozen_graph_has_constants_and_no_training_left(written):
    folder, _ = written
    graph = tf.compat.v1.GraphDef.FromString((folder / "frozen.pb").read_bytes())
    kinds = {node.op for node in graph.node}
    assert kinds & {"VarHandleOp", "VariableV2", "ReadVariableOp"} == set()
    assert not any("ApplyGradientDescent" in kind for kind in kinds)
    assert {node.name for node in graph.node} >= {"images", "out"}


def test_a_saved_model_loads_in_tensorflow_2(written):
    folder, _ = written
    loaded = tf.saved_model.load(str(folder / "saved")).signatures["serving_default"]
    (restored,) = checkpoints.run_checkpoint(folder / "model.ckpt", FEEDS, ["out"])
    np.testing.assert_allclose(loaded(x=tf.constant(IMAGES))["y"], restored, rtol=1e-6)


def test_a_checkpoint_takes_the_weights_into_a_second_session(written):
    folder, weights = written
    training = raw_mlp.build(IMAGES, np.arange(9) % 3, WEIGHTS, 9, 0.1)
    with training.graph.as_default(), open_session(training.graph) as session:
        tf.compat.v1.train.Saver().restore(session, str(folder / "model.ckpt"))
        for name, weight in read_weights(session, training).items():
            np.testing.assert_array_equal(weight, weights[name])


def test_a_folder_that_holds_something_is_not_overwritten(written, tmp_path):
    (tmp_path / "mine").write_text("kept")
    training = raw_mlp.build(IMAGES, np.arange(9) % 3, WEIGHTS, 9, 0.1)
    with open_session(training.graph) as session:
        session.run(training.initialize)
        with pytest.raises(AssertionError, match="already exists"):
            checkpoints.write_saved_model(session, tmp_path, {"x": "images"}, {"y": "out"})
    assert (tmp_path / "mine").read_text() == "kept"
