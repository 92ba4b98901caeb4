from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfapp.data.preprocess import Preprocess
from tfapp.data.splits import DataInfo
from tfapp.losses import build_loss
from tfapp.metrics import build_metrics
from tfapp.models.predictor import Predictor
from tfapp.models.raw_mlp import RawMLP
from tfapp.outputs import Outputs
from tfapp.training.diagnosis import first_bad_tensor
from tfapp.training.tape import TapeStep

FEATURES = np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)
LABELS = np.arange(12, dtype=np.int32) % 3
INFO = DataInfo("made", "classification", (5,), "float32", ("a", "b", "c"), None, "")


def make_step(model=None, loss="mean_squared_error", optimizer=None) -> TapeStep:
    head = Outputs("logits", 3)
    model = model or RawMLP((5,), 3, hidden=(4,), seed=0)
    predictor = Predictor(Preprocess((5,), None, None), model, INFO, head)
    return TapeStep(
        predictor,
        build_loss(loss, INFO, head),
        optimizer or keras.optimizers.SGD(0.1),
        build_metrics(["auto"], INFO, head),
    )


def weights_of(step: TapeStep) -> list[np.ndarray]:
    return [np.array(v) for v in step.predictor.model.trainable_variables]


def numpy_steps(weights, biases, steps, rate):
    """Backpropagation by hand through x -> relu(x w0 + b0) w1 + b1, mean squared error."""
    (w0, w1), (b0, b1) = [w.copy() for w in weights], [b.copy() for b in biases]
    target = np.eye(3, dtype=np.float32)[LABELS]
    for _ in range(steps):
        hidden = np.maximum(FEATURES @ w0 + b0, 0)
        error = 2 * (hidden @ w1 + b1 - target) / target.size
        back = (error @ w1.T) * (hidden > 0)
        w1, b1 = w1 - rate * hidden.T @ error, b1 - rate * error.sum(0)
        w0, b0 = w0 - rate * FEATURES.T @ back, b0 - rate * back.sum(0)
    return [b0, b1, w0, w1]


def test_steps_equal_backpropagation_by_hand():
    step = make_step()
    model = step.predictor.model
    expected = numpy_steps(
        [w.numpy() for w in model.weights], [b.numpy() for b in model.biases], 5, 0.1
    )
    for _ in range(5):
        assert step(tf.constant(FEATURES), tf.constant(LABELS))
    for found, wanted in zip(weights_of(step), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_metrics_take_the_outputs_from_before_the_update():
    step = make_step()
    before = step.predictor.outputs(tf.constant(FEATURES), training=False).numpy()
    step(tf.constant(FEATURES), tf.constant(LABELS))
    result = step.metrics.result()
    assert result["loss"] == pytest.approx(np.mean((np.eye(3)[LABELS] - before) ** 2), rel=1e-5)
    assert result["accuracy"] == pytest.approx(np.mean(before.argmax(1) == LABELS))


def test_losses_that_layers_add_are_minimized_too():
    class Decayed(keras.Model):
        def __init__(self):
            super().__init__()
            self.out = keras.layers.Dense(3, kernel_regularizer=keras.regularizers.L2(0.5))

        def call(self, x, training=False):
            return self.out(x)

    model = Decayed()
    model(tf.zeros([1, 5]))
    step = make_step(model)
    kernel = np.array(model.out.kernel)
    plain = make_step(model).loss(
        tf.constant(LABELS), step.predictor.outputs(tf.constant(FEATURES), training=False)
    )
    _, loss, _ = step.gradients(tf.constant(FEATURES), tf.constant(LABELS))
    assert float(loss) == pytest.approx(float(plain) + 0.5 * np.sum(kernel**2), rel=1e-5)


@pytest.mark.parametrize("compiled", [None, False, True])
def test_a_step_that_is_not_finite_changes_nothing(compiled):
    step = make_step(optimizer=keras.optimizers.Adam(0.1))
    call = step if compiled is None else tf.function(step, jit_compile=compiled)
    bad = FEATURES.copy()
    bad[3, 2] = np.nan
    assert call(tf.constant(FEATURES), tf.constant(LABELS))

    def values():
        return [np.array(v) for v in step.optimizer.variables] + weights_of(step)

    before, metrics = values(), step.metrics.result()
    assert int(step.optimizer.iterations) == 1
    assert metrics["loss"] > 0
    assert not call(tf.constant(bad), tf.constant(LABELS))
    for a, b in zip(before, values(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert step.metrics.result() == metrics


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda step: None, "the features of the batch (1 of 60 values: NaN)"),
        (
            lambda step: step.predictor.model.weights[1].assign(
                tf.fill([4, 3], np.float32(np.inf))
            ),
            "the variable raw_mlp/w1",
        ),
    ],
)
def test_diagnosis_names_the_first_bad_tensor(spoil, named):
    step = make_step()
    spoil(step)
    features = FEATURES.copy()
    if "features" in named:
        features[0, 0] = np.nan
    assert named in first_bad_tensor(step, tf.constant(features), tf.constant(LABELS))


def test_diagnosis_blames_the_layer_before_the_averages_it_spoilt():
    class Normed(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = keras.layers.Dense(4, kernel_initializer="ones", name="huge")
            self.norm = keras.layers.BatchNormalization(name="norm")
            self.out = keras.layers.Dense(3)

        def call(self, x, training=False):
            return self.out(self.norm(self.hidden(x), training=training))

    model = Normed()
    model(tf.zeros([1, 5]))
    step = make_step(model)
    features = tf.constant(FEATURES * 3e38)
    assert not step(features, tf.constant(LABELS))
    assert not np.isfinite(np.array(model.norm.moving_variance)).all()
    finite = tf.constant(np.where(np.isfinite(features.numpy()), features.numpy(), 3e38))
    assert "huge" in first_bad_tensor(step, finite, tf.constant(LABELS))


def test_diagnosis_names_a_layer_and_a_gradient():
    class Root(keras.Model):
        """sqrt has an infinite gradient at 0, where its value is finite."""

        def __init__(self, infinite_value):
            super().__init__()
            self.hidden = keras.layers.Dense(4, kernel_initializer="zeros", name="flat")
            self.out = keras.layers.Dense(3, name="last")
            self.infinite_value = infinite_value

        def call(self, x, training=False):
            hidden = self.hidden(x)
            return self.out(1.0 / hidden if self.infinite_value else tf.sqrt(hidden))

    for infinite_value, named in ((True, "the output of layer"), (False, "the gradient of")):
        model = Root(infinite_value)
        model(tf.zeros([1, 5]))
        step = make_step(model)
        assert not step(tf.constant(FEATURES), tf.constant(LABELS))
        found = first_bad_tensor(step, tf.constant(FEATURES), tf.constant(LABELS))
        assert found.startswith(named), found
        assert ("last" if infinite_value else "flat") in found
