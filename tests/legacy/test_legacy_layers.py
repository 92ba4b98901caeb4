from __future__ import annotations

import importlib
import os
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from legacy_tf1 import by_hand, layers
from legacy_tf1.training import initial_weights, train

v1 = tf.compat.v1
NAMES = ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"]
needs_tf_keras = pytest.mark.skipif(
    importlib.util.find_spec("tf_keras") is None, reason="tf-keras is not installed"
)
implementations = pytest.mark.parametrize(
    "implementation", ["own", pytest.param("tf_keras", marks=needs_tf_keras)]
)


@pytest.fixture
def without_tf_keras(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "tf_keras"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tf_keras", None)  # which makes importing it fail


@pytest.fixture(scope="module")
def small():
    random = np.random.default_rng(0)
    shapes = dict(zip(NAMES, ((5, 4), (4,), (4, 3), (3,)), strict=True))
    weights = {name: random.normal(size=s).astype(np.float32) for name, s in shapes.items()}
    return random.normal(size=(7, 5)), random.normal(size=(7, 3)), weights


@implementations
@pytest.mark.parametrize("mean_over", ["rows", "entries"])
def test_every_step_is_that_of_numpy(implementation, mean_over, small):
    x, y, weights = small
    training = layers.build(
        x, y, weights, learning_rate=0.05, implementation=implementation, mean_over=mean_over
    )
    exact = by_hand.train(lambda step: (x, y), weights, 0.05, 6, mean_over=mean_over)
    for step, expected in zip(train(training, 6), exact, strict=True):
        assert float(step.loss) == pytest.approx(expected.loss, rel=1e-5)
        for name in NAMES:
            np.testing.assert_allclose(
                step.weights[name], expected.weights[name], rtol=1e-4, atol=1e-5
            )


@needs_tf_keras
def test_both_implementations_give_the_same_bits_from_the_same_weights(small):
    found = [
        list(train(layers.build(*small, learning_rate=0.05, implementation=name), 6))
        for name in layers.IMPLEMENTATIONS
    ]
    for own, theirs in zip(*found, strict=True):
        assert own.loss == theirs.loss
        for name in NAMES:
            np.testing.assert_array_equal(own.weights[name], theirs.weights[name])


@implementations
def test_variables_have_the_names_and_shapes_of_tf1(implementation):
    training = layers.build(*layers.draw(), implementation=implementation)
    weights = initial_weights(training)
    assert list(weights) == NAMES
    assert [w.shape for w in weights.values()] == [(1000, 100), (100,), (100, 1000), (1000,)]
    kinds = {variable.handle.dtype for variable in training.variables.values()}
    assert kinds == {tf.resource}


@implementations
def test_kernels_are_drawn_by_variance_scaling_and_biases_are_zero(implementation):
    weights = initial_weights(layers.build(*layers.draw(), implementation=implementation))
    for name, inputs in (("dense", 1000), ("dense_1", 100)):
        kernel = weights[f"{name}/kernel"]
        assert kernel.std() == pytest.approx((2 / inputs) ** 0.5, rel=0.01)
        # Cut off at two deviations of the normal that has this deviation after the cut.
        assert np.abs(kernel).max() <= 2 * (2 / inputs) ** 0.5 / 0.87962566
        assert not weights[f"{name}/bias"].any()


def test_at_the_rate_of_the_lecture_practically_nothing_is_learned(outcome_of):
    values = outcome_of("dense-layers").values
    slow, fast = values["loss_at_1e-05"], values["loss_at_0.01"]
    assert slow[0] == fast[0]
    assert 0 < 1 - slow[49] / slow[0] < 1e-3
    assert fast[49] < 0.75 * fast[0]


def test_the_mean_is_a_thousandth_of_the_sum(outcome_of, checks_of):
    values = outcome_of("mean-squared-error").values
    assert values["ratio"] == pytest.approx(1000, rel=1e-6)
    assert values["loss_of_sum"][49] < 0.75 * values["loss_of_sum"][0]
    assert values["loss_of_mean"][49] > 0.999 * values["loss_of_mean"][0]
    assert all(checks_of("mean-squared-error")[f"gradient for {name}"].holds for name in NAMES)


@needs_tf_keras
@pytest.mark.filterwarnings("ignore:.* is deprecated:UserWarning")
@pytest.mark.parametrize("path", ["tensorflow.compat.v1", "tensorflow._api.v2.compat.v1"])
def test_unmodified_code_finds_its_layers_inside_and_not_outside(path):
    module = importlib.import_module(path)
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, [None, 4])
        with layers.routed_layers():
            y = module.layers.dense(x, 3, activation=tf.nn.relu)
            cell = module.nn.rnn_cell.LSTMCell(5)
        assert y.shape.as_list() == [None, 3]
        assert cell.state_size.c == 5
        assert [v.op.name for v in v1.global_variables()] == ["dense/kernel", "dense/bias"]
    with pytest.raises(AttributeError, match="not available with Keras 3"):
        module.layers.dense  # noqa: B018
    with pytest.raises(AttributeError, match="not available with Keras 3"):
        module.nn.rnn_cell.LSTMCell  # noqa: B018


