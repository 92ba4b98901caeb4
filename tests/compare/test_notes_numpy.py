"""What the notes are compared with in NumPy: against difference quotients and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from tfapp.compare.notes import numpy_programs
from tfapp.compare.notes.numpy_programs import adam, dense_parameters, descend


def draw(*shapes):
    random = np.random.default_rng(0)
    return [random.normal(0, 0.5, size=shape) for shape in shapes]


def quotients(loss, weights, width=1e-5):
    """What the loss changes with each weight, by moving it both ways."""
    found = [np.zeros_like(weight) for weight in weights]
    for weight, into in zip(weights, found, strict=True):
        for entry in np.ndindex(*weight.shape):
            before = weight[entry]
            weight[entry] = before + width
            above = loss(weights)
            weight[entry] = before - width
            into[entry] = (above - loss(weights)) / (2 * width)
            weight[entry] = before
    return found


def check_gradients(error, weights):
    _, gradients = error(weights)
    expected = quotients(lambda moved: error(moved)[0], weights)
    for gradient, quotient in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, quotient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("shapes", [[(4, 5), (5, 3)], [(4, 5), (5,), (5, 6), (6,), (6, 3), (3,)]])
@pytest.mark.parametrize("count", [1, 21])
def test_gradients_of_dense_layers_are_difference_quotients(shapes, count):
    x, y, *weights = draw((7, 4), (7, 3), *shapes)
    check_gradients(lambda w: numpy_programs.squared_error(x, y, w, count), weights)


def test_gradients_of_parallel_blocks_are_difference_quotients():
    shapes = [(4, 5), (5,)] * 2 + [(5, 6), (6,)] * 2 + [(6, 3), (3,)]
    x, y, *weights = draw((7, 4), (7, 3), *shapes)
    check_gradients(lambda w: numpy_programs.parallel_blocks_error(x, y, w), weights)


def test_the_sum_is_differentiated_by_hand():
    x, y, z = draw((3, 4), (3, 4), (3, 4))
    check_gradients(lambda inputs: numpy_programs.sum_and_gradients(*inputs), [x, y, z])


def test_gradient_descent_on_a_parabola_follows_its_closed_form():
    found = descend(lambda step, w: (w[0] ** 2, [2 * w[0]]), [np.array(3.0)], 0.1, 20)
    losses, weights = zip(*found, strict=True)
    np.testing.assert_allclose([w[0] for w in weights], 3 * 0.8 ** np.arange(1, 21))
    np.testing.assert_allclose(losses, (3 * 0.8 ** np.arange(20)) ** 2)


def test_adam_on_a_slope_moves_by_the_rate_but_for_its_epsilon():
    # Corrected averages of a constant are the constant: the step is rate g / (|g| + epsilon).
    slope = np.array([2.0, -0.5])
    found = adam(lambda step, w: (0.0, [slope]), [np.zeros(2)], 0.1, 7, epsilon=0.3)
    steps = np.arange(1, 8)[:, None]
    expected = -0.1 * steps * slope / (np.abs(slope) + 0.3)
    np.testing.assert_allclose([w[0] for _, w in found], expected)


def test_epsilon_before_the_correction_counts_for_more_in_the_first_steps():
    # sqrt(1 - 0.999) = 0.0316 divides it in the first step.
    slope = np.array(2.0)
    found = adam(lambda _, w: (0.0, [slope]), [np.zeros(())], 0.1, 1, epsilon=0.3, hat=True)
    ((_, (w,)),) = found
    assert w == pytest.approx(-0.1 * 2 / (2 + 0.3 / 0.001**0.5))


def test_adam_leaves_the_weights_it_was_given():
    start = [np.zeros(2)]
    list(adam(lambda step, w: (0.0, [np.ones(2)]), start, 0.1, 3))
    np.testing.assert_array_equal(start[0], 0)


def test_parameters_of_dense_layers_are_kernels_and_biases():
    assert dense_parameters((3, 5, 2)) == 3 * 5 + 5 + 5 * 2 + 2
    assert dense_parameters((1000, 100, 10)) == 101_110
    assert dense_parameters((128 * 128 * 3, 1024, 512, 128, 32, 8, 3, 1)) == 50_927_559
