from __future__ import annotations

import numpy as np
import pytest

from legacy_tf1 import computation_graph
from legacy_tf1.training import train


@pytest.fixture(scope="module")
def arrays():
    np.random.seed(0)
    return [np.random.randn(3, 4) for _ in range(3)]


@pytest.fixture(scope="module")
def step(arrays):
    (found,) = train(computation_graph.build(*arrays), 1)
    return found


def test_the_arrays_are_those_of_the_notes(arrays):
    for found, expected in zip(computation_graph.draw(), arrays, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_c_is_the_sum(arrays, step):
    x, y, z = arrays
    assert float(step.loss) == pytest.approx(np.sum(x * y + z), rel=1e-6)
    assert f"{step.loss:.8g}" == "6.7170086"


def test_gradients_are_y_x_and_one_exactly(arrays, step):
    x, y, _ = arrays
    np.testing.assert_array_equal(step.gradients["x"], y.astype(np.float32))
    np.testing.assert_array_equal(step.gradients["y"], x.astype(np.float32))
    np.testing.assert_array_equal(step.gradients["z"], np.ones((3, 4)))


def test_the_first_gradients_are_the_recorded_ones(step):
    found = [f"{value:.8g}" for value in step.gradients["x"][0]]
    assert found == ["0.76103771", "0.12167501", "0.44386324", "0.33367434"]


def test_float64_becomes_float32_without_a_word(arrays, step):
    assert arrays[0].dtype == np.float64
    assert step.loss.dtype == np.float32
    assert step.gradients["x"].dtype == np.float32