@needs_tf_keras
def test_keras_stays_keras_3_inside_and_the_environment_as_it_was():
    before = dict(os.environ)
    with layers.routed_layers():
        assert dict(os.environ) == before
        assert tf.keras.__version__ == keras.__version__
        assert tf.keras.layers.Dense is keras.layers.Dense


@needs_tf_keras
def test_the_layers_are_taken_back_after_an_error_and_by_the_outermost_only():
    with layers.routed_layers():
        with pytest.raises(ZeroDivisionError), layers.routed_layers():
            _ = 1 / 0
        assert v1.layers.dense is not None
    with pytest.raises(AttributeError):
        v1.layers.dense  # noqa: B018


@pytest.mark.usefixtures("without_tf_keras")
def test_without_tf_keras_the_own_layer_takes_its_place(small):
    assert layers.legacy_layers() == {}
    training = layers.build(*small)
    assert list(training.variables) == NAMES
    with pytest.raises(ModuleNotFoundError, match="pip install tf-keras"):
        layers.build(*small, implementation="tf_keras")


@pytest.mark.usefixtures("without_tf_keras")
def test_without_tf_keras_the_programs_hold():
    for run in (layers.run_dense, layers.run_mean):
        outcome = run(3)
        assert [check for check in outcome.checks if not check.holds] == []


def test_a_broken_tf_keras_is_not_taken_for_a_missing_one(monkeypatch):
    def fail(name):
        raise ModuleNotFoundError("No module named 'h5py'", name="h5py")

    monkeypatch.setattr(layers.importlib, "import_module", fail)
    with pytest.raises(ModuleNotFoundError, match="h5py"):
        layers.legacy_layers()


def test_the_own_layer_counts_its_scopes_and_starts_from_glorot():
    graph = tf.Graph()
    with graph.as_default():
        x = v1.placeholder(tf.float32, [None, 30])
        for name in (None, None, "head"):
            layers.dense(x, 20, name=name)
        names = [variable.op.name for variable in v1.trainable_variables()]
        assert names == [
            f"{s}/{w}" for s in ("dense", "dense_1", "head") for w in ("kernel", "bias")
        ]
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            kernel, bias = session.run(v1.trainable_variables()[:2])
    limit = (6 / (30 + 20)) ** 0.5
    assert 0.9 * limit < np.abs(kernel).max() <= limit
    assert not bias.any()


def test_the_own_layer_refuses_a_name_twice():
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, [None, 3])
        layers.dense(x, 2, name="head")
        with pytest.raises(ValueError, match="already exists"):
            layers.dense(x, 2, name="head")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ({"implementation": "slim"}, "implementation: found 'slim', allowed own, tf_keras"),
        ({"mean_over": "columns"}, "mean_over: found 'columns', allowed entries, rows"),
    ],
)
def test_unknown_words_are_refused(option, said, small):
    with pytest.raises(ValueError, match=said):
        layers.build(*small, **option)
