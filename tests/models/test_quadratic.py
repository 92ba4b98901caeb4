from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfapp.errors import ModelMismatch
from tfapp.models.quadratic import Quadratic

COURSE = tf.constant([[1.0, -10.0, 25.0]])


def descend(steps: int, coefficients: tf.Tensor = COURSE) -> float:
    model = Quadratic()
    optimizer = keras.optimizers.SGD(0.01)
    optimizer.build([model.w])

    @tf.function
    def step() -> None:
        with tf.GradientTape() as tape:
            cost = tf.reduce_mean(model(coefficients, training=True))
        optimizer.apply(tape.gradient(cost, [model.w]), [model.w])

    for _ in range(steps):
        step()
    return float(model.w)


@pytest.mark.parametrize("steps", [0, 1, 2, 100, 200])
def test_descent_follows_the_closed_form(steps: int):
    assert descend(steps) == pytest.approx(5 * (1 - 0.98**steps), rel=1e-6)


def test_numbers_printed_in_the_lecture():
    assert f"{descend(1):.6g}" == "0.1"
    assert f"{descend(1001):.6g}" == "4.99999"
    assert f"{descend(1001, tf.constant([[1.0, -20.0, 100.0]])):.6g}" == "9.99998"


def test_cost_is_the_polynomial_of_each_row():
    model = Quadratic()
    model.w.assign(3.0)
    coefficients = np.float32([[1, -10, 25], [2, 0, 1], [0, 0, 7]])
    np.testing.assert_array_equal(model(coefficients), [[4.0], [19.0], [7.0]])


def test_mixed_precision_does_not_round_the_weight():
    model = Quadratic(dtype="mixed_bfloat16")
    model.w.assign(4.9999886)
    coefficients = np.float32([[0.0, 1.0, 0.3]])
    assert float(model(coefficients)[0, 0]) == pytest.approx(5.2999886, rel=1e-7)


@pytest.mark.parametrize("shape", [(1, 4), (1, 8, 8, 1)])
def test_other_examples_are_refused(shape: tuple[int, ...]):
    with pytest.raises(ModelMismatch, match=r"three coefficients \[3\].*synthetic/coefficients"):
        Quadratic()(tf.zeros(shape))
